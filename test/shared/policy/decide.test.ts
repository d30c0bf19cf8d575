/** Who may do what, by a policy: a table of cases, a slow reference, and the time that a decision takes. */
import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import { createDecider } from "../../../shared/policy/decide.ts";
import { keysOf, match } from "../../../shared/policy/keys.ts";
import { parsePolicy } from "../../../shared/policy/parse-policy.ts";
import type { Person, Policy } from "../../../shared/policy/policy.ts";
import { createRandom } from "../../model/random.ts";

function deciderOf(text: string) {
  const parsed = parsePolicy(text);
  if (parsed.outcome === "invalid") throw new Error(parsed.problems.join("; "));
  return createDecider(parsed.policy, parsed.prefixes);
}

function person(given: Partial<Person> & { readonly id: string }): Person {
  return { isVerified: true, address: "192.0.2.1", ...given };
}

const ALICE = person({ id: "u-alice", email: "alice@example.com", groups: new Set(["staff"]) });
const BOB = person({ id: "u-bob", email: "bob@dev.example.com", groups: new Set(["contractors"]) });
const EVE = person({ id: "u-eve", email: "eve@elsewhere.example", groups: new Set() });
/** Signed in by name. */
const NAMED = person({ id: "u-named", isVerified: false });
/** The provider has told neither address nor groups. */
const UNKNOWN = person({ id: "u-unknown" });
const BOT = person({ id: "u-bot", apiKey: "ci" });
const INSIDE = person({ ...EVE, address: "10.20.30.40" });

const DECIDER = deciderOf(`
version: 1
otherwise: { host: deny, join: deny }
rules:
  - { name: eve is out, who: { users: [Eve@Elsewhere.example] }, join: deny, reason: "Ask the front desk." }
  - { name: no agents with staff, who: { apiKeys: ["*"] }, hosts: { domains: [example.com] }, join: deny, reason: "No agents here." }
  - { name: agents, who: { apiKeys: [ci] }, join: allow }
  - { name: staff, who: { domains: [example.com] }, host: allow, join: without-asking }
  - { name: contractors, who: { groups: [contractors], domains: ["*.example.com"] }, hosts: { domains: [example.com] }, join: allow }
  - { name: office, who: { networks: [10.0.0.0/8, "2001:db8::/32"] }, host: allow }
`);

describe("hosting", () => {
  test.each([
    { who: "somebody of the domain", person: ALICE, rule: "staff" },
    { who: "somebody in the network", person: INSIDE, rule: "office" },
    {
      who: "somebody in the IPv6 network",
      person: { ...EVE, address: "2001:DB8:0::7" },
      rule: "office",
    },
  ])("$who may", ({ person: somebody, rule }) => {
    expect(DECIDER.mayHost(somebody)).toEqual({ outcome: "allowed", rule, isAsked: true });
  });

  test.each([
    {
      who: "somebody of a subdomain",
      person: BOB,
      reason: /^You may not host sessions on this server/,
    },
    {
      who: "somebody without a verified address",
      person: NAMED,
      reason: /nobody has verified one of yours/,
    },
    { who: "a program", person: BOT, reason: /nobody has verified one of yours/ },
    {
      who: "somebody outside the network",
      person: { ...EVE, address: "11.0.0.1" },
      reason: /on this server/,
    },
    {
      who: "somebody with a mapped address outside",
      person: { ...EVE, address: "::ffff:192.0.2.1" },
      reason: /on this server/,
    },
  ])("$who may not", ({ person: somebody, reason }) => {
    expect(DECIDER.mayHost(somebody)).toMatchObject({
      outcome: "denied",
      rule: undefined,
      reason: expect.stringMatching(reason),
    });
  });

  test("an IPv4 address on an IPv6 socket is in its network", () => {
    const mapped = { ...EVE, address: "::ffff:10.1.1.1" };
    expect(DECIDER.mayHost(mapped)).toMatchObject({ outcome: "allowed", rule: "office" });
  });
});

