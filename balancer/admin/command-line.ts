/** The command line of `ct-balancer`. */
import { Command } from "commander";
import { VERSION } from "../../shared/process/version.ts";
import { settingOptions } from "../../shared/settings/read-settings.ts";

type Action = (flags: Record<string, unknown>) => Promise<void>;

/** `run` and `check` get the parsed flags, for `readSettings`. */
export function balancerProgram(actions: {
  readonly run: Action;
  readonly check: Action;
}): Command {
  const program = new Command("ct-balancer")
    .description("Routes each request to the worker that hosts its session.")
    .version(VERSION)
    .allowExcessArguments(false)
    .action(actions.run);
  const check = program
    .command("check")
    .description(
      "Checks whether a balancer would start with these settings, and shows what it would use.",
    )
    .allowExcessArguments(false)
    // Flags before the command name belong to the program.
    .action((flags: Record<string, unknown>) => actions.check({ ...program.opts(), ...flags }));
  for (const command of [program, check]) {
    for (const option of settingOptions("balancer")) command.addOption(option);
  }
  return program;
}
