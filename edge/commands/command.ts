/**
 * What the commands of `ct-edge` have in common: their options, how they print, and how they end. Each command is in a file
 * of its own: cluster/ for those that ask the store, machine/ for those about this machine.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { errorCode } from "../../shared/base/errors.ts";
import { escapeJson } from "../../shared/logs/escape.ts";
import {
  flagOf,
  readSettings,
  SettingOption,
  type Settings,
  settingOptions,
} from "../../shared/settings/read-settings.ts";
import type { SettingName } from "../../shared/settings/settings.ts";
import { fail } from "../output/errors.ts";
import { type StoreQuery, withStore } from "./with-store.ts";

export interface Output {
  /** For standard output, with its last line feed. */
  readonly out: string | (() => string);
  /** With `--json` printed instead of `out`. */
  readonly json?: unknown;
  /** Lines for standard error: what must not mix with JSON. */
  readonly notes?: readonly string[];
  /** The exit status, 0 by default. */
  readonly status?: number;
}

export interface CommonFlags {
  readonly json?: true;
  readonly full?: true;
}

interface CommandSpec {
  readonly name: string;
  readonly description: string;
  /** Description by name, in commander's form: `[process]` is optional, `<worker>` is not, `[paths...]` are any number. */
  readonly args?: Readonly<Record<string, string>>;
  readonly options?: readonly Option[];
}

/**
 * Ends the process: with the status of its output once all of it is printed, or with 1 and one line on standard error when
 * `run` rejects. Arguments are undefined when they were left out.
 */
export function createCommand<Flags extends object>(
  spec: CommandSpec & {
    readonly run: (flags: Flags, ...args: (string | undefined)[]) => Promise<Output>;
  },
): Command {
  const args = Object.entries(spec.args ?? {});
  const command = new Command(spec.name)
    .description(spec.description)
    .allowExcessArguments(false)
    // Commander passes the arguments that the command has, then the flags.
    .action(async (...passed: readonly unknown[]) => {
      const flags = passed[args.length] as Flags & CommonFlags;
      const given = passed.slice(0, args.length).flat() as (string | undefined)[];
      try {
        const { out, json, notes = [], status = 0 } = await spec.run(flags, ...given);
        for (const note of notes) process.stderr.write(`ct-edge: ${note}\n`);
        if (flags.json && json !== undefined) await print(`${escapeJson(json, 2)}\n`);
        else await print(typeof out === "string" ? out : out());
        process.exit(status);
      } catch (error) {
        fail(error);
      }
    });
  for (const [name, description] of args) command.argument(name, description);
  for (const option of spec.options ?? []) command.addOption(option);
  return command;
}

/** A command that asks the store. Fails when the store cannot be reached. `argument` is empty when it was left out. */
export function createStoreCommand<Flags extends CommonFlags>(
  spec: CommandSpec & {
    readonly run: (query: StoreQuery, flags: Flags, argument: string) => Promise<Output>;
  },
): Command {
  return createCommand<Flags>({
    ...spec,
    options: [...(spec.options ?? []), jsonOption(), ...storeOptions()],
    run: (flags, argument = "") =>
      withStore(commandSettings(flags), (query) => spec.run(query, flags, argument)),
  });
}

/** A command that asks the supervisor of this machine's edge, which is found by its data directory. */
export function createEdgeCommand<Flags extends object = object>(
  spec: CommandSpec & {
    readonly run: (dataDir: string, flags: Flags, argument?: string) => Promise<Output>;
  },
): Command {
  return createCommand<Flags>({
    ...spec,
    options: [...(spec.options ?? []), ...commandOptions("dataDir")],
    run: (flags, argument) => spec.run(commandSettings(flags).dataDir, flags, argument),
  });
}

/** Throws `SettingError`. */
export function commandSettings(flags: object): Settings {
  return readSettings({ role: "command", env: process.env, flags: { ...flags } });
}

// --- options ---

export function jsonOption(): Option {
  return new Option("--json", "Print JSON, for programs.");
}

/** `--limit`, from 1 to `max`. */
export function limitOption(what: string, standard: number, max: number): Option {
  return new Option("--limit <number>", what).default(standard).argParser(wholeNumber(1, max));
}

/** A parser for commander. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** `--full`, for commands that show session keys. */
export function fullOption(): Option {
  return new Option(
    "--full",
    "Show session keys in full. With a key, anyone can ask to join the session.",
  );
}

/** The options of these settings, and `--config`. */
export function commandOptions(...names: readonly SettingName[]): Option[] {
  const flags = new Set<string>(["--config", ...names.map(flagOf)]);
  return settingOptions("command").filter(({ long }) => flags.has(long ?? ""));
}

/** Where the store is, and the options of `more` settings. `--redis` is short for the flag of CT_REDIS_URL. */
export function storeOptions(...more: readonly SettingName[]): Option[] {
  const options = commandOptions("dataDir", "redisUrl", "redisCa", "redisPrefix", ...more);
  return options.map((option) =>
    option.long === flagOf("redisUrl")
      ? new SettingOption(`--redis, ${option.flags}`, option.description)
      : option,
  );
}

// --- output ---

/** Resolves when all is written. A reader that stops early (`head`) is no error. */
export async function print(text: string): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      process.stdout.once("error", reject);
      process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
    });
  } catch (error) {
    if (errorCode(error) !== "EPIPE") throw error;
  }
}