describe("joining", () => {
  test("the first rule that speaks decides, with its reason", () => {
    const reason = "Ask the front desk.";
    expect(DECIDER.mayJoin(EVE, ALICE)).toEqual({ outcome: "denied", rule: "eve is out", reason });
  });

  test("whose session it is may decide", () => {
    expect(DECIDER.mayJoin(BOB, ALICE)).toMatchObject({ outcome: "allowed", rule: "contractors" });
    expect(DECIDER.mayJoin(BOB, INSIDE)).toMatchObject({ outcome: "denied", rule: undefined });
    expect(DECIDER.mayJoin(BOT, ALICE)).toMatchObject({
      outcome: "denied",
      reason: "No agents here.",
    });
    expect(DECIDER.mayJoin(BOT, EVE)).toMatchObject({ outcome: "allowed", rule: "agents" });
  });

  test("a host of whom nobody knows the domain is treated as one whom a refusal protects", () => {
    expect(DECIDER.mayJoin(BOT, NAMED)).toMatchObject({
      outcome: "denied",
      rule: "no agents with staff",
    });
    expect(DECIDER.mayJoin(BOB, NAMED)).toMatchObject({ outcome: "denied", rule: undefined });
  });

  test("nobody comes in without a question whom nobody has checked", () => {
    const decider = deciderOf(
      "{version: 1, otherwise: {host: deny, join: deny}, rules: [{name: all, join: without-asking}]}",
    );
    expect(decider.mayJoin(ALICE, BOB)).toEqual({
      outcome: "allowed",
      rule: "all",
      isAsked: false,
    });
    expect(decider.mayJoin(NAMED, BOB)).toEqual({ outcome: "allowed", rule: "all", isAsked: true });
  });
});

describe("what is not known of a person", () => {
  const decider = deciderOf(`
version: 1
otherwise: { host: allow, join: allow }
rules:
  - { name: no rivals, who: { domains: [rival.example] }, join: deny, reason: "Not rivals." }
  - { name: no interns, who: { groups: [interns] }, host: deny, guests: 3 }
`);
  test("a refusal by domain refuses people without a verified address, and says so", () => {
    expect(decider.mayJoin(NAMED, ALICE)).toEqual({
      outcome: "denied",
      rule: "no rivals",
      reason:
        "You may not join this session: it depends on your email address, because nobody has verified one of yours. Sign in another way, or contact your administrator.",
    });
    expect(decider.mayJoin(ALICE, NAMED)).toMatchObject({ outcome: "allowed" });
  });

  test("a refusal by group refuses people whose groups are not told", () => {
    expect(decider.mayHost(UNKNOWN)).toMatchObject({
      outcome: "denied",
      reason: expect.stringContaining("your identity provider has not told them"),
    });
    expect(decider.mayHost(ALICE)).toMatchObject({ outcome: "allowed" });
  });

  test("a limit holds for them", () => {
    expect(decider.limitsOf(UNKNOWN)).toEqual({ guests: 3 });
    expect(decider.limitsOf(ALICE)).toEqual({});
  });
});

test("each limit comes from the first rule that has it", () => {
  const decider = deciderOf(`
version: 1
otherwise: { host: allow, join: allow }
rules:
  - { name: contractors, who: { groups: [contractors] }, guests: 2 }
  - { name: everyone, guests: 50, longest: 8h, idle: 1h, alone: 10m, sessions: 4 }
`);
  const rest = { sessions: 4, longestMs: 28_800_000, idleMs: 3_600_000, aloneMs: 600_000 };
  expect(decider.limitsOf(BOB)).toEqual({ guests: 2, ...rest });
  expect(decider.limitsOf(ALICE)).toEqual({ guests: 50, ...rest });
});

// --- the index ---

const NAMES = ["a", "b", "c", "d"];

function randomPolicy(seed: number): { policy: Policy; people: Person[] } {
  const random = createRandom(seed);
  const some = (values: readonly string[]): Set<string> =>
    new Set([random.pick(values), random.pick(values)]);
  const conditions = () => ({
    ...(random.int(0, 2) === 0 && { users: some(NAMES) }),
    ...(random.int(0, 3) === 0 && { apiKeys: some([...NAMES, "*"]) }),
    ...(random.int(0, 2) === 0 && { domains: some(["a.example", "*.example", "b.example"]) }),
    ...(random.int(0, 2) === 0 && { groups: some(NAMES) }),
  });
  const rules = Array.from({ length: random.int(1, 12) }, (_, index) => ({
    name: String(index),
    who: conditions(),
    hosts: random.int(0, 1) === 0 ? conditions() : {},
    ...(random.int(0, 2) > 0 && {
      join: random.pick(["allow", "deny", "without-asking"] as const),
    }),
    ...(random.int(0, 2) > 0 && { host: random.pick(["allow", "deny"] as const) }),
    limits: random.int(0, 1) === 0 ? { guests: index } : {},
    clients: [],
  }));
  const otherwise = {
    host: random.pick(["allow", "deny"] as const),
    join: random.pick(["allow", "deny"] as const),
  };
  const people = Array.from({ length: 6 }, () => ({
    id: random.pick(NAMES),
    isVerified: random.int(0, 1) === 0,
    ...(random.int(0, 1) === 0 && { email: `x@${random.pick(["a", "b", "c"])}.example` }),
    ...(random.int(0, 1) === 0 && { groups: some(NAMES) }),
    ...(random.int(0, 3) === 0 && { apiKey: random.pick(NAMES) }),
  }));
  return { policy: { rules, otherwise, warnings: [] }, people };
}

