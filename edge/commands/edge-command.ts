/**
 * What the commands have in common that ask the supervisor of this machine's edge: where its data directory is, and how
 * they end.
 */
import { Command, Option } from "commander";
import {
  flagOf,
  readSettings,
  type Settings,
  settingOptions,
} from "../../shared/settings/read-settings.ts";
import { fail } from "../output/fail.ts";
import { print } from "./command.ts";

export interface EdgeFlags {
  readonly json?: true;
}

/** It ends the process: with 0 when all is printed, with 1 and one line on standard error when it could not be done. */
export function createEdgeCommand<Flags extends EdgeFlags>(needs: {
  readonly name: string;
  readonly description: string;
  /** Commander's form: `[process]`. */
  readonly argument?: readonly [string, string];
  readonly options?: readonly Option[];
  /** Whether there is `--json`. */
  readonly json?: true;
  readonly ask: (
    settings: Pick<Settings, "dataDir">,
    flags: Flags,
    argument: string | undefined,
  ) => Promise<string>;
}): Command {
  const command = new Command(needs.name)
    .description(needs.description)
    .allowExcessArguments(false);
  if (needs.argument !== undefined) command.argument(...needs.argument);
  command.action(async (...given: unknown[]) => {
    // Commander gives the argument, if the command has one, the options, and the command.
    const [argument, flags] = needs.argument === undefined ? [undefined, given[0]] : given;
    try {
      const options = flags as Flags & Record<string, unknown>;
      const settings = readSettings({ role: "command", env: process.env, flags: options });
      await print(await needs.ask(settings, options, argument as string | undefined));
      process.exit(0);
    } catch (error) {
      fail(error);
    }
  });
  for (const option of needs.options ?? []) command.addOption(option);
  if (needs.json) command.addOption(new Option("--json", "Print JSON, for programs."));
  const wanted = new Set([flagOf("dataDir"), "--config"]);
  for (const option of settingOptions("command")) {
    if (wanted.has(option.long ?? "")) command.addOption(option);
  }
  return command;
}
