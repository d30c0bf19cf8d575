/** The command line of `ct-worker`. */
import { Command, InvalidArgumentError, Option } from "commander";
import { VERSION } from "../shared/process/version.ts";
import { settingOptions } from "../shared/settings/read-settings.ts";

type Action = (flags: Record<string, unknown>) => Promise<void>;

/** `run` and `empty` get the parsed flags, for `readSettings`. */
export function workerProgram({
  run,
  empty,
}: {
  readonly run: Action;
  readonly empty: Action;
}): Command {
  const program = new Command("ct-worker")
    .description("Hosts sessions of the Open Collaboration Tools protocol.")
    .version(VERSION)
    .allowExcessArguments(false)
    .action(run);
  const emptyCommand = program
    .command("empty")
    .description(
      "Hands the sessions of the worker on this machine over and waits until it has none, before it is stopped; for preStop hooks. The worker needs CT_PREPARE_DOWNSCALE=local or on.",
    )
    .allowExcessArguments(false)
    .addOption(
      new Option("--timeout <seconds>", "Gives up after this long; the stop moves the rest.")
        .default(240)
        .argParser(seconds),
    )
    // Flags before the command name belong to the program.
    .action((flags: Record<string, unknown>) => empty({ ...program.opts(), ...flags }));
  for (const command of [program, emptyCommand]) {
    for (const option of settingOptions("worker")) command.addOption(option);
  }
  return program;
}

function seconds(text: string): number {
  const number = Number(text);
  if (/^\d{1,5}$/.test(text)) return number;
  throw new InvalidArgumentError("It must be a whole number of seconds.");
}
