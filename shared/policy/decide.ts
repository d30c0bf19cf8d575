/** Decides by a policy. Pure. */
import { type Keys, keysOf, type Match, match } from "./keys.ts";
import {
  type Action,
  type ClientRequirement,
  type ConditionKind,
  type Decision,
  LIMIT_NAMES,
  type LimitName,
  type Limits,
  type Person,
  type Policy,
  type Refusal,
  type Rule,
} from "./policy.ts";
import { createRuleIndex, type RuleIndex } from "./rule-index.ts";

export type Decider = ReturnType<typeof createDecider>;

export interface LimitRule {
  readonly name: LimitName;
  readonly value: number;
  readonly rule: string;
}

/** What a rule may say something about. */
type Subject = Action | LimitName | "clients" | "readOnly";

export function createDecider(policy: Policy, prefixes: readonly number[]) {
  const subjects: readonly Subject[] = ["host", "join", "clients", "readOnly", ...LIMIT_NAMES];
  const indexes = new Map<Subject, RuleIndex>();
  for (const subject of subjects) {
    const rules = policy.rules.filter((rule) => isAbout(rule, subject));
    // A session is only joined.
    const sides =
      subject === "join" || subject === "readOnly"
        ? (["who", "hosts"] as const)
        : (["who"] as const);
    const decides = (rule: Rule): boolean => decidesUnknown(rule, subject);
    indexes.set(subject, createRuleIndex(rules, sides, decides));
  }
  const hasTimeLimits = policy.rules.some(
    ({ limits }) => (limits.longestMs ?? limits.idleMs ?? limits.aloneMs) !== undefined,
  );

  function candidates(subject: Subject, keys: Keys, host?: Keys): Iterable<Rule> {
    return indexes.get(subject)?.(keys, host) ?? [];
  }

  function decide(action: Action, person: Person, host?: Person): Decision {
    const keys = keysOf(person, prefixes);
    const hostKeys = host && keysOf(host, prefixes);
    let missing: ConditionKind | undefined;
    for (const rule of candidates(action, keys, hostKeys)) {
      const isForHost = hostKeys === undefined ? "yes" : match(rule.hosts, hostKeys);
      const isFor = isForHost === "no" ? "no" : match(rule.who, keys);
      if (isFor === "no") continue;
      if (rule[action] === "deny") {
        // Also for those of whom it is not known: otherwise it would be enough to tell nothing.
        return denied(action, rule, isFor === "yes" ? undefined : isFor);
      }
      if (isFor !== "yes") missing ??= isFor;
      if (isFor !== "yes" || isForHost !== "yes") continue;
      // Only people whose identity was checked come in without a question.
      const isAsked = rule[action] !== "without-asking" || !person.isVerified;
      return { outcome: "allowed", rule: rule.name, isAsked };
    }
    if (policy.otherwise[action] === "deny") return denied(action, undefined, missing);
    return { outcome: "allowed", rule: undefined, isAsked: true };
  }

  /** The first rule that is certainly for the host, or a stricter one before it that may be. */
  function limitOf(name: LimitName, keys: Keys): LimitRule | undefined {
    let strictest: LimitRule | undefined;
    for (const rule of candidates(name, keys)) {
      const isFor = match(rule.who, keys);
      const value = rule.limits[name];
      if (isFor === "no" || value === undefined) continue;
      if (strictest === undefined || value < strictest.value) {
        strictest = { name, value, rule: rule.name };
      }
      if (isFor === "yes") break;
    }
    return strictest;
  }

  /** The limits of the sessions that `host` hosts, each with its rule. */
  function limitRulesOf(host: Person): readonly LimitRule[] {
    const keys = keysOf(host, prefixes);
    return LIMIT_NAMES.flatMap((name) => limitOf(name, keys) ?? []);
  }

  return {
    mayHost: (person: Person) => decide("host", person),
    /** Whether `person` may join, or ask to join, a session that `host` hosts. */
    mayJoin: (person: Person, host: Person) => decide("join", person, host),
    limitRulesOf,
    /** The same, without the rules. */
    limitsOf: (host: Person): Limits =>
      Object.fromEntries(limitRulesOf(host).map(({ name, value }) => [name, value])),
    /** Why `person` should use a newer client, by what the client says of itself; undefined: the policy has nothing against it. */
    clientProblem(person: Person, client: string): Refusal | undefined {
      const keys = keysOf(person, prefixes);
      let problem: Refusal | undefined;
      for (const { name: rule, who, clients } of candidates("clients", keys)) {
        const isFor: Match = match(who, keys);
        if (isFor === "no") continue;
        const reason = problemOf(clients, client);
        if (reason !== undefined) problem ??= { rule, reason };
        if (isFor === "yes") break;
      }
      return problem;
    },
    /**
     * The rule by which our own page opens the session of `host` read-only for `person`; undefined: none. A hint: other clients do
     * not know it, and the host decides about every change.
     */
    readOnlyHint(person: Person, host: Person): string | undefined {
      const keys = keysOf(person, prefixes);
      const hostKeys = keysOf(host, prefixes);
      for (const rule of candidates("readOnly", keys, hostKeys)) {
        const isForHost = match(rule.hosts, hostKeys);
        const isFor = isForHost === "no" ? "no" : match(rule.who, keys);
        if (isFor === "no") continue;
        // What is not known of somebody does not help.
        if (rule.readOnly) return rule.name;
        if (isFor === "yes" && isForHost === "yes") return undefined;
      }
      return undefined;
    },
    /** Whether there are limits of time, so that sessions have to be watched. */
    hasTimeLimits,
  };
}

