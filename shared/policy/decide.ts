/**
 * Decides by a policy. Rules are indexed by what they ask for, so that a decision looks at those that may be for the person, in
 * their order, and not at all of them. Pure.
 */
import { type Keys, keysOf, match } from "./keys.ts";
import {
  type Action,
  CONDITION_KINDS,
  type ConditionKind,
  type Decision,
  LIMIT_NAMES,
  type LimitName,
  type Limits,
  type Person,
  type Policy,
  type Rule,
} from "./policy.ts";

export interface Decider {
  mayHost(person: Person): Decision;
  /** Whether `person` may join, or ask to join, a session that `host` hosts. */
  mayJoin(person: Person, host: Person): Decision;
  /** Of the sessions that `host` hosts. */
  limitsOf(host: Person): Limits;
}

/** What a rule may speak of. */
type Subject = Action | LimitName;

export function createDecider(policy: Policy, prefixes: readonly number[]): Decider {
  const subjects: readonly Subject[] = ["host", "join", ...LIMIT_NAMES];
  const indexes = new Map(subjects.map((subject) => [subject, indexOf(policy.rules, subject)]));

  function decide(action: Action, person: Person, host?: Person): Decision {
    const keys = keysOf(person, prefixes);
    const hostKeys = host && keysOf(host, prefixes);
    let skipped: { readonly rule: Rule; readonly missing: ConditionKind } | undefined;
    for (const rule of candidates(indexes.get(action) ?? EMPTY, keys)) {
      const isForHost = hostKeys === undefined ? "yes" : match(rule.hosts, hostKeys);
      const isFor = isForHost === "no" ? "no" : match(rule.who, keys);
      if (isFor === "no") continue;
      const verdict = rule[action];
      // Who cannot be told from somebody who is refused is refused; who cannot be told from somebody who is allowed, is not.
      if (isFor !== "yes" && verdict !== "deny") {
        skipped ??= { rule, missing: isFor };
        continue;
      }
      if (isForHost !== "yes" && verdict !== "deny") continue;
      if (verdict !== "deny") {
        // Nobody comes in without a question whom nobody has checked.
        const isAsked = verdict !== "without-asking" || !person.isVerified;
        return { outcome: "allowed", rule: rule.name, isAsked };
      }
      const missing = isFor === "yes" ? undefined : isFor;
      return { outcome: "denied", rule: rule.name, reason: reasonOf(action, rule, missing) };
    }
    if (policy.otherwise[action] === "allow") {
      return { outcome: "allowed", rule: undefined, isAsked: true };
    }
    const { rule, missing } = skipped ?? {};
    return { outcome: "denied", rule: undefined, reason: reasonOf(action, rule, missing) };
  }

  return {
    mayHost: (person) => decide("host", person),
    mayJoin: (person, host) => decide("join", person, host),
    limitsOf(host) {
      const keys = keysOf(host, prefixes);
      const limits: { -readonly [Name in LimitName]?: number } = {};
      for (const name of LIMIT_NAMES) {
        for (const { who, limits: own } of candidates(indexes.get(name) ?? EMPTY, keys)) {
          // A limit holds for those too of whom it is not known whether it is for them.
          if (match(who, keys) === "no") continue;
          limits[name] = own[name] ?? 0;
          break;
        }
      }
      return limits;
    },
  };
}

function speaksOf(rule: Rule, subject: Subject): boolean {
  return subject === "host" || subject === "join"
    ? rule[subject] !== undefined
    : rule.limits[subject] !== undefined;
}

// --- words ---

const MISSING: Readonly<Record<ConditionKind, string>> = {
  users: "who you are",
  apiKeys: "your API key",
  domains: "your email address, because nobody has verified one of yours",
  groups: "your groups, because your identity provider has not told them",
  networks: "where you connect from",
};

function reasonOf(action: Action, rule?: Rule, missing?: ConditionKind): string {
  const what = action === "host" ? "host sessions" : "join this session";
  if (missing !== undefined) {
    return `You may not ${what}: it depends on ${MISSING[missing]}. Sign in another way, or contact your administrator.`;
  }
  return rule?.reason ?? `You may not ${what} on this server. Contact your administrator.`;
}

// --- the index ---

interface Placed {
  readonly rule: Rule;
  readonly at: number;
}

/** Rules by one of their conditions, each list in the order of the rules. */
interface Index {
  readonly byKey: Readonly<Record<ConditionKind, ReadonlyMap<string, readonly Placed[]>>>;
  /** Those with conditions of a kind, for people of whom nothing of that kind is known. */
  readonly ofKind: Readonly<Record<ConditionKind, readonly Placed[]>>;
  readonly forAll: readonly Placed[];
}

function indexOf(rules: readonly Rule[], subject?: Subject): Index {
  const byKey = perKind(() => new Map<string, Placed[]>());
  const ofKind = perKind((): Placed[] => []);
  const forAll: Placed[] = [];
  for (const [at, rule] of rules.entries()) {
    if (subject !== undefined && !speaksOf(rule, subject)) continue;
    const placed = { rule, at };
    const kind = narrowest(rule);
    if (kind === undefined) {
      forAll.push(placed);
      continue;
    }
    // Of those that do not decide about these people, the first gives the reason.
    if (decidesUnknown(rule, subject) || ofKind[kind].length === 0) ofKind[kind].push(placed);
    for (const key of rule.who[kind] ?? []) {
      const list = byKey[kind].get(key);
      if (list === undefined) byKey[kind].set(key, [placed]);
      else list.push(placed);
    }
  }
  return { byKey, ofKind, forAll };
}

/** Whether the rule decides about people of whom it is not known whether it is for them. */
function decidesUnknown(rule: Rule, subject: Subject | undefined): boolean {
  return subject !== "host" && subject !== "join" ? true : rule[subject] === "deny";
}

function perKind<T>(create: () => T): Record<ConditionKind, T> {
  return {
    users: create(),
    apiKeys: create(),
    domains: create(),
    groups: create(),
    networks: create(),
  };
}

const EMPTY = indexOf([]);

/** The first kind in their order: the fewest people share a key of it. */
function narrowest({ who }: Rule): ConditionKind | undefined {
  return CONDITION_KINDS.find((kind) => who[kind] !== undefined);
}

/** The rules that may be for somebody with these keys, in their order. */
function* candidates(index: Index, keys: Keys): Generator<Rule, void> {
  const lists = [index.forAll];
  for (const kind of CONDITION_KINDS) {
    const own = keys[kind];
    if (own === undefined) lists.push(index.ofKind[kind]);
    else for (const key of own) lists.push(index.byKey[kind].get(key) ?? []);
  }
  yield* merged(lists.filter((list) => list.length > 0));
}

/** The rules of several lists in their order; one that is in two of them may come twice. */
function* merged(lists: readonly (readonly Placed[])[]): Generator<Rule, void> {
  const next = lists.map(() => 0);
  for (;;) {
    let first: Placed | undefined;
    let from = 0;
    for (const [index, list] of lists.entries()) {
      const placed = list[next[index] ?? 0];
      if (placed !== undefined && (first === undefined || placed.at < first.at)) {
        first = placed;
        from = index;
      }
    }
    if (first === undefined) return;
    next[from] = (next[from] ?? 0) + 1;
    yield first.rule;
  }
}
