/** `ct-edge policy check`: whether a policy is in order, and what it decides about somebody, by which rule. */
import { Command, InvalidArgumentError, Option } from "commander";
import { escapeForTerminal, escapeJson } from "../../../shared/logs/escape.ts";
import { canonicalAddress } from "../../../shared/net/networks.ts";
import type { LimitRule } from "../../../shared/policy/decide.ts";
import { personOf, type Told } from "../../../shared/policy/person.ts";
import type { Decision, Person } from "../../../shared/policy/policy.ts";
import type { ReadPolicy } from "../../../shared/policy/policy-file.ts";
import {
  emailKey,
  findSignIns,
  nameKey,
  type SignIn,
  userKey,
} from "../../../shared/sign-ins/sign-in.ts";
import type { Store } from "../../../shared/store/store.ts";
import { CommandError } from "../../output/errors.ts";
import { formatAge } from "../../output/format.ts";
import {
  commandSettings,
  createCommand,
  jsonOption,
  type Output,
  storeOptions,
} from "../command.ts";
import { withStore } from "../with-store.ts";
import { findSession } from "./session-command.ts";
import { onlyUser } from "./sign-out.ts";

interface Flags {
  readonly json?: true;
  readonly groups?: readonly string[];
  readonly address?: string;
  readonly offline?: true;
}

/** What `--json` prints. Fields are added, never changed. */
interface PolicyAnswer {
  readonly policy: string;
  readonly rules: number;
  readonly warnings: readonly string[];
  readonly person?: {
    readonly id: string;
    readonly email?: string;
    readonly groups?: readonly string[];
    readonly apiKey?: string;
    readonly isVerified: boolean;
  };
  readonly host?: Decision;
  /** With a room. */
  readonly join?: Decision;
  /** Of the sessions that the person hosts. */
  readonly limits?: readonly LimitRule[];
}

export function policyCommand(): Command {
  return new Command("policy")
    .description("Shows what a policy (CT_POLICY) decides.")
    .addCommand(checkCommand());
}

function checkCommand(): Command {
  return createCommand<Flags>({
    name: "check",
    description:
      "Checks the policy, and shows what it decides about a person: who may host, or join a session, by which rule.",
    argument: {
      name: "[user]",
      description:
        "A person who is signed in (email address, name or user id), apikey:NAME, name:NAME for somebody who signs in by name, or any address.",
    },
    second: { name: "[room]", description: "A session that the person wants to join." },
    options: [
      new Option(
        "--groups <list>",
        "Instead of the groups that are known of the person.",
      ).argParser(groupsOf),
      new Option("--address <ip>", "Where the person connects from.").argParser(addressOf),
      new Option("--offline", "Do not look up who is signed in."),
      jsonOption(),
      ...storeOptions(),
    ],
    run: (flags, user, room) => check(flags, user, room),
  });
}

function addressOf(text: string): string {
  if (canonicalAddress(text) !== undefined) return text;
  throw new InvalidArgumentError("It must be an IP address.");
}

function groupsOf(text: string): readonly string[] {
  const groups = text.split(",").map((group) => group.trim());
  if (groups.every((group) => group !== "")) return groups;
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
  if (user === undefined) return output(read, flags);
  if (flags.offline && room !== undefined) {
    throw new CommandError("whose session it is can only be looked up; leave --offline out");
  }
  if (flags.offline) return output(read, flags, withFlags(guessed(user), flags));
  return withStore(settings, async ({ store }) => {
    const person = withFlags(await findPerson(store, user), flags);
    const host = room === undefined ? undefined : await findHost(store, room);
    return output(read, flags, person, host);
  });
}

/** Loads a parser of YAML, which no other command needs. */
async function readPolicy(path: string): Promise<ReadPolicy> {
  const { PolicyError, readPolicyFile } = await import("../../../shared/policy/policy-file.ts");
  try {
    return readPolicyFile(path);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    const problems = error.problems.map((problem) => `  ${escapeForTerminal(problem, MAX_CHARS)}`);
    throw new CommandError([`${escapeForTerminal(path)} has mistakes:`, ...problems].join("\n"));
  }
}

// --- people ---

async function findPerson(store: Store, user: string): Promise<Person> {
  if (/^(apikey|name):/.test(user)) return guessed(user);
  const all = await findSignIns(store, [userKey(user), emailKey(user), nameKey(user)]);
  // Those to the dashboard are not asked about, and have no groups.
  const signIns = all.filter(({ role }) => role === undefined);
  if (signIns.length === 0 && user.includes("@")) return guessed(user);
  const { id } = onlyUser(signIns, user);
  return signedIn(signIns.filter((one) => one.user.id === id));
}

