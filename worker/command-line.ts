/** The command line of `ct-worker`. */
import { Command } from "commander";
import { VERSION } from "../shared/process/version.ts";
import { settingOptions } from "../shared/settings/read-settings.ts";

/** `run` gets the parsed flags, for `readSettings`. */
export function workerProgram(run: (flags: Record<string, unknown>) => Promise<void>): Command {
  const program = new Command("ct-worker")
    .description("Hosts sessions of the Open Collaboration Tools protocol.")
    .version(VERSION)
    .allowExcessArguments(false)
    .action(run);
  for (const option of settingOptions("worker")) program.addOption(option);
  return program;
}