function isAbout(rule: Rule, subject: Subject): boolean {
  if (subject === "clients") return rule.clients.length > 0;
  if (subject === "readOnly") return rule.readOnly !== undefined;
  return subject === "host" || subject === "join"
    ? rule[subject] !== undefined
    : rule.limits[subject] !== undefined;
}

/** Limits hold for everyone whom they may be for. */
function decidesUnknown(rule: Rule, subject: Subject): boolean {
  if (subject === "readOnly") return rule.readOnly === true;
  return subject === "host" || subject === "join" ? rule[subject] === "deny" : true;
}

// --- clients ---

/** Clients call themselves `NAME@VERSION`. One without a version is not judged. */
function problemOf(required: readonly ClientRequirement[], client: string): string | undefined {
  const [, called = "", numbers] = /^(.*)[@ /]v?(\d+(?:\.\d+)*)/.exec(client) ?? [];
  const name = plainName(called);
  const requirement = required.find((one) => name.includes(plainName(one.name)));
  if (requirement === undefined || numbers === undefined) return undefined;
  const { atLeast } = requirement;
  return isBelow(numbers.split(".").map(Number), atLeast)
    ? `Your client says that it is ${client}; this server asks for version ${atLeast.join(".")} or newer. Update it and join again.`
    : undefined;
}

/** `OCT_CODE_Visual_Studio_Code` is how the client of VS Code calls itself. */
function plainName(name: string): string {
  return name.toLowerCase().replaceAll("_", " ");
}

function isBelow(version: readonly number[], other: readonly number[]): boolean {
  const length = Math.max(version.length, other.length);
  for (let index = 0; index < length; index++) {
    const difference = (version[index] ?? 0) - (other[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

// --- words ---

const MISSING: Readonly<Record<ConditionKind, string>> = {
  users: "you have no verified email address",
  apiKeys: "you did not sign in with an API key",
  domains: "you have no verified email address",
  groups: "no identity provider has sent your groups",
  networks: "your network address is not known",
};

function denied(action: Action, rule?: Rule, missing?: ConditionKind): Decision {
  const what = action === "host" ? "host sessions on this server" : "join this session";
  const reason =
    missing === undefined
      ? (rule?.reason ?? `You may not ${what}. Contact your administrator.`)
      : `You may not ${what}, because ${MISSING[missing]}. Sign in another way, or contact your administrator.`;
  return { outcome: "denied", rule: rule?.name, reason };
}
