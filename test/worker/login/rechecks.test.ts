/** Sign-ins that are checked again by several workers, at a provider whose refresh tokens are good once. */
import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { identityProviders } from "../../../shared/settings/identity-providers.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import { findSignIns, readEnded, type SignIn, userKey } from "../../../shared/sign-ins/sign-in.ts";
import { createStoreState } from "../../../shared/store/embedded/state/state.ts";
import { type Store, StoreAwayError } from "../../../shared/store/store.ts";
import { userIdOf } from "../../../worker/login/identity/identity.ts";
import type { ProviderClient } from "../../../worker/login/identity/provider-client.ts";
import { ProviderError } from "../../../worker/login/identity/provider-error.ts";
import { type Rechecks, startRechecks } from "../../../worker/login/identity/rechecks.ts";
import {
  createSignInRecords,
  type SignInRecords,
} from "../../../worker/login/identity/sign-in-records.ts";
import { providerSettings } from "../../shared/settings/provider-settings.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const RECHECK_MS = 60_000;
const GRACE_MS = 300_000;
const ISSUER = "https://id.example.com";
const CLAIMS = { sub: "1", name: "Ada", groups: ["staff"] };
const USER = { id: userIdOf(ISSUER, "1"), name: "Ada" };

/** `groups`: one of which people must be in. */
function settings(groups: readonly string[]) {
  const [provider] = identityProviders(
    providerSettings({
      ...{ oidcIssuer: ISSUER, oidcClientId: "edge", oidcClientSecret: "secret" },
      ...{ oidcLabel: "Example ID", oidcScopes: ["openid"], oidcGroups: [...groups] },
    }),
  );
  if (provider === undefined || typeof provider === "string") throw new Error("no provider");
  return provider;
}

/** Gives a new refresh token for each one, and never accepts one twice. */
function strictProvider(groups: readonly string[]) {
  let last = 0;
  const valid = new Set<string>();
  const state = {
    claims: CLAIMS as Record<string, unknown>,
    isDown: false,
    /** Down after it has given a new token. */
    hasNoProfile: false,
    /** Called when a check has given a new token. */
    onIssued: () => {},
    /** It takes the refresh token, and its response is lost. */
    losesResponse: false,
    isWhole: true,
    checks: 0,
    /** Of tokens that were used before. */
    reuses: 0,
    issue(): string {
      const token = `refresh-${++last}`;
      valid.add(token);
      return token;
    },
  };
  const client: ProviderClient = {
    provider: settings(groups),
    begin: () => Promise.reject(new Error("not used")),
    finish: () => Promise.reject(new Error("not used")),
    readLogout: () => Promise.reject(new Error("not used")),
    async check(access, _subject, keep) {
      await turnOfTheLoop();
      if (state.isDown) throw new ProviderError("unreachable", "down", { isSilent: true });
      const token = "refreshToken" in access ? access.refreshToken : "";
      state.checks++;
      if (!valid.delete(token)) {
        state.reuses++;
        throw new ProviderError("denied", "the provider refused: invalid_grant");
      }
      const refreshToken = state.issue();
      state.onIssued();
      if (state.losesResponse)
        throw new ProviderError("unreachable", "no response", { isSilent: true, isLost: true });
      await keep({ refreshToken });
      const claims = state.hasNoProfile
        ? new ProviderError("unreachable", "no profile")
        : state.claims;
      return { issuer: ISSUER, claims, isWhole: state.isWhole };
    },
  };
  return { state, client };
}

