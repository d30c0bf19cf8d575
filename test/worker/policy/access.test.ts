/** Who may do what while the store is away, has lost a sign-in, or learns of new groups. */
import { expect, test } from "vitest";
import { createDecider } from "../../../shared/policy/decide.ts";
import { parsePolicy } from "../../../shared/policy/parse-policy.ts";
import { type SignIn, toStored } from "../../../shared/sign-ins/sign-in.ts";
import {
  type SignInQuery,
  StoreAwayError,
  type StoredSignIn,
} from "../../../shared/store/store.ts";
import { createAccess } from "../../../worker/policy/access.ts";
import { createStepClock } from "../../support/step-clock.ts";

const POLICY = `
version: 1
otherwise: { host: deny, join: deny }
rules:
  - { name: interns, who: { groups: [interns] }, longest: 1h }
  - { name: staff, who: { groups: [staff] }, host: allow, join: allow }
`;
const ADA = { id: "ada", name: "Ada", authProvider: "Company", signIn: "sign-in-of-ada" };
const ADDRESS = "192.0.2.1";

function createFixture(text = POLICY) {
  const parsed = parsePolicy(text);
  if (parsed.outcome === "invalid") throw new Error(parsed.problems.join("; "));
  const { policy, prefixes } = parsed;
  const current = { policy, decider: createDecider(policy, prefixes), digest: "" };
  const clock = createStepClock();
  const state = {
    isAway: false,
    groups: ["staff"] as string[] | undefined,
    isLost: false,
    reads: 0,
  };
  const findSignIns = async (by: SignInQuery): Promise<StoredSignIn[]> => {
    state.reads++;
    if (state.isAway) throw new StoreAwayError("findSignIns");
    if (state.isLost || !("id" in by)) return [];
    const record: SignIn = {
      ...{
        id: by.id,
        revision: 1,
        provider: "company",
        issuer: "https://id.example",
        subject: "1",
      },
      ...{ user: ADA, begunMs: 0, untilMs: 1, groups: state.groups },
    };
    return [JSON.parse(JSON.stringify(toStored(record))) as StoredSignIn];
  };
  return {
    state,
    clock,
    access: createAccess({ policy: { current }, store: { findSignIns }, clock }),
  };
}

test("while the store is away, people whom this worker knows go on", async () => {
  const { state, clock, access } = createFixture();
  expect(await access.mayHost(ADA, ADDRESS)).toMatchObject({ outcome: "allowed" });
  state.isAway = true;
  clock.advance(600_000);
  expect(await access.mayHost(ADA, ADDRESS)).toMatchObject({ outcome: "allowed" });
  expect(await access.timeLimitsOf(ADA)).toEqual({});
  const other = { ...ADA, id: "bob", signIn: "unknown here" };
  await expect(access.mayHost(other, ADDRESS)).rejects.toThrow(StoreAwayError);
  await expect(access.timeLimitsOf(other)).rejects.toThrow(StoreAwayError);
});

test("a store that has lost a sign-in ends no session", async () => {
  const { state, access } = createFixture();
  state.isLost = true;
  expect(await access.timeLimitsOf(ADA)).toBeUndefined();
  expect(await access.mayHost(ADA, ADDRESS)).toMatchObject({ outcome: "denied" });
});

test("new groups count after two seconds, and for limits of time after a minute", async () => {
  const { state, clock, access } = createFixture();
  expect(await access.mayHost(ADA, ADDRESS)).toMatchObject({ outcome: "allowed" });
  state.groups = ["interns"];
  clock.advance(2000);
  expect(await access.mayHost(ADA, ADDRESS)).toMatchObject({ outcome: "denied" });
  expect(await access.timeLimitsOf(ADA)).toEqual({ longestMs: 3_600_000 });
  state.groups = ["staff"];
  clock.advance(59_000);
  expect(await access.timeLimitsOf(ADA)).toEqual({ longestMs: 3_600_000 });
  clock.advance(1000);
  expect(await access.timeLimitsOf(ADA)).toEqual({});
});

test("somebody who signs in by name costs no look into the store, and no policy costs none", async () => {
  const { state, access } = createFixture();
  const named = { id: "n", name: "Somebody", authProvider: "Unverified" };
  expect(await access.mayHost(named, ADDRESS)).toMatchObject({ outcome: "denied" });
  const without = createAccess({
    policy: undefined,
    store: { findSignIns: () => Promise.reject(new Error("asked")) },
    clock: createStepClock(),
  });
  expect(await without.mayHost(ADA, ADDRESS)).toMatchObject({ outcome: "allowed" });
  expect(await without.timeLimitsOf(ADA)).toBeUndefined();
  expect(state.reads).toBe(0);
});

test("somebody who may not come in any more, or uses an old client, is told", async () => {
  const { access } = createFixture(`${POLICY}  - { name: new clients, clients: { case: "2" } }\n`);
  const entry = { user: ADA, address: ADDRESS, client: "case@1.0.0", host: ADA };
  expect(await access.entryProblem(entry)).toEqual({
    rule: "new clients",
    reason: expect.stringContaining("asks for version 2 or newer"),
  });
  expect(await access.entryProblem({ ...entry, client: "case@2.0" })).toBeUndefined();
  const named = { id: "n", name: "Somebody", authProvider: "Unverified" };
  expect(await access.entryProblem({ ...entry, user: named })).toMatchObject({
    reason: expect.stringContaining("You may not join"),
  });
});
