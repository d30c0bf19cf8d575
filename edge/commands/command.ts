/**
 * What the commands that look into a running edge have in common: their options, how their answer is printed, and how
 * they end. What each asks of the store stands in its own file.
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { errorCode } from "../../shared/base/errors.ts";
import {
  flagOf,
  readSettings,
  SettingOption,
  settingOptions,
} from "../../shared/settings/read-settings.ts";
import { fail } from "../output/fail.ts";
import { type StoreQuery, withStore } from "./with-store.ts";

export interface Answer {
  /** For standard output, with its last line feed. */
  readonly out: string;
  /** What has no place there, because a program reads it. */
  readonly note?: string;
  /** The exit status; 0 unless it is said. */
  readonly status?: 1;
}

/** What every such command is told by its options. */
export interface CommonFlags {
  /** For programs. */
  readonly json?: true;
  /** Session keys whole. */
  readonly full?: true;
}

/**
 * A command that asks the store. It ends the process: with status 0 when all is printed, with 1 and one line on standard
 * error when the store cannot be reached, or when the answer is no.
 */
export function createStoreCommand<Flags extends CommonFlags>(needs: {
  readonly name: string;
  readonly description: string;
  /** Options beyond `--json` and those that say where the store is. */
  readonly options?: readonly Option[];
  /** What it is about, when it takes one. */
  readonly argument?: { readonly name: string; readonly description: string };
  /** `about` is the argument; empty when it may be left out and was. */
  readonly ask: (withStore: StoreQuery, flags: Flags, about: string) => Promise<Answer>;
}): Command {
  const command = new Command(needs.name)
    .description(needs.description)
    .allowExcessArguments(false)
    // Commander gives the argument first, when there is one, then the flags.
    .action(async (...given: readonly unknown[]) => {
      const [first] = given;
      const about = needs.argument !== undefined && typeof first === "string" ? first : "";
      const flags = given[needs.argument === undefined ? 0 : 1] as Flags & Record<string, unknown>;
      try {
        const settings = readSettings({ role: "command", env: process.env, flags });
        const answer = await withStore(settings, (withStore) => needs.ask(withStore, flags, about));
        if (answer.note !== undefined) process.stderr.write(`ct-edge: ${answer.note}\n`);
        await print(answer.out);
        process.exit(answer.status ?? 0);
      } catch (error) {
        fail(error);
      }
    });
  if (needs.argument !== undefined) {
    command.argument(needs.argument.name, needs.argument.description);
  }
  for (const option of needs.options ?? []) command.addOption(option);
  command.addOption(new Option("--json", "Print JSON, for programs."));
  for (const option of storeOptions()) command.addOption(option);
  return command;
}

/** `--limit`, from 1 to `max`. */
export function limitOption(what: string, standard: number, max: number): Option {
  return new Option("--limit <number>", what).default(standard).argParser((text: string) => {
    const limit = Number(text);
    if (/^\d+$/.test(text) && limit >= 1 && limit <= max) return limit;
    throw new InvalidArgumentError(`It is a whole number from 1 to ${max}.`);
  });
}

/** `--full`, for commands that show session keys. */
export function fullOption(): Option {
  return new Option("--full", "Show session keys whole; who has one can ask to join.");
}

/** Where the store is. `--redis` is short for the flag of CT_REDIS_URL. */
function storeOptions(): Option[] {
  const redisFlag = flagOf("redisUrl");
  return settingOptions("command").map((option) =>
    option.long === redisFlag
      ? new SettingOption(`--redis, ${option.flags}`, option.description)
      : option,
  );
}

/** Resolves when all of it is written; whoever stops reading early (`head`) has seen enough. */
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