/** By the newest sign-in. */
function signedIn(signIns: readonly SignIn[]): Person {
  const [newest] = [...signIns].sort((one, other) => other.begunMs - one.begunMs);
  if (newest === undefined) throw new Error("no sign-in");
  const { id, user } = newest;
  return personOf({ id: user.id, name: user.name, signIn: id }, undefined, toldOf(newest));
}

function toldOf({ user, groups }: SignIn): Told {
  return { email: user.email, groups: groups && new Set(groups) };
}

/** Somebody of whom nothing is known but this. */
function guessed(user: string): Person {
  const [, kind, name = ""] = /^(apikey|name):(.*)$/.exec(user) ?? [];
  if (kind === "apikey") return { id: "", apiKey: name, isVerified: true };
  if (kind === "name") return { id: "", isVerified: false };
  return user.includes("@")
    ? { id: "", email: user.toLowerCase(), isVerified: true }
    : { id: user, isVerified: true };
}

function withFlags(person: Person, { groups, address }: Flags): Person {
  return {
    ...person,
    ...(groups !== undefined && { groups: new Set(groups) }),
    ...(address !== undefined && { address }),
  };
}

async function findHost(store: Store, room: string): Promise<Person & { readonly name: string }> {
  const { peers } = await findSession(store, room);
  const user = peers.find(({ host }) => host)?.user;
  if (user === undefined) throw new CommandError("its host has not come yet");
  const { signIn, name } = user;
  const found = signIn === undefined ? [] : await findSignIns(store, [userKey(user.id)]);
  const told = found.find(({ id }) => id === signIn);
  return { ...personOf(user, undefined, told && toldOf(told)), name };
}

// --- output ---

function output(
  { policy, decider, digest }: ReadPolicy,
  { json }: Flags,
  person?: Person,
  host?: Person & { readonly name: string },
): Output {
  const answer: PolicyAnswer = {
    policy: digest,
    rules: policy.rules.length,
    warnings: policy.warnings,
    ...(person !== undefined && {
      person: describe(person),
      host: decider.mayHost(person),
      limits: decider.limitRulesOf(person),
    }),
    ...(person !== undefined && host !== undefined && { join: decider.mayJoin(person, host) }),
  };
  if (json) return { out: `${escapeJson(answer, 2)}\n` };
  return {
    out: `${lines(answer, host?.name)
      .map((line) => escapeForTerminal(line))
      .join("\n")}\n`,
  };
}

function describe({ id, email, groups, apiKey, isVerified }: Person) {
  return {
    id,
    ...(email !== undefined && { email }),
    ...(groups !== undefined && { groups: [...groups] }),
    ...(apiKey !== undefined && { apiKey }),
    isVerified,
  };
}

function lines({ policy, rules, warnings, person, host, join, limits }: PolicyAnswer, of?: string) {
  const text = [`policy ${policy}: ${rules} ${rules === 1 ? "rule" : "rules"}, in order`];
  for (const warning of warnings) text.push(`! ${warning}`);
  if (person === undefined) return text;
  const { email, groups, apiKey, isVerified } = person;
  const known = [
    apiKey === undefined ? undefined : `API key ${apiKey}`,
    email ?? (apiKey === undefined ? "no verified email address" : undefined),
    groups === undefined ? "groups not known" : `groups ${groups.join(", ") || "none"}`,
    isVerified ? undefined : "signs in by name",
  ].filter((one) => one !== undefined);
  text.push(`person: ${known.join("; ")}`);
  if (host !== undefined) text.push(`host: ${explain(host)}`);
  if (join !== undefined) text.push(`join a session of ${of ?? ""}: ${explain(join)}`);
  if (limits !== undefined) text.push(`limits: ${explainLimits(limits)}`);
  return text;
}

function explain(decision: Decision): string {
  const by = decision.rule === undefined ? '"otherwise"' : `rule "${decision.rule}"`;
  if (decision.outcome === "denied") return `denied by ${by}: ${decision.reason}`;
  return `allowed by ${by}${decision.isAsked ? "" : ", without asking the host"}`;
}

const LIMITS = {
  guests: (value) => `${value} guests`,
  sessions: (value) => `${value} sessions at a time`,
  longestMs: (value) => `${formatAge(value)} at most`,
  idleMs: (value) => `${formatAge(value)} idle`,
  aloneMs: (value) => `${formatAge(value)} without guests`,
} as const satisfies Record<LimitRule["name"], (value: number) => string>;

function explainLimits(limits: readonly LimitRule[]): string {
  const all = limits.map(({ name, value, rule }) => `${LIMITS[name](value)} (rule "${rule}")`);
  return all.length === 0 ? "none" : all.join(", ");
}