function sharedEdge({ groups = ["staff"] }: { readonly groups?: readonly string[] } = {}) {
  const clock = createStepClock();
  const time = () => ({ nowMs: clock.nowMs(), wallMs: clock.wallMs() });
  let state = createStoreState(time());
  let isAway = false;
  let onClaimed: (count: number) => void = () => undefined;
  const provider = strictProvider(groups);
  const counters = createCounters();

  function call<Name extends keyof typeof state.operations>(name: Name): Store[Name] {
    const run = async (...args: unknown[]): Promise<unknown> => {
      await turnOfTheLoop();
      if (isAway) throw new StoreAwayError(name);
      const operation = state.operations[name] as (...all: unknown[]) => unknown;
      return structuredClone(operation(time(), ...args));
    };
    return run as Store[Name];
  }

  const store = {
    putSignIn: call("putSignIn"),
    findSignIns: call("findSignIns"),
    claimDueSignIns: call("claimDueSignIns"),
    deferred: {
      claimDueSignIns: async (limit: number, leaseMs: number) => {
        const claimed = await store.claimDueSignIns(limit, leaseMs);
        onClaimed(claimed.length);
        return claimed;
      },
    },
    endSignIn: call("endSignIn"),
    appendToStream: call("appendToStream"),
    readStream: call("readStream"),
    get: call("get"),
  };

  function worker(key = Buffer.alloc(32, "k")): { records: SignInRecords; rechecks: Rechecks } {
    const parts = { store, clock, keys: onlyKey(key), recheckMs: RECHECK_MS };
    const records = createSignInRecords({ ...parts, random: () => 0.5 });
    const rechecks = startRechecks({
      providers: [provider.client],
      records,
      store,
      settings: { recheckMs: RECHECK_MS, graceMs: GRACE_MS },
      random: seeded,
      clock,
      log: silentLog(),
      counters,
    });
    return { records, rechecks };
  }

  let seed = 7;
  function seeded(): number {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  }

  /** In steps, so that what is due runs at its time. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 5000) {
      clock.advance(Math.min(5000, left));
      for (let i = 0; i < 12; i++) await turnOfTheLoop();
    }
  }

  return {
    ...{ store, clock, counters, worker, pass },
    provider: provider.state,
    setAway(away: boolean): void {
      isAway = away;
    },
    /** `listener` is called with the number of sign-ins before the worker that claimed them has them. */
    onClaimed(listener: typeof onClaimed): void {
      onClaimed = listener;
    },
    flush(): void {
      state = createStoreState(time());
    },
    async signIn({ records }: { records: SignInRecords }): Promise<string> {
      const access = { refreshToken: provider.state.issue() };
      const signedIn = { issuer: ISSUER, claims: CLAIMS, access, providerSession: undefined };
      return records.begin("oidc", USER, { ...signedIn, subject: "1" });
    },
    async signIns(): Promise<readonly SignIn[]> {
      return findSignIns(store, [userKey(USER.id)]);
    },
    async ended() {
      return (await readEnded(store, undefined, 100)).ended;
    },
  };
}

test("a person who may still sign in is checked by one worker at a time, and stays", async () => {
  const edge = sharedEdge();
  const workers = [edge.worker(), edge.worker(), edge.worker()] as const;
  for (let i = 0; i < 20; i++) await edge.signIn(workers[0]);
  await edge.pass(10 * RECHECK_MS);
  expect(edge.provider.reuses).toBe(0);
  expect(edge.provider.checks).toBeGreaterThanOrEqual(20 * 8);
  expect(await edge.signIns()).toHaveLength(20);
  expect(await edge.ended()).toEqual([]);
});

test("a sign-in that was claimed while its worker stopped is checked by another one at once", async () => {
  const edge = sharedEdge();
  const stopping = edge.worker();
  await edge.signIn(stopping);
  edge.onClaimed((claimed) => {
    if (claimed > 0) stopping.rechecks.close();
  });
  await edge.pass(RECHECK_MS + 15_000);
  expect(edge.provider.checks).toBe(0);
  edge.worker();
  await edge.pass(10_000);
  expect(edge.provider.checks).toBe(1);
  expect(edge.provider.reuses).toBe(0);
});

