/** `ct-edge policy check`: whether a policy is in order, and what it decides about somebody, by which rule. */
import { Command, InvalidArgumentError, Option } from "commander";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import { explainPolicy, type NamedHost, policyLines } from "../../../shared/policy/explain.ts";
import {
  assume,
  findHost,
  findPerson,
  guessedPerson,
  isAddress,
  parseGroups,
} from "../../../shared/policy/find-person.ts";
import type { Person } from "../../../shared/policy/policy.ts";
import type { ReadPolicy } from "../../../shared/policy/policy-file.ts";
import { CommandError, mistakesIn } from "../../output/errors.ts";
import {
  commandSettings,
  createCommand,
  jsonOption,
  type Output,
  storeOptions,
} from "../command.ts";
import { withStore } from "../with-store.ts";
import { findSession } from "./session-command.ts";

interface Flags {
  readonly groups?: readonly string[];
  readonly address?: string;
  readonly offline?: true;
}

export function policyCommand(): Command {
  return new Command("policy")
    .description("Shows what a policy (CT_POLICY) decides.")
    .addCommand(checkCommand())
    .addCommand(schemaCommand());
}

function schemaCommand(): Command {
  return createCommand({
    name: "schema",
    description: "Prints the JSON schema of a policy file, for editors.",
    async run() {
      const { policyJsonSchema } = await import("../../../shared/policy/parse-policy.ts");
      return { out: `${JSON.stringify(policyJsonSchema(), undefined, 2)}\n` };
    },
  });
}

function checkCommand(): Command {
  return createCommand<Flags>({
    name: "check",
    description:
      "Checks the policy, and shows what it decides about a person: who may host, or join a session, by which rule.",
    args: {
      "[user]":
        "A person who is signed in (email address, name or user id), apikey:NAME, name:NAME for somebody who signs in by name, or any address.",
      "[room]": "A session that the person wants to join.",
    },
    options: [
      new Option(
        "--groups <list>",
        "Instead of the groups that are known of the person.",
      ).argParser(groupsOf),
      new Option("--address <ip>", "Where the person connects from.").argParser(addressOf),
      new Option("--offline", "Do not look up who is signed in."),
      jsonOption(),
      ...storeOptions("policy"),
    ],
    run: check,
  });
}

function addressOf(text: string): string {
  if (isAddress(text)) return text;
  throw new InvalidArgumentError("It must be an IP address.");
}

function groupsOf(text: string): readonly string[] {
  const groups = parseGroups(text);
  if (groups !== undefined) return groups;
  throw new InvalidArgumentError("Write names with commas between them.");
}

/** A reason may have 500. */
const MAX_CHARS = 2000;

async function check(flags: Flags, user?: string, room?: string): Promise<Output> {
  const settings = commandSettings(flags);
  if (settings.policy === undefined) {
    throw new CommandError(
      "there is no policy: everyone who has signed in may host and ask to join; give one with --policy FILE or CT_POLICY",
    );
  }
  const read = await readPolicy(settings.policy);
  if (user === undefined) return output(read);
  if (flags.offline && room !== undefined) {
    throw new CommandError("whose session it is can only be looked up; leave --offline out");
  }
  if (flags.offline) return output(read, assume(guessedPerson(user), flags));
  return withStore(settings, async ({ store }) => {
    const person = assume(await findPerson(store, user), flags);
    const host =
      room === undefined ? undefined : await findHost(store, await findSession(store, room));
    return output(read, person, host);
  });
}

/** Loads a parser of YAML, which no other command needs. */
async function readPolicy(path: string): Promise<ReadPolicy> {
  const { PolicyError, readPolicyFile } = await import("../../../shared/policy/policy-file.ts");
  try {
    return readPolicyFile(path);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw mistakesIn(path, error.problems);
  }
}

// --- output ---

function output(read: ReadPolicy, person?: Person, host?: NamedHost): Output {
  const answer = explainPolicy(read, person, host);
  const lines = policyLines(answer, host?.name).map((line) => escapeForTerminal(line, MAX_CHARS));
  return { json: answer, out: `${lines.join("\n")}\n` };
}