/** Looks at all rules in their order. */
function slowly(policy: Policy, guest: Person, host: Person | undefined): string {
  const action = host === undefined ? "host" : "join";
  for (const rule of policy.rules) {
    const verdict = rule[action];
    const isFor = match(rule.who, keysOf(guest, []));
    const isForHost = host === undefined ? "yes" : match(rule.hosts, keysOf(host, []));
    if (verdict === undefined || isFor === "no" || isForHost === "no") continue;
    if (verdict === "deny") return `denied by ${rule.name}`;
    if (isFor === "yes" && isForHost === "yes") return `allowed by ${rule.name}`;
  }
  return policy.otherwise[action] === "deny" ? "denied" : "allowed";
}

test("the index finds the rule that a look at all of them finds", () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const { policy, people } = randomPolicy(seed);
    const decider = createDecider(policy, []);
    for (const guest of people) {
      for (const host of [undefined, ...people]) {
        const decision = host === undefined ? decider.mayHost(guest) : decider.mayJoin(guest, host);
        const found =
          decision.outcome + (decision.rule === undefined ? "" : ` by ${decision.rule}`);
        const expected = slowly(policy, guest, host);
        if (found !== expected) throw new Error(`seed ${seed}: ${found}, not ${expected}`);
      }
      const limit = policy.rules.find(
        ({ who, limits }) => limits.guests !== undefined && match(who, keysOf(guest, [])) !== "no",
      )?.limits;
      if (!isDeepStrictEqual(decider.limitsOf(guest), limit ?? {}))
        throw new Error(`seed ${seed}: limits`);
    }
  }
});

describe("a decision with 10,000 rules looks at few of them", () => {
  const kinds = [
    (index: number) => ({ users: [`person${index}@example.com`] }),
    (index: number) => ({ groups: [`group-${index}`] }),
    (index: number) => ({ networks: [`10.${index >> 8}.${index & 255}.0/24`] }),
    (index: number) => ({ domains: [`d${index}.example.com`] }),
  ];
  const rules = Array.from({ length: 10_000 }, (_, index) => {
    const who = kinds[index % kinds.length]?.(index);
    return { name: `r${index}`, who, host: "allow", join: "allow" };
  });
  const otherwise = { host: "deny", join: "deny" };
  const many = deciderOf(JSON.stringify({ version: 1, otherwise, rules }));
  const one = deciderOf(JSON.stringify({ version: 1, otherwise, rules: rules.slice(0, 1) }));
  const groups = new Set(Array.from({ length: 50 }, (_, index) => `group-${9001 + index * 4}`));

  test.each([
    { who: "somebody by address", person: { email: "person9996@example.com", groups }, isIn: true },
    { who: "a member of a group", person: { email: "x@y.example", groups }, isIn: true },
    { who: "somebody in a network", person: { address: "10.39.14.3" }, isIn: true },
    {
      who: "nobody whom they name",
      person: { email: "x@y.example", groups: new Set("a") },
      isIn: false,
    },
    { who: "somebody of whom nothing is known", person: { address: undefined }, isIn: false },
  ])("$who", ({ person: given, isIn }) => {
    const somebody = person({ id: "u", ...given });
    expect(many.mayJoin(somebody, ALICE).outcome).toBe(isIn ? "allowed" : "denied");
    const control = timeOf(() => void one.mayJoin(somebody, ALICE));
    const time = timeOf(() => void many.mayJoin(somebody, ALICE));
    // 10,000 times as many rules.
    expect(time / control).toBeLessThan(20);
  });
});

/** The fastest of several rounds, in ms. */
function timeOf(act: () => void): number {
  const rounds = Array.from({ length: 20 }, () => {
    const startMs = performance.now();
    for (let i = 0; i < 200; i++) act();
    return (performance.now() - startMs) / 200;
  });
  return Math.min(...rounds);
}