describe("what the provider has told of a person is remembered", () => {
  const groupsIn = async (edge: ReturnType<typeof sharedEdge>) =>
    (await edge.signIns()).map(({ groups }) => groups);

  test("what the provider has told of a person is replaced by what it tells later, also when that is nothing", async () => {
    const edge = sharedEdge({ groups: [] });
    await edge.signIn(edge.worker());
    await edge.pass(2 * RECHECK_MS);
    expect(await groupsIn(edge)).toEqual([["staff"]]);
    edge.provider.claims = { ...CLAIMS, groups: ["leads", "staff"] };
    await edge.pass(2 * RECHECK_MS);
    expect(await groupsIn(edge)).toEqual([["leads", "staff"]]);
    const { groups: _, ...without } = CLAIMS;
    edge.provider.claims = without;
    edge.provider.isWhole = false;
    await edge.pass(2 * RECHECK_MS);
    expect(await groupsIn(edge)).toEqual([["leads", "staff"]]);
    edge.provider.isWhole = true;
    await edge.pass(2 * RECHECK_MS);
    expect(await groupsIn(edge)).toEqual([undefined]);
  });

  test("no more groups of a person are remembered than a record takes: then they are not known, and checks go on", async () => {
    const edge = sharedEdge({ groups: [] });
    await edge.signIn(edge.worker());
    const name = (index: number) => `CN=group-${index},OU=${"x".repeat(60)},DC=example,DC=com`;
    const groups = Array.from({ length: 2000 }, (_, index) => name(index));
    edge.provider.claims = { ...CLAIMS, groups };
    await edge.pass(2 * RECHECK_MS);
    expect(await groupsIn(edge)).toEqual([undefined]);
    const { checks } = edge.provider;
    await edge.pass(2 * RECHECK_MS);
    expect(edge.provider.checks).toBeGreaterThan(checks);
    edge.provider.claims = CLAIMS;
    await edge.pass(2 * RECHECK_MS);
    expect(await groupsIn(edge)).toEqual([["staff"]]);
  });
});

describe("a sign-in ends", () => {
  test("a sign-in ends when the provider refuses, and is not written again by a worker that knew it", async () => {
    const edge = sharedEdge();
    const [first, second] = [edge.worker(), edge.worker()];
    const id = await edge.signIn(first);
    await second.records.exists(id);
    edge.provider.claims = { ...CLAIMS, groups: [] };
    await edge.pass(2 * RECHECK_MS);
    expect(await edge.ended()).toMatchObject([{ id, cause: "not allowed" }]);
    expect(await edge.store.get("revoked", id)).toBe("");
    for (const { records } of [first, second]) {
      await records.reassert();
      expect(await records.exists(id)).toBe(false);
    }
    expect(await edge.signIns()).toEqual([]);
  });

  test("a sign-in ends when its provider has not responded for the grace, and not before", async () => {
    const edge = sharedEdge();
    await edge.signIn(edge.worker());
    edge.provider.isDown = true;
    await edge.pass(RECHECK_MS + GRACE_MS - 10_000);
    expect(await edge.ended()).toEqual([]);
    await edge.pass(RECHECK_MS + 15_000);
    expect(await edge.ended()).toMatchObject([{ cause: "unconfirmed" }]);
  });

  test("a sign-in does not end when the provider is back in time, also with a new refresh token for each failure", async () => {
    const edge = sharedEdge();
    await edge.signIn(edge.worker());
    for (let i = 0; i < 5; i++) {
      edge.provider.hasNoProfile = true;
      await edge.pass(3 * RECHECK_MS);
      edge.provider.hasNoProfile = false;
      await edge.pass(2 * RECHECK_MS);
    }
    expect(edge.provider.reuses).toBe(0);
    expect(await edge.ended()).toEqual([]);
  });

  test("a sign-in does not end because the edge was off for longer than the grace, and the provider is late too", async () => {
    const edge = sharedEdge();
    const before = edge.worker();
    for (let i = 0; i < 30; i++) await edge.signIn(before);
    before.rechecks.close();
    edge.clock.advance(10 * GRACE_MS);
    edge.provider.isDown = true;
    edge.worker();
    await edge.pass(60_000);
    edge.provider.isDown = false;
    await edge.pass(3 * RECHECK_MS);
    expect(await edge.ended()).toEqual([]);
    expect(await edge.signIns()).toHaveLength(30);
    expect(edge.provider.checks).toBeGreaterThanOrEqual(30);
  });

  test("a sign-in does not end when the provider took the refresh token without a response, before the grace is over", async () => {
    const edge = sharedEdge();
    await edge.signIn(edge.worker());
    edge.provider.losesResponse = true;
    await edge.pass(RECHECK_MS + 20_000);
    edge.provider.losesResponse = false;
    await edge.pass(GRACE_MS - 60_000);
    expect(edge.provider.reuses).toBeGreaterThan(0);
    expect(await edge.ended()).toEqual([]);
    await edge.pass(2 * RECHECK_MS + 60_000);
    expect(await edge.ended()).toMatchObject([{ cause: "unconfirmed" }]);
  });

  test("a sign-in does not end when groups are missing in a response without an ID token, but at once when they are in one", async () => {
    const edge = sharedEdge();
    await edge.signIn(edge.worker());
    edge.provider.claims = { sub: "1", name: "Ada" };
    edge.provider.isWhole = false;
    await edge.pass(3 * RECHECK_MS);
    expect(await edge.ended()).toEqual([]);
    edge.provider.isWhole = true;
    await edge.pass(2 * RECHECK_MS);
    expect(await edge.ended()).toMatchObject([{ cause: "not allowed" }]);
  });

  test("a sign-in ends when the profile is of somebody else for the grace", async () => {
    const edge = sharedEdge();
    await edge.signIn(edge.worker());
    edge.provider.claims = { ...CLAIMS, sub: "2" };
    await edge.pass(2 * RECHECK_MS + GRACE_MS + 15_000);
    expect(await edge.ended()).toMatchObject([{ cause: "unconfirmed" }]);
  });

  test("a sign-in ends when its secret is gone for the grace, but not while some workers still know it", async () => {
    const edge = sharedEdge();
    const old = edge.worker();
    await edge.signIn(old);
    edge.worker(Buffer.alloc(32, "another"));
    await edge.pass(3 * (RECHECK_MS + GRACE_MS));
    expect(await edge.ended()).toEqual([]);
    old.rechecks.close();
    // The other one may have failed already when the last one that knows it was closed.
    await edge.pass(GRACE_MS - 2 * RECHECK_MS);
    expect(await edge.ended()).toEqual([]);
    await edge.pass(4 * RECHECK_MS);
    expect(await edge.ended()).toMatchObject([{ cause: "unconfirmed" }]);
  });
});

test("a rotated refresh token is not lost with a store that is away when it arrives", async () => {
  const edge = sharedEdge();
  const workers = [edge.worker(), edge.worker()] as const;
  const id = await edge.signIn(workers[0]);
  for (let round = 0; round < 10; round++) {
    edge.provider.onIssued = () => edge.setAway(true);
    await edge.pass(RECHECK_MS + 20_000);
    edge.provider.onIssued = () => {};
    edge.setAway(false);
    // Or it is asked about first, when the store still has the former one.
    if (round % 2 === 0) for (const { records } of workers) await records.exists(id);
    await edge.pass(4 * RECHECK_MS);
  }
  expect(edge.provider.reuses).toBe(0);
  expect(edge.provider.checks).toBeGreaterThan(20);
  expect(await edge.signIns()).toHaveLength(1);
});

test("a flushed store gets the sign-ins back, the latest of those that workers know", async () => {
  const edge = sharedEdge();
  const workers = [edge.worker(), edge.worker()] as const;
  const id = await edge.signIn(workers[0]);
  for (let round = 0; round < 10; round++) {
    await edge.pass(2 * RECHECK_MS);
    // One of them has an old copy.
    await workers[round % 2]?.records.exists(id);
    edge.flush();
    for (const { records } of workers) await records.reassert();
    expect(await edge.signIns()).toHaveLength(1);
  }
  await edge.pass(2 * RECHECK_MS);
  expect(edge.provider.reuses).toBe(0);
});
