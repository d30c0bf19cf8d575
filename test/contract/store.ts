/**
 * What every store must do: one suite, run against each implementation of shared/store/store.ts.
 *
 * Time: a harness either steps the store's clock, waits, or moves the store's deadlines (Redis: every PTTL, and what its
 * scripts keep as times) back by `ms`. So the suite never expects `timeMs` to follow `advance`, never expects that little
 * time has passed, and lets members beat while time goes by when they are meant to live.
 */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Incarnation,
  newIncarnation,
  newPeerId,
  newSessionId,
  type PeerId,
  type SessionId,
  type SessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import { appendEvent, readEvents } from "../../shared/cluster/history.ts";
import type { BalancerRecord, MemberRecord, WorkerRecord } from "../../shared/store/member.ts";
import {
  type Change,
  type CreateSession,
  HOSTED_COUNTER,
  type Holder,
  MEMBER_LEASE_MS,
  type PeerRecord,
  type Reassertion,
  type ResumeOutcome,
  SETTLING_MS,
  type SessionChange,
  type SessionRecord,
  type Store,
  UNOPENED_SESSION_MS,
} from "../../shared/store/store.ts";
import {
  MAX_EVENTS,
  MAX_STREAM_TEXT_CHARS,
  STREAM_START,
  STREAMS,
} from "../../shared/store/streams.ts";

/** A store that is new, empty and booted (a missing member is believed to be gone). */
export interface StoreUnderTest {
  /** A client of the store, connected. Each call gives another one. The harness closes them all. */
  store(): Promise<Store>;
  /** Whether it can lose records while those who know them live on, as a flushed Redis does. */
  readonly mayForget: boolean;
  /** Lets at least `ms` of the store's time pass for everything that has a deadline or an age. */
  advance(ms: number): Promise<void>;
  close(): Promise<void>;
}

/** Longer than any test here, in store time. */
const LONG_MS = 3_600_000;

export function describeStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`the ${name} store`, () => {
    let edge: StoreUnderTest;
    let store: Store;

    beforeEach(async () => {
      edge = await open();
      store = await edge.store();
    });

    afterEach(async () => {
      await edge.close();
    });

    // --- what the tests are told with ---

    /** A worker that has announced itself. */
    async function join(id: string, incarnation = newIncarnation()): Promise<WorkerRecord> {
      const member = worker(id, incarnation);
      await store.announce(member);
      return member;
    }

    /** Time passes while `members` go on beating. */
    async function pass(ms: number, members: readonly MemberRecord[] = []): Promise<void> {
      for (let left = ms; left > 0; left -= 1000) {
        await edge.advance(Math.min(left, 1000));
        for (const member of members) expect(await store.renew(member)).toBe("renewed");
      }
    }

    async function create(
      owner: WorkerRecord,
      more: Partial<CreateSession> = {},
    ): Promise<SessionRecord> {
      const created = await store.createSession(newSession(owner, more));
      if (created.outcome !== "created") throw new Error(`not created: ${created.outcome}`);
      return created.record;
    }

    async function createOpen(
      owner: WorkerRecord,
      more: Partial<CreateSession> = {},
    ): Promise<SessionRecord> {
      const record = await create(owner, more);
      expect(await change(record, { kind: "open" })).toBe("done");
      return found(record.id);
    }

    async function found(key: SessionKey): Promise<SessionRecord> {
      const record = await store.findSession(key);
      if (record === undefined) throw new Error("no such session");
      return record;
    }

    /** By the holder that `record` names. */
    function change(record: SessionRecord, what: SessionChange) {
      return store.changeSession(holderOf(record), what);
    }

    async function close(record: SessionRecord, ms = LONG_MS) {
      return change(record, { kind: "close", untilMs: await later(ms) });
    }

    async function removePeer(record: SessionRecord, id: PeerId, ms = LONG_MS) {
      return change(record, { kind: "remove-peer", peer: id, untilMs: await later(ms) });
    }

    function resume(
      sessionId: SessionId,
      claimant: WorkerRecord,
      evidence?: "refused" | "exited",
    ): Promise<ResumeOutcome> {
      return store.resumeSession({
        sessionId,
        worker: claimant.id,
        incarnation: claimant.incarnation,
        ...(evidence !== undefined && { evidence }),
      });
    }

    /** Resumes and expects that it worked, with a higher epoch under the new owner. */
    async function takeOver(
      before: SessionRecord,
      claimant: WorkerRecord,
      evidence?: "refused" | "exited",
    ): Promise<{ cause: string; record: SessionRecord }> {
      const resumed = await resume(before.id, claimant, evidence);
      if (resumed.outcome !== "owned") throw new Error(`not owned: ${resumed.outcome}`);
      expect(resumed.record.epoch).toBeGreaterThan(before.epoch);
      expect(resumed.record).toMatchObject({
        id: before.id,
        owner: claimant.id,
        incarnation: claimant.incarnation,
      });
      expect(await found(before.id)).toEqual(resumed.record);
      return resumed;
    }

    async function later(ms: number): Promise<number> {
      return (await store.timeMs()) + ms;
    }

    describe("time and health", () => {
      it("the store returns its time in ms since the epoch, and is up", async () => {
        const timeMs = await store.timeMs();
        expect(timeMs).toBeGreaterThan(Date.UTC(2020, 0, 1));
        expect(Number.isInteger(timeMs)).toBe(true);
        expect(store.health).toEqual({ state: "up" });
      });

      it("the store rejects every operation as away after it was closed", async () => {
        const other = await edge.store();
        await other.close();
        await expect(other.timeMs()).rejects.toMatchObject({ code: "EDGE_STORE_AWAY" });
        await other.close();
      });
    });

    describe("membership", () => {
      it("the store lists announced members with their records", async () => {
        const one = await join("worker-1");
        const two = balancer("balancer-1");
        await store.announce(two);
        const { members, ignored, booted } = await (await edge.store()).members();
        expect([...members].sort(byId)).toEqual([two, one]);
        expect(ignored).toBe(0);
        expect(booted).toBe(true);
      });

      it("the store renews a lease together with the record", async () => {
        const member = await join("worker-1");
        const busy = { ...member, load: { sessions: 3, connections: 9, lagMs: 1.5 } };
        await pass(MEMBER_LEASE_MS - 1000, [busy]);
        await pass(MEMBER_LEASE_MS - 1000, [{ ...busy, state: "draining" }]);
        expect((await store.members()).members).toEqual([{ ...busy, state: "draining" }]);
      });

      it("the store expires a lease that is not renewed, and accepts the member when it announces itself again", async () => {
        const member = await join("worker-1");
        await edge.advance(MEMBER_LEASE_MS);
        expect((await store.members()).members).toEqual([]);
        expect(await store.renew(member)).toBe("expired");
        await store.announce(member);
        expect(await store.renew(member)).toBe("renewed");
        expect((await store.members()).members).toEqual([member]);
      });

      it("the store does not renew a member that was never announced", async () => {
        expect(await store.renew(worker("worker-1"))).toBe("expired");
        expect((await store.members()).members).toEqual([]);
      });

      it("the store replaces an incarnation by the next at once, and the old one learns it at its renewal", async () => {
        const old = await join("worker-1");
        const young = await join("worker-1");
        expect(await store.renew({ ...old, url: "http://127.0.0.1:9" })).toBe("replaced");
        expect((await store.members()).members).toEqual([young]);
        expect(await store.renew(young)).toBe("renewed");
      });

      it("the store removes a record at once, but only for the incarnation that holds it", async () => {
        const old = await join("worker-1");
        const young = await join("worker-1");
        await store.withdraw(old.id, old.incarnation);
        expect((await store.members()).members).toEqual([young]);
        await store.withdraw(young.id, young.incarnation);
        expect((await store.members()).members).toEqual([]);
        expect(await store.renew(young)).toBe("expired");
        await store.withdraw(young.id, young.incarnation);
      });
    });

    describe("deferred operations", () => {
      it("deferred operations do the same for a member that renews its lease, each with its own result", async () => {
        const member = await join("worker-1");
        expect(await store.renew(member)).toBe("renewed");
        await store.putTicket({
          ...{ kind: "command", token: "c", question: 1, group: member.id },
          ttlMs: LONG_MS,
        });
        const { deferred } = store;
        const results = Promise.all([
          deferred.timeMs(),
          deferred.members(),
          deferred.lead("reaper", member.id, 5000),
          deferred.sessionsOf(member.id),
          deferred.owners(),
          deferred.ticketsOf("command", member.id),
          deferred.claimDueSignIns(8, 1000),
          deferred.readCounters("none"),
          deferred.appendToStream("history-hour", ["one", "two"]),
          deferred.readStream("ended-sign-ins", { limit: 10 }),
          deferred.put({ kind: "view", key: member.id, text: "text", ttlMs: LONG_MS }),
          deferred.list("usage"),
        ]);
        expect(await store.renew(member)).toBe("renewed");
        const [timeMs, ...others] = await results;
        expect(Math.abs(timeMs - (await store.timeMs()))).toBeLessThan(60_000);
        const membership = { members: [member], ignored: 0, booted: true };
        const command = { state: "waiting", token: "c", question: 1 };
        const none = undefined;
        expect(others).toEqual([
          ...[membership, "leading", [], [], [command], [], {}, none, [], "", {}],
        ]);
        const written = await store.readStream("history-hour", { limit: 10 });
        expect(written.map(({ text }) => text)).toEqual(["one", "two"]);
        expect(await store.list("view")).toEqual({ [member.id]: "text" });
      });

      it("deferred operations need no lease", async () => {
        expect((await store.deferred.members()).members).toEqual([]);
      });

      it("deferred operations are sent without a further renewal when the process stops", async () => {
        const member = await join("worker-1");
        await store.renew(member);
        const asked = store.deferred.members();
        store.stopDeferring();
        expect((await asked).members).toEqual([member]);
        expect((await store.deferred.members()).members).toEqual([member]);
      });

      it("deferred operations reject as away when the store is closed", async () => {
        const other = await edge.store();
        const member = worker("worker-1");
        await other.announce(member);
        await other.renew(member);
        await other.close();
        await expect(other.deferred.members()).rejects.toMatchObject({ code: "EDGE_STORE_AWAY" });
      });
    });

    describe("roles", () => {
      const lead = (holder: string, by = store) => by.lead("reaper", holder as WorkerId, 5000);

      it("the store elects the first caller, for as long as it renews the role", async () => {
        await join("worker-1");
        expect(await lead("worker-1")).toBe("leading");
        expect(await lead("worker-2", await edge.store())).toBe("following");
        await edge.advance(3000);
        expect(await lead("worker-1")).toBe("leading");
        await edge.advance(3000);
        expect(await lead("worker-2")).toBe("following");
      });

      it("the store elects another member when the leader has not renewed the role in time", async () => {
        const member = await join("worker-1");
        expect(await lead("worker-1")).toBe("leading");
        await pass(5000, [member]);
        expect(await lead("worker-2")).toBe("leading");
        expect(await lead("worker-1")).toBe("following");
      });

      it("the store elects another member at once when the leader resigns, and only then", async () => {
        expect(await lead("worker-1")).toBe("leading");
        await store.lead("reaper", "worker-2" as WorkerId, 0);
        expect(await lead("worker-2")).toBe("following");
        await store.lead("reaper", "worker-1" as WorkerId, 0);
        expect(await lead("worker-2")).toBe("leading");
      });

      it("the store keeps roles independent of each other", async () => {
        expect(await lead("worker-1")).toBe("leading");
        expect(await store.lead("statsd", "worker-2" as WorkerId, 5000)).toBe("leading");
        await store.lead("statsd", "worker-2" as WorkerId, 0);
        expect(await lead("worker-2")).toBe("following");
      });

      it("the store elects one of many concurrent callers", async () => {
        const clients = await Promise.all([edge.store(), edge.store(), edge.store()]);
        const answers = await Promise.all(clients.map((client, i) => lead(`worker-${i}`, client)));
        expect(answers.filter((answer) => answer === "leading")).toHaveLength(1);
      });
    });

    describe("a store that was unavailable for all members", () => {
      /** Nobody could beat for a whole lease. */
      async function comeBack(): Promise<void> {
        await edge.advance(MEMBER_LEASE_MS);
        expect((await store.members()).booted).toBe(false);
      }

      it("a store that was unavailable for all members counts no member as gone before it has settled", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        await comeBack();
        const other = await join("worker-2");
        const elsewhere = { outcome: "elsewhere", owner: "worker-1", epoch: record.epoch };
        expect(await resume(record.id, other)).toEqual(elsewhere);
        await pass(SETTLING_MS - 1000, [other]);
        expect(await resume(record.id, other)).toEqual(elsewhere);
        await pass(1000, [other]);
        expect((await store.members()).booted).toBe(true);
        expect((await takeOver(record, other)).cause).toBe("lease-gone");
      });

      it("a store that was unavailable for all members reports missing sessions as unsettled, creates new ones, and elects no leader", async () => {
        const owner = await join("worker-1");
        await comeBack();
        const outcome = edge.mayForget ? "unsettled" : "unknown";
        expect(await resume(newSessionId(), owner)).toEqual({ outcome });
        expect(await store.lead("reaper", owner.id, 5000)).toBe("following");
        await store.announce(owner);
        const record = await createOpen(owner);
        expect(await resume(record.id, owner)).toMatchObject({ outcome: "owned", cause: "mine" });
        await pass(SETTLING_MS, [owner]);
        expect(await resume(newSessionId(), owner)).toEqual({ outcome: "unknown" });
        expect(await store.lead("reaper", owner.id, 5000)).toBe("leading");
      });

      it("a store that was unavailable for all members settles once, not repeatedly, and not while a member sends heartbeats", async () => {
        await join("worker-1");
        await comeBack();
        const other = await join("worker-2");
        await pass(SETTLING_MS, [other]);
        expect((await store.members()).booted).toBe(true);
        await pass(MEMBER_LEASE_MS, [other]);
        expect((await store.members()).booted).toBe(true);
      });
    });

    describe("re-asserting sessions", () => {
      function reassertionOf(record: SessionRecord, more: Partial<Reassertion> = {}): Reassertion {
        const { peers: _peers, successor: _successor, state, ...rest } = record;
        return {
          ...rest,
          state: state === "created" ? "created" : "open",
          untilMs: record.createdMs + LONG_MS,
          ...more,
        };
      }

      /** A record that no store knows. */
      function lostRecord(owner: WorkerRecord, more: Partial<SessionRecord> = {}): SessionRecord {
        return {
          id: newSessionId(),
          owner: owner.id,
          incarnation: owner.incarnation,
          epoch: 1_700_000_000_000,
          state: "open",
          userId: "user-1",
          clock: 3,
          peers: [],
          revokedTokens: [],
          createdMs: 1_700_000_000_000,
          ...more,
        };
      }

      it("re-asserting a session restores what the store had lost: record, alias, clock, epoch, revoked tokens, then peers", async () => {
        const owner = await join("worker-1");
        const told = lostRecord(owner, {
          alias: "team-a" as SessionKey,
          revokedTokens: ["t-1", "t-2"],
        });
        const untilMs = await later(LONG_MS);
        expect(await store.reassertSession(reassertionOf(told, { untilMs }))).toBe("written");
        const someone = peer({ host: true });
        expect(await change(told, { kind: "put-peer", peer: someone })).toBe("done");
        expect(await found(told.id)).toEqual({ ...told, peers: [someone] });
        expect((await found("team-a" as SessionKey)).id).toBe(told.id);
        expect(await store.sessionsOf(owner.id)).toEqual([told.id]);
        expect(await store.owners()).toEqual([owner.id]);
        expect(await change(told, { kind: "next-clock" })).toBe(4);
        // It counts for the user, and lives as long as any other.
        const user = { userId: "user-1", maxPerUser: 1 };
        expect(await store.createSession(newSession(owner, user))).toEqual({ outcome: "quota" });
        await pass(UNOPENED_SESSION_MS, [owner]);
        const { record } = await takeOver(told, await join("worker-2"), "exited");
        expect(record.peers).toEqual([someone]);
        expect(record.epoch).toBeGreaterThan(told.epoch);
      });

      it("re-asserting a session keeps a record that equals the owner's copy", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        await change(record, { kind: "put-peer", peer: peer() });
        const before = await found(record.id);
        expect(await store.reassertSession(reassertionOf(record))).toBe("kept");
        expect(await found(record.id)).toEqual(before);
      });

      it("re-asserting a session replaces an old copy and its peers", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        await change(record, { kind: "put-peer", peer: peer() });
        const other = await join("worker-2");
        const newer = {
          ...record,
          owner: other.id,
          incarnation: other.incarnation,
          epoch: record.epoch + 9,
        };
        expect(await store.reassertSession(reassertionOf(newer))).toBe("written");
        expect(await found(record.id)).toEqual({ ...newer, peers: [] });
        expect(await store.sessionsOf(owner.id)).toEqual([]);
        expect(await store.sessionsOf(other.id)).toEqual([record.id]);
      });

      it("re-asserting a session reports it as lost to an owner when it was taken over or closed", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        const other = await join("worker-2");
        const { record: taken } = await takeOver(record, other, "exited");
        expect(await store.reassertSession(reassertionOf(record))).toBe("lost");
        expect(await found(record.id)).toEqual(taken);
        await close(taken);
        expect(await store.reassertSession(reassertionOf(taken))).toBe("lost");
        expect((await found(record.id)).state).toBe("closed");
      });

      it("re-asserting a session ignores a process whose incarnation was replaced", async () => {
        const old = await join("worker-1");
        await join("worker-1");
        const told = lostRecord(old);
        expect(await store.reassertSession(reassertionOf(told))).toBe("lost");
        expect(await store.findSession(told.id)).toBeUndefined();
      });

      it("re-asserting a session restores the tombstone of a closed one until its expiry, and against a lower epoch", async () => {
        const owner = await join("worker-1");
        const told = lostRecord(owner, { alias: "team-a" as SessionKey });
        const untilMs = await later(4000);
        const tombstone = reassertionOf(told, { state: "closed", untilMs });
        expect(await store.reassertSession(tombstone)).toBe("written");
        expect(await store.reassertSession(tombstone)).toBe("kept");
        expect(await resume(told.id, owner)).toEqual({ outcome: "closed" });
        expect(await store.sessionsOf(owner.id)).toEqual([]);
        const older = reassertionOf({ ...told, epoch: told.epoch - 1 });
        expect(await store.reassertSession(older)).toBe("lost");
        await edge.advance(4000);
        expect(await store.findSession(told.id)).toBeUndefined();
      });

      it("re-asserting a session leaves an alias with the open session that has it by now", async () => {
        const owner = await join("worker-1");
        const alias = "team-a" as SessionKey;
        const has = await createOpen(owner, { alias });
        const told = lostRecord(owner, { alias });
        expect(await store.reassertSession(reassertionOf(told))).toBe("written");
        expect((await found(alias)).id).toBe(has.id);
        expect(await found(told.id)).not.toHaveProperty("alias");
      });

      it("a re-asserted session that was not opened still waits for its host", async () => {
        const owner = await join("worker-1");
        const told = lostRecord(owner, { state: "created", createdMs: await store.timeMs() });
        expect(await store.reassertSession(reassertionOf(told))).toBe("written");
        expect((await found(told.id)).state).toBe("created");
        await edge.advance(UNOPENED_SESSION_MS);
        expect(await store.findSession(told.id)).toBeUndefined();
        expect(await store.owners()).toEqual([]);
      });
    });

    describe("creating sessions", () => {
      it("the store creates a session for its owner", async () => {
        const owner = await join("worker-1");
        const beforeMs = await store.timeMs();
        const record = await create(owner, { userId: "user-1" });
        expect(record).toEqual({
          id: record.id,
          owner: "worker-1",
          incarnation: owner.incarnation,
          epoch: record.epoch,
          state: "created",
          userId: "user-1",
          clock: 0,
          peers: [],
          revokedTokens: [],
          createdMs: record.createdMs,
        });
        expect(record.epoch).toBeGreaterThanOrEqual(beforeMs);
        expect(record.createdMs).toBeGreaterThanOrEqual(beforeMs);
        expect(await (await edge.store()).findSession(record.id)).toEqual(record);
      });

      it("the store refuses a session whose id is in use, and changes nothing", async () => {
        const owner = await join("worker-1");
        const record = await create(owner);
        const again = newSession(worker("worker-2"), { sessionId: record.id, userId: "other" });
        expect(await store.createSession(again)).toEqual({ outcome: "exists" });
        expect(await found(record.id)).toEqual(record);
      });

      it("the store finds a session by its alias, whatever bytes that has", async () => {
        const owner = await join("worker-1");
        for (const alias of ["team a/ü\u0000\u00ff\"'\\%\r\n{}:*", "x".repeat(8192)]) {
          const record = await create(owner, { alias: alias as SessionKey });
          expect(record.alias).toBe(alias);
          expect(await store.findSession(alias as SessionKey)).toEqual(record);
        }
      });

      it("the store writes an alias once: another session cannot have it while the first is not closed", async () => {
        const owner = await join("worker-1");
        const alias = "team-a" as SessionKey;
        const first = await create(owner, { alias });
        const second = newSession(owner, { alias });
        expect(await store.createSession(second)).toEqual({ outcome: "exists" });
        expect(await store.findSession(second.sessionId)).toBeUndefined();
        expect((await found(alias)).id).toBe(first.id);

        await close(first, 4000);
        expect((await found(alias)).state).toBe("closed");
        const third = await createOpen(owner, { alias });
        expect((await found(alias)).id).toBe(third.id);
        expect((await found(first.id)).state).toBe("closed");
        // The alias does not go with the tombstone of the one who had it before.
        await edge.advance(4000);
        expect(await store.findSession(first.id)).toBeUndefined();
        expect((await found(alias)).id).toBe(third.id);
      });

      it("the store refuses an alias that is another session's id", async () => {
        const owner = await join("worker-1");
        const first = await create(owner);
        const second = newSession(owner, { alias: first.id });
        expect(await store.createSession(second)).toEqual({ outcome: "exists" });
      });

      it("the store gives an alias to one of many concurrent callers", async () => {
        const owner = await join("worker-1");
        const clients = await Promise.all([edge.store(), edge.store(), edge.store()]);
        const alias = "race" as SessionKey;
        const outcomes = await Promise.all(
          clients.map((client) => client.createSession(newSession(owner, { alias }))),
        );
        expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual([
          "created",
          "exists",
          "exists",
        ]);
      });

      it("the store refuses a user at the session quota, until one is closed", async () => {
        const owner = await join("worker-1");
        const user = { userId: "busy", maxPerUser: 2 };
        const first = await create(owner, user);
        await createOpen(owner, user);
        expect(await store.createSession(newSession(owner, user))).toEqual({ outcome: "quota" });
        await create(owner, { userId: "idle", maxPerUser: 1 });

        await close(first);
        await create(owner, user);
        expect(await store.createSession(newSession(owner, user))).toEqual({ outcome: "quota" });
      });

      it("the store drops a session whose host never connected, with its alias and its place in the quota", async () => {
        const owner = await join("worker-1");
        const user = { userId: "busy", maxPerUser: 1 };
        const alias = "team-a" as SessionKey;
        const record = await create(owner, { ...user, alias });
        await pass(UNOPENED_SESSION_MS, [owner]);
        expect(await store.findSession(record.id)).toBeUndefined();
        expect(await store.findSession(alias)).toBeUndefined();
        expect(await store.sessionsOf(owner.id)).toEqual([]);
        expect(await change(record, { kind: "open" })).toBe("lost");
        expect(await resume(record.id, owner)).toEqual({ outcome: "unknown" });
        await create(owner, { ...user, alias });
      });

      it("the store keeps a session whose host connected without a time limit", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        expect(record.state).toBe("open");
        await edge.advance(UNOPENED_SESSION_MS);
        expect(await change(record, { kind: "open" })).toBe("done");
        expect(await found(record.id)).toEqual(record);
      });

      it("the store keeps a session locked until it is unlocked, also under its next owner and after the store has lost it", async () => {
        const [one, two] = [await join("worker-1"), await join("worker-2")];
        const record = await createOpen(one);
        expect(record).not.toHaveProperty("locked");
        expect(await change(record, { kind: "lock", isLocked: true })).toBe("done");
        expect(await change(record, { kind: "lock", isLocked: true })).toBe("done");
        expect((await found(record.id)).locked).toBe(true);
        await change(record, { kind: "release", to: two.id });
        const taken = await takeOver(await found(record.id), two);
        expect(taken.record.locked).toBe(true);
        expect(await change(taken.record, { kind: "lock", isLocked: false })).toBe("done");
        expect(await found(record.id)).not.toHaveProperty("locked");
      });

      it("the store lists the sessions of an owner, without closed ones", async () => {
        const one = await join("worker-1");
        const two = await join("worker-2");
        const open = await createOpen(one);
        const created = await create(one);
        const released = await createOpen(one);
        await change(released, { kind: "release", to: two.id });
        const closed = await createOpen(one);
        await close(closed);
        const others = await createOpen(two);
        expect([...(await store.sessionsOf(one.id))].sort()).toEqual(
          [open.id, created.id, released.id].sort(),
        );
        expect(await store.sessionsOf(two.id)).toEqual([others.id]);
        expect(await store.sessionsOf("worker-3" as WorkerId)).toEqual([]);

        await takeOver(released, two);
        expect(await store.sessionsOf(one.id)).not.toContain(released.id);
        expect(await store.sessionsOf(two.id)).toContain(released.id);
      });

      it("the store lists owners while they own a session, also without a lease", async () => {
        const one = await join("worker-1");
        const two = await join("worker-2");
        await join("worker-3");
        expect(await store.owners()).toEqual([]);
        const record = await createOpen(one);
        await createOpen(one);
        const others = await createOpen(two);
        expect([...(await store.owners())].sort()).toEqual(["worker-1", "worker-2"]);

        await pass(MEMBER_LEASE_MS, [two]);
        expect([...(await store.owners())].sort()).toEqual(["worker-1", "worker-2"]);
        for (const id of await store.sessionsOf(one.id)) await takeOver(await found(id), two);
        expect(await store.owners()).toEqual(["worker-2"]);
        await close(await found(record.id));
        await close(others);
        expect(await store.owners()).toEqual(["worker-2"]);
        for (const id of await store.sessionsOf(two.id)) {
          await close(await found(id));
        }
        expect(await store.owners()).toEqual([]);
      });

      it("the store does not list an owner whose only session was not opened in time", async () => {
        await create(await join("worker-1"));
        expect(await store.owners()).toEqual(["worker-1"]);
        await edge.advance(UNOPENED_SESSION_MS);
        expect(await store.owners()).toEqual([]);
      });
    });

    describe("resuming sessions", () => {
      it("the store reports a session that was never created as unknown, and does not create it", async () => {
        const owner = await join("worker-1");
        const id = newSessionId();
        expect(await resume(id, owner)).toEqual({ outcome: "unknown" });
        expect(await store.findSession(id)).toBeUndefined();
        expect(await store.sessionsOf(owner.id)).toEqual([]);
      });

      it("the store lets the owner resume its session under the same epoch", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        expect(await resume(record.id, owner)).toEqual({ outcome: "owned", cause: "mine", record });
        expect(await found(record.id)).toEqual(record);
      });

      it("the store lets a restarted worker resume its sessions under a higher epoch", async () => {
        const record = await createOpen(await join("worker-1"));
        const restarted = await join("worker-1");
        expect((await takeOver(record, restarted)).cause).toBe("restarted");
      });

      it("the store does not let a replaced process regain its session", async () => {
        const old = await join("worker-1");
        const record = await createOpen(old);
        const young = await join("worker-1");
        const { record: resumed } = await takeOver(record, young);
        expect(await resume(record.id, old)).toEqual({
          outcome: "elsewhere",
          owner: "worker-1",
          epoch: resumed.epoch,
        });
      });

      it("the store returns the owner to a worker that has no reason to take over", async () => {
        const owner = await join("worker-1");
        const other = await join("worker-2");
        const record = await createOpen(owner);
        expect(await resume(record.id, other)).toEqual({
          outcome: "elsewhere",
          owner: "worker-1",
          epoch: record.epoch,
        });
        expect(await found(record.id)).toEqual(record);
      });

      it("the store lets any worker take over when the owner's lease has expired", async () => {
        const owner = await join("worker-1");
        const other = await join("worker-2");
        const record = await createOpen(owner);
        await pass(MEMBER_LEASE_MS, [other]);
        expect((await takeOver(record, other)).cause).toBe("lease-gone");
      });

      it("the store lets any worker take over when the owner has withdrawn its record", async () => {
        const owner = await join("worker-1");
        const other = await join("worker-2");
        const record = await createOpen(owner);
        await store.withdraw(owner.id, owner.incarnation);
        expect((await takeOver(record, other)).cause).toBe("lease-gone");
      });

      it("the store lets any worker take over when the owner has another incarnation", async () => {
        const record = await createOpen(await join("worker-1"));
        await join("worker-1");
        const other = await join("worker-2");
        expect((await takeOver(record, other)).cause).toBe("replaced");
      });

      it("the store lets a claimant take over with the evidence that the owner's process exited", async () => {
        const record = await createOpen(await join("worker-1"));
        const other = await join("worker-2");
        expect((await takeOver(record, other, "exited")).cause).toBe("exited");
      });

      it("the store ignores evidence about a former incarnation of the owner", async () => {
        const old = await join("worker-1");
        const young = await join("worker-1");
        const record = await createOpen(young);
        const other = await join("worker-2");
        const claim = { sessionId: record.id, worker: other.id, incarnation: other.incarnation };
        const late = { ...claim, evidence: "exited" as const, evidenceOf: old.incarnation };
        expect(await store.resumeSession(late)).toMatchObject({ outcome: "elsewhere" });
        expect(await store.resumeSession({ ...late, evidenceOf: young.incarnation })).toMatchObject(
          { outcome: "owned", cause: "exited" },
        );
      });

      it("the store accepts a refused connection as evidence only when the owner's last heartbeat is old", async () => {
        const owner = await join("worker-1");
        const other = await join("worker-2");
        const record = await createOpen(owner);
        const elsewhere = { outcome: "elsewhere", owner: "worker-1", epoch: record.epoch };
        expect(await resume(record.id, other, "refused")).toEqual(elsewhere);

        await edge.advance(2500);
        expect(await store.renew(owner)).toBe("renewed");
        expect(await resume(record.id, other, "refused")).toEqual(elsewhere);

        await edge.advance(2500);
        expect((await takeOver(record, other, "refused")).cause).toBe("refused");
      });

      it("the store gives a released session to its successor, and returns the successor to all others", async () => {
        const [owner, successor, other] = [
          await join("worker-1"),
          await join("worker-2"),
          await join("worker-3"),
        ];
        const record = await createOpen(owner);
        expect(await change(record, { kind: "release", to: successor.id })).toBe("done");
        expect(await found(record.id)).toEqual({
          ...record,
          state: "released",
          successor: "worker-2",
        });
        const elsewhere = { outcome: "elsewhere", owner: "worker-2", epoch: record.epoch };
        expect(await resume(record.id, other)).toEqual(elsewhere);
        expect(await resume(record.id, owner)).toEqual(elsewhere);
        const handed = await takeOver(record, successor);
        expect(handed.cause).toBe("handed");
        expect(handed.record).toMatchObject({ state: "open" });
        expect(handed.record).not.toHaveProperty("successor");
        expect(await resume(record.id, owner)).toMatchObject({ outcome: "elsewhere" });
      });

      it("the store gives a session that was released without a successor to the first claimant", async () => {
        const owner = await join("worker-1");
        const other = await join("worker-2");
        const record = await createOpen(owner);
        expect(await change(record, { kind: "release" })).toBe("done");
        expect(await found(record.id)).toEqual({ ...record, state: "released" });
        const { cause, record: taken } = await takeOver(record, other);
        expect(cause).toBe("handed");
        expect(await resume(record.id, owner)).toMatchObject({
          outcome: "elsewhere",
          owner: "worker-2",
          epoch: taken.epoch,
        });
      });

      it("the store gives a session that was released without a successor back to its owner under a higher epoch", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        await change(record, { kind: "release" });
        expect((await takeOver(record, owner)).cause).toBe("handed");
      });

      it("the store lets any worker take over a released session whose successor is gone", async () => {
        const owner = await join("worker-1");
        const successor = await join("worker-2");
        const other = await join("worker-3");
        const record = await createOpen(owner);
        await change(record, { kind: "release", to: successor.id });
        await pass(MEMBER_LEASE_MS, [owner, other]);
        expect((await takeOver(record, other)).cause).toBe("lease-gone");
      });

      it("the store keeps a released session for its successor when the former owner is gone", async () => {
        const owner = await join("worker-1");
        const successor = await join("worker-2");
        const other = await join("worker-3");
        const record = await createOpen(owner);
        await change(record, { kind: "release", to: successor.id });
        await store.withdraw(owner.id, owner.incarnation);
        expect(await resume(record.id, other)).toMatchObject({
          outcome: "elsewhere",
          owner: "worker-2",
        });
        expect((await takeOver(record, successor)).cause).toBe("handed");
      });

      it("the store lets no worker resume a closed session", async () => {
        const owner = await join("worker-1");
        const record = await createOpen(owner);
        await close(record);
        expect(await resume(record.id, owner)).toEqual({ outcome: "closed" });
        expect(await resume(record.id, await join("worker-1"))).toEqual({ outcome: "closed" });
        expect(await resume(record.id, await join("worker-2"), "exited")).toEqual({
          outcome: "closed",
        });
      });

      it("a session that was taken over before its host connected still waits for the host", async () => {
        const record = await create(await join("worker-1"));
        const restarted = await join("worker-1");
        const { record: resumed } = await takeOver(record, restarted);
        expect(resumed.state).toBe("created");
        await change(resumed, { kind: "release" });
        const { record: handed } = await takeOver(resumed, restarted);
        expect(handed.state).toBe("created");
        await edge.advance(UNOPENED_SESSION_MS);
        expect(await store.findSession(record.id)).toBeUndefined();
      });

      it("the store raises the epoch with every change of owner, and keeps peers, clock and revoked tokens", async () => {
        let owner = await join("worker-1");
        let record = await createOpen(owner, { alias: "team-a" as SessionKey });
        const [stays, leaves] = [peer({ host: true }), peer()];
        await change(record, { kind: "put-peer", peer: stays });
        await change(record, { kind: "put-peer", peer: leaves });
        await removePeer(record, leaves.id);
        await change(record, { kind: "next-clock" });
        for (let i = 0; i < 5; i++) {
          owner = await join(`worker-${2 - (i % 2)}`);
          ({ record } = await takeOver(record, owner, "exited"));
        }
        expect(record).toMatchObject({
          state: "open",
          peers: [stays],
          revokedTokens: [leaves.tokenId],
          clock: 1,
          alias: "team-a",
        });
        expect(await change(record, { kind: "next-clock" })).toBe(2);
      });

      it("the store gives a session to one of many concurrent claimants", async () => {
        const record = await createOpen(await join("worker-0"));
        const claimants = await Promise.all(
          ["worker-1", "worker-2", "worker-3"].map((id) => join(id)),
        );
        const clients = await Promise.all(claimants.map(() => edge.store()));
        await store.withdraw(record.owner, record.incarnation);
        const outcomes = await Promise.all(
          clients.map((client, i) => {
            const { id, incarnation } = claimants[i] ?? worker("nobody");
            return client.resumeSession({ sessionId: record.id, worker: id, incarnation });
          }),
        );
        const owned = outcomes.filter(({ outcome }) => outcome === "owned");
        expect(owned).toHaveLength(1);
        const { owner } = await found(record.id);
        for (const outcome of outcomes) {
          if (outcome.outcome === "elsewhere") expect(outcome.owner).toBe(owner);
        }
      });
    });

    describe("holding sessions", () => {
      const someone = peer();
      const operations: Record<string, (record: SessionRecord) => Promise<unknown>> = {
        releaseSession: (record) => change(record, { kind: "release" }),
        closeSession: (record) => close(record),
        openSession: (record) => change(record, { kind: "open" }),
        lockSession: (record) => change(record, { kind: "lock", isLocked: true }),
        putPeer: (record) => change(record, { kind: "put-peer", peer: someone }),
        removePeer: (record) => removePeer(record, someone.id),
        nextClock: (record) => change(record, { kind: "next-clock" }),
      };

      for (const [operation, run] of Object.entries(operations)) {
        it(`${operation} changes nothing for a worker that is not the holder`, async () => {
          const record = await createOpen(await join("worker-1"));
          expect(await run({ ...record, owner: "worker-2" as WorkerId })).toBe("lost");
          expect(await run({ ...record, epoch: record.epoch - 1 })).toBe("lost");
          expect(await run({ ...record, epoch: record.epoch + 1 })).toBe("lost");
          expect(await run({ ...record, id: newSessionId() })).toBe("lost");
          expect(await found(record.id)).toEqual(record);
        });

        it(`${operation} changes nothing for an owner whose session was taken over`, async () => {
          const record = await createOpen(await join("worker-1"));
          const { record: taken } = await takeOver(record, await join("worker-2"), "exited");
          expect(await run(record)).toBe("lost");
          expect(await found(record.id)).toEqual(taken);
        });

        it(`${operation} changes nothing in a closed session`, async () => {
          const record = await createOpen(await join("worker-1"));
          await close(record);
          const closed = await found(record.id);
          expect(await run(record)).toBe("lost");
          expect(await found(record.id)).toEqual(closed);
        });
      }

      it("the holder of a session adds and replaces peers, in the order of joining", async () => {
        const record = await createOpen(await join("worker-1"));
        const host = peer({ host: true, settled: true });
        const guest = peer({
          user: { id: "u", name: "Ünï \u{1f600} \"'\\", email: "u@example.com", authProvider: "x" },
          compression: ["none", "gzip"],
        });
        expect(await change(record, { kind: "put-peer", peer: host })).toBe("done");
        expect(await change(record, { kind: "put-peer", peer: guest })).toBe("done");
        expect(
          await change(record, {
            kind: "put-peer",
            peer: { ...host, client: "other" },
          }),
        ).toBe("done");
        expect((await found(record.id)).peers).toEqual([{ ...host, client: "other" }, guest]);
      });

      it("the holder of a session revokes the token of a peer who leaves, until it expires", async () => {
        const record = await createOpen(await join("worker-1"));
        const [first, second] = [peer(), peer()];
        await change(record, { kind: "put-peer", peer: first });
        await change(record, { kind: "put-peer", peer: second });
        expect(await removePeer(record, first.id, 4000)).toBe("done");
        expect(await removePeer(record, second.id)).toBe("done");
        const { peers, revokedTokens } = await found(record.id);
        expect(peers).toEqual([]);
        expect([...revokedTokens].sort()).toEqual([first.tokenId, second.tokenId].sort());
        await edge.advance(4000);
        expect((await found(record.id)).revokedTokens).toEqual([second.tokenId]);
      });

      it("the holder of a session removes a missing peer without revoking a token", async () => {
        const record = await createOpen(await join("worker-1"));
        expect(await removePeer(record, newPeerId())).toBe("done");
        expect(await found(record.id)).toEqual(record);
      });

      it("the holder of a session counts its clock from 1", async () => {
        const record = await createOpen(await join("worker-1"));
        const other = await edge.store();
        expect(await change(record, { kind: "next-clock" })).toBe(1);
        expect(await other.changeSession(holderOf(record), { kind: "next-clock" })).toBe(2);
        expect((await found(record.id)).clock).toBe(2);
      });

      it("the store records changes by the former owner of a released session until it is resumed", async () => {
        const record = await create(await join("worker-1"));
        const successor = await join("worker-2");
        await change(record, { kind: "release", to: successor.id });
        const guest = peer();
        expect(await change(record, { kind: "put-peer", peer: guest })).toBe("done");
        expect(await change(record, { kind: "next-clock" })).toBe(1);
        expect(await change(record, { kind: "open" })).toBe("done");
        expect(await found(record.id)).toMatchObject({ state: "released", successor: "worker-2" });
        const { record: taken } = await takeOver(record, successor);
        expect(taken).toMatchObject({ state: "open", peers: [guest], clock: 1 });
      });

      it("a released session may be released again to another worker", async () => {
        const record = await createOpen(await join("worker-1"));
        await change(record, {
          kind: "release",
          to: "worker-2" as WorkerId,
        });
        expect(await change(record, { kind: "release" })).toBe("done");
        expect(await found(record.id)).toEqual({ ...record, state: "released" });
      });

      it("a closed session leaves a tombstone until it expires", async () => {
        const owner = await join("worker-1");
        const alias = "team-a" as SessionKey;
        const record = await createOpen(owner, { alias });
        await change(record, { kind: "put-peer", peer: peer() });
        expect(await close(record, 4000)).toBe("done");
        expect(await found(record.id)).toEqual({ ...record, state: "closed" });
        expect(await store.createSession(newSession(owner, { sessionId: record.id }))).toEqual({
          outcome: "exists",
        });
        await edge.advance(4000);
        expect(await store.findSession(record.id)).toBeUndefined();
        expect(await store.findSession(alias)).toBeUndefined();
        expect(await resume(record.id, owner)).toEqual({ outcome: "unknown" });
      });

      it("the store lets the former owner close a released session", async () => {
        const record = await createOpen(await join("worker-1"));
        const successor = await join("worker-2");
        await change(record, { kind: "release", to: successor.id });
        expect(await close(record)).toBe("done");
        expect(await resume(record.id, successor)).toEqual({ outcome: "closed" });
      });
    });

    describe("tickets", () => {
      const question = { who: "guest", nested: [1, null, { "ü/é": true }] };

      it("a ticket keeps a question until it is answered, and the answer until it is dropped", async () => {
        const other = await edge.store();
        await store.putTicket({ kind: "login", token: "t-1", question, ttlMs: LONG_MS });
        expect(await other.readTicket("login", "t-1")).toEqual({
          state: "waiting",
          token: "t-1",
          question,
        });
        expect(await other.answerTicket("login", "t-1", { ok: true })).toBe("done");
        const answered = { state: "answered", token: "t-1", question, answer: { ok: true } };
        expect(await store.readTicket("login", "t-1")).toEqual(answered);
        expect(await store.readTicket("login", "t-1")).toEqual(answered);
        await other.dropTicket("login", "t-1");
        expect(await store.readTicket("login", "t-1")).toBeUndefined();
        await other.dropTicket("login", "t-1");
      });

      it("a ticket accepts any JSON value as question and answer", async () => {
        for (const [i, value] of [null, false, 0, "", [], {}, "ü\u0000\n"].entries()) {
          const token = `t-${i}`;
          await store.putTicket({ kind: "join", token, question: value, ttlMs: LONG_MS });
          expect(await store.answerTicket("join", token, value)).toBe("done");
          expect(await store.readTicket("join", token)).toEqual({
            state: "answered",
            token,
            question: value,
            answer: value,
          });
        }
      });

      it("a ticket keeps the first answer", async () => {
        await store.putTicket({ kind: "join", token: "t-1", question, ttlMs: LONG_MS });
        const clients = await Promise.all([edge.store(), edge.store(), edge.store()]);
        const outcomes = await Promise.all(
          clients.map((client, i) => client.answerTicket("join", "t-1", i)),
        );
        expect([...outcomes].sort()).toEqual(["answered", "answered", "done"]);
        expect(await store.readTicket("join", "t-1")).toMatchObject({
          answer: outcomes.indexOf("done"),
        });
      });

      it("the store keeps tickets of different kinds apart", async () => {
        await store.putTicket({ kind: "login", token: "t-1", question: 1, ttlMs: LONG_MS });
        expect(await store.readTicket("join", "t-1")).toBeUndefined();
        expect(await store.answerTicket("join", "t-1", 2)).toBe("gone");
        await store.dropTicket("join", "t-1");
        expect(await store.readTicket("login", "t-1")).toMatchObject({ question: 1 });
      });

      it("the store drops an expired ticket, answered or not", async () => {
        for (const token of ["t-1", "t-2"]) {
          await store.putTicket({ kind: "join", token, question, group: "g", ttlMs: 4000 });
        }
        await store.answerTicket("join", "t-2", true);
        await edge.advance(4000);
        expect(await store.readTicket("join", "t-1")).toBeUndefined();
        expect(await store.readTicket("join", "t-2")).toBeUndefined();
        expect(await store.answerTicket("join", "t-1", true)).toBe("gone");
        expect(await store.ticketsOf("join", "g")).toEqual([]);
      });

      it("the store does not answer a ticket that never existed", async () => {
        expect(await store.readTicket("login", "nobody")).toBeUndefined();
        expect(await store.answerTicket("login", "nobody", true)).toBe("gone");
      });

      it("the store does not change a ticket that is put again", async () => {
        const ticket = { kind: "login", token: "t-1", question: 1, ttlMs: LONG_MS } as const;
        await store.putTicket(ticket);
        await store.answerTicket("login", "t-1", "first");
        await store.putTicket({ ...ticket, question: 2 });
        expect(await store.readTicket("login", "t-1")).toEqual({
          state: "answered",
          token: "t-1",
          question: 1,
          answer: "first",
        });
      });

      it("the store lists the waiting tickets of a group, oldest first", async () => {
        for (const token of ["c", "a", "b", "d"]) {
          await store.putTicket({ kind: "join", token, question, group: "g", ttlMs: LONG_MS });
        }
        await store.putTicket({ kind: "join", token: "e", question, group: "h", ttlMs: LONG_MS });
        await store.putTicket({ kind: "join", token: "f", question, ttlMs: LONG_MS });
        await store.putTicket({ kind: "login", token: "a", question, group: "g", ttlMs: LONG_MS });
        await store.answerTicket("join", "a", true);
        await store.dropTicket("join", "d");
        expect(await store.ticketsOf("join", "g")).toEqual([
          { state: "waiting", token: "c", question },
          { state: "waiting", token: "b", question },
        ]);
        expect(await store.ticketsOf("join", "i")).toEqual([]);

        await store.dropTicket("join", "c");
        await store.putTicket({ kind: "join", token: "c", question, group: "g", ttlMs: LONG_MS });
        expect((await store.ticketsOf("join", "g")).map(({ token }) => token)).toEqual(["b", "c"]);
      });
    });

    describe("revoked tokens", () => {
      it("the store keeps a token revoked until it expires", async () => {
        expect(await store.get("revoked", "token-1")).toBeUndefined();
        await store.put({ kind: "revoked", key: "token-1", untilMs: await later(4000) });
        await store.put({ kind: "revoked", key: "token-2", untilMs: await later(LONG_MS) });
        expect(await (await edge.store()).get("revoked", "token-1")).toBe("");
        await edge.advance(4000);
        expect(await store.get("revoked", "token-1")).toBeUndefined();
        expect(await store.get("revoked", "token-2")).toBe("");
      });

      it("the store keeps the later of two ends of a revoked token", async () => {
        await store.put({ kind: "revoked", key: "token-1", untilMs: await later(LONG_MS) });
        await store.put({ kind: "revoked", key: "token-1", untilMs: await later(2000) });
        await edge.advance(4000);
        expect(await store.get("revoked", "token-1")).toBe("");
      });

      it("the store does not store a revoked token that has expired already", async () => {
        await store.put({ kind: "revoked", key: "token-1", untilMs: await later(-1000) });
        expect(await store.get("revoked", "token-1")).toBeUndefined();
      });
    });

    describe("sign-ins", () => {
      const first = { id: "sign-in-1", revision: 1, keys: ["user-1", "sid-1"], data: { a: ["b"] } };
      const second = { id: "sign-in-2", revision: 1, keys: ["user-1"], data: "text" };

      it("the store finds sign-ins by each of their keys", async () => {
        expect(await store.putSignIn({ ...first, ttlMs: LONG_MS })).toBe("done");
        expect(await store.putSignIn({ ...second, ttlMs: LONG_MS })).toBe("done");
        const other = await edge.store();
        expect(await other.findSignIns({ key: "sid-1" })).toEqual([first]);
        expect(new Set(await other.findSignIns({ key: "user-1" }))).toEqual(
          new Set([first, second]),
        );
        expect(await other.findSignIns({ key: "user-2" })).toEqual([]);
        expect(await other.findSignIns({ id: second.id })).toEqual([second]);
        expect(await other.findSignIns({ id: "sign-in-3" })).toEqual([]);
      });

      it("the store keeps the latest revision of a sign-in", async () => {
        const later = { ...first, revision: 3, data: { c: null } };
        expect(await store.putSignIn({ ...later, ttlMs: LONG_MS })).toBe("done");
        for (const revision of [2, 3]) {
          const early = { ...first, revision, ttlMs: LONG_MS };
          expect(await store.putSignIn(early)).toBe("stale");
        }
        expect(await store.findSignIns({ key: "sid-1" })).toEqual([later]);
      });

      it("the store gives each sign-in that is due to one caller, and again when its lease is over", async () => {
        await store.putSignIn({ ...first, ttlMs: LONG_MS, dueInMs: 2000 });
        await store.putSignIn({ ...second, ttlMs: LONG_MS });
        expect(await store.claimDueSignIns(10, 3000)).toEqual([]);
        await edge.advance(2000);
        const other = await edge.store();
        const claimed = await Promise.all([
          store.claimDueSignIns(10, 3000),
          other.claimDueSignIns(10, 3000),
        ]);
        expect(claimed.flat()).toEqual([first]);
        await edge.advance(3000);
        expect(await other.claimDueSignIns(10, 3000)).toEqual([first]);
        // What is written after the check says when the next one is due.
        const checked = { ...first, revision: 2, ttlMs: LONG_MS, dueInMs: 5000 };
        expect(await other.putSignIn(checked)).toBe("done");
        await edge.advance(3000);
        expect(await store.claimDueSignIns(10, 3000)).toEqual([]);
        await edge.advance(2000);
        expect(await store.claimDueSignIns(10, 3000)).toMatchObject([{ revision: 2 }]);
      });

      it("the store gives at most as many sign-ins as are asked for", async () => {
        for (const one of [first, second]) {
          await store.putSignIn({ ...one, ttlMs: LONG_MS, dueInMs: 0 });
        }
        const claimed = [await store.claimDueSignIns(1, LONG_MS)];
        claimed.push(await store.claimDueSignIns(1, LONG_MS));
        claimed.push(await store.claimDueSignIns(1, LONG_MS));
        expect(claimed.map(({ length }) => length)).toEqual([1, 1, 0]);
        expect(new Set(claimed.flat())).toEqual(new Set([first, second]));
      });

      it("the store removes a sign-in that has ended, revokes its id, and does not write it again", async () => {
        await store.putSignIn({ ...first, ttlMs: LONG_MS, dueInMs: 0 });
        await store.endSignIn(first.id, await later(LONG_MS));
        expect(await store.get("revoked", first.id)).toBe("");
        expect(await store.findSignIns({ key: "user-1" })).toEqual([]);
        expect(await store.claimDueSignIns(10, LONG_MS)).toEqual([]);
        expect(await store.putSignIn({ ...first, revision: 2, ttlMs: LONG_MS })).toBe("stale");
        expect(await store.findSignIns({ key: "sid-1" })).toEqual([]);
        expect(await store.findSignIns({ id: first.id })).toEqual([]);
        // Twice is no harm.
        await store.endSignIn(first.id, await later(LONG_MS));
      });

      it("the store only removes a sign-in whose end is over at once", async () => {
        await store.putSignIn({ ...first, ttlMs: LONG_MS });
        await store.endSignIn(first.id, 0);
        expect(await store.findSignIns({ id: first.id })).toEqual([]);
        expect(await store.get("revoked", first.id)).toBeUndefined();
        expect(await store.putSignIn({ ...first, ttlMs: LONG_MS })).toBe("done");
      });

      it("the store forgets a sign-in that has expired", async () => {
        await store.putSignIn({ ...first, ttlMs: 4000, dueInMs: 0 });
        await edge.advance(4000);
        expect(await store.findSignIns({ key: "user-1" })).toEqual([]);
        expect(await store.claimDueSignIns(10, LONG_MS)).toEqual([]);
        expect(await store.putSignIn({ ...first, ttlMs: LONG_MS })).toBe("done");
      });
    });

    describe("values that are written once", () => {
      it("the store keeps the first of several proposals of a value for all callers", async () => {
        const other = await edge.store();
        const kept = await Promise.all([
          store.put({ kind: "agreed", key: "greeting", text: "hello" }),
          other.put({ kind: "agreed", key: "greeting", text: "good day" }),
          store.put({ kind: "agreed", key: "greeting", text: "hi" }),
        ]);
        expect(new Set(kept).size).toBe(1);
        expect(["hello", "good day", "hi"]).toContain(kept[0]);
        expect(await other.put({ kind: "agreed", key: "greeting", text: "another" })).toBe(kept[0]);
        expect(await store.put({ kind: "agreed", key: "another", text: "bye" })).toBe("bye");
      });
    });

    describe("counters and history", () => {
      it("the store adds up the counts of all clients", async () => {
        const other = await edge.store();
        await store.addToCounters({ "downloads/vscode/1.0": 1, "downloads/vscode/2.0": 2 });
        await Promise.all([
          store.addToCounters({ "downloads/vscode/1.0": 10, joins: 1 }),
          other.addToCounters({ "downloads/vscode/1.0": 100 }),
        ]);
        await store.addToCounters({});
        expect(await other.readCounters("downloads/")).toEqual({
          "downloads/vscode/1.0": 111,
          "downloads/vscode/2.0": 2,
        });
        expect(await store.readCounters("")).toEqual({
          "downloads/vscode/1.0": 111,
          "downloads/vscode/2.0": 2,
          joins: 1,
        });
        expect(await store.readCounters("none")).toEqual({});
      });

      it("a counter that was raised by nothing is raised like any other", async () => {
        await store.addToCounters({ "usage.minutes": 0 });
        await store.addToCounters({ "usage.minutes": 0 });
        await store.addToCounters({ "usage.minutes": 3 });
        expect(await store.readCounters("usage.")).toEqual({ "usage.minutes": 3 });
      });

      it("the store counts a session once when its host connects, whatever worker takes it over later", async () => {
        const hosted = async () => (await store.readCounters(HOSTED_COUNTER))[HOSTED_COUNTER] ?? 0;
        const before = await hosted();
        const owner = await join("worker-1");
        const other = await join("worker-2");
        const record = await create(owner);
        expect(await hosted()).toBe(before);
        await Promise.all([change(record, { kind: "open" }), change(record, { kind: "open" })]);
        expect(await hosted()).toBe(before + 1);
        await change(record, { kind: "release", to: other.id });
        const { record: taken } = await takeOver(await found(record.id), other);
        expect(await change(taken, { kind: "open" })).toBe("done");
        await create(owner);
        expect(await hosted()).toBe(before + 1);
      });

      it("the store takes the prefix of counters literally", async () => {
        await store.addToCounters({ "a.b": 1, "a-b": 2, a_b: 3 });
        expect(await store.readCounters("a.")).toEqual({ "a.b": 1 });
        expect(await store.readCounters("a*")).toEqual({});
        expect(await store.readCounters("[a]")).toEqual({});
      });

      it("the history returns the newest events, oldest first, also of one session only", async () => {
        const [one, two] = [newSessionId(), newSessionId()];
        const beforeMs = await store.timeMs();
        for (const [sessionId, cause] of [
          [one, "first"],
          [two, "second"],
          [one, "third"],
        ] as const) {
          await appendEvent(store, event(sessionId, cause));
        }
        const all = await readEvents(store, { limit: 10 });
        expect(all.map(({ atMs: _atMs, ...rest }) => rest)).toEqual([
          event(one, "first"),
          event(two, "second"),
          event(one, "third"),
        ]);
        for (const { atMs } of all) expect(atMs).toBeGreaterThanOrEqual(beforeMs);
        expect(causes(await readEvents(store, { limit: 2 }))).toEqual(["second", "third"]);
        expect(causes(await readEvents(store, { limit: 1, sessionId: one }))).toEqual(["third"]);
        expect(causes(await readEvents(store, { limit: 9, sessionId: one }))).toEqual([
          "first",
          "third",
        ]);
        expect(await readEvents(store, { limit: 0 })).toEqual([]);
        expect(await readEvents(store, { limit: 9, sessionId: newSessionId() })).toEqual([]);
      });

      it("the history keeps the newest events only", async () => {
        const id = newSessionId();
        for (let i = 0; i < MAX_EVENTS + 5; i += 1000) {
          const count = Math.min(1000, MAX_EVENTS + 5 - i);
          await Promise.all(
            Array.from({ length: count }, (_, k) => appendEvent(store, event(id, `${i + k}`))),
          );
        }
        const kept = await readEvents(store, { limit: 2 * MAX_EVENTS });
        expect(kept).toHaveLength(MAX_EVENTS);
        expect(kept[0]?.cause).toBe("5");
        expect(kept.at(-1)?.cause).toBe(`${MAX_EVENTS + 4}`);
      });
    });

    describe("streams", () => {
      it("a stream keeps the newest texts, and returns those after a given one", async () => {
        const other = await edge.store();
        await store.appendToStream("log-access", ["one", "two"]);
        await other.appendToStream("log-access", ["three\n\u0000\u2028 {}"]);
        await store.appendToStream("log-access", []);
        await store.appendToStream("log-error", ["elsewhere"]);
        const first = await other.readStream("log-access", { limit: 2 });
        expect(first.map(({ text }) => text)).toEqual(["two", "three\n\u0000\u2028 {}"]);
        const after = first[0]?.id ?? "";
        expect(await store.readStream("log-access", { after, limit: 9 })).toEqual(first.slice(1));
        await store.appendToStream("log-access", ["four", "five"]);
        const next = await store.readStream("log-access", { after: first[1]?.id ?? "", limit: 1 });
        expect(next.map(({ text }) => text)).toEqual(["four"]);
        expect(await store.readStream("log-access", { limit: 0 })).toEqual([]);
        expect(await store.readStream("log-server", { limit: 9 })).toEqual([]);
      });

      it("reading a stream from its start begins with the oldest text", async () => {
        expect(await store.readStream("webhooks", { after: STREAM_START, limit: 9 })).toEqual([]);
        await store.appendToStream("webhooks", ["one", "two", "three"]);
        const read = await store.readStream("webhooks", { after: STREAM_START, limit: 2 });
        expect(read.map(({ text }) => text)).toEqual(["one", "two"]);
      });

      it("a stream accepts texts of any characters up to the limit", async () => {
        const text = "\u{1f600}\u2028\u0000".repeat(MAX_STREAM_TEXT_CHARS / 4);
        await store.appendToStream("log-server", [text, "short"]);
        const kept = await store.readStream("log-server", { limit: 9 });
        expect(kept.map((entry) => entry.text.length)).toEqual([MAX_STREAM_TEXT_CHARS, 5]);
        expect(kept[0]?.text === text).toBe(true);
      });

      it("a stream drops the oldest texts beyond its length", async () => {
        const { keep } = STREAMS["history-hour"];
        await store.appendToStream(
          "history-hour",
          Array.from({ length: keep + 5 }, (_, index) => `${index}`),
        );
        const kept = await store.readStream("history-hour", { limit: 2 * keep });
        expect(kept).toHaveLength(keep);
        expect(kept[0]?.text).toBe("5");
        expect(kept.at(-1)?.text).toBe(`${keep + 4}`);
      });

      it("a stream returns nothing after a later id of another store", async () => {
        await store.appendToStream("log-error", ["one"]);
        const after = "99999999999999-0";
        expect(await store.readStream("log-error", { after, limit: 9 })).toEqual([]);
      });
    });

    describe("reports", () => {
      it("the store keeps the last report of each member until it expires", async () => {
        const other = await edge.store();
        const [one, two] = ["w1" as WorkerId, "w2" as WorkerId];
        await store.put({ kind: "view", key: one, text: "first", ttlMs: 60_000 });
        await store.put({ kind: "view", key: one, text: "second", ttlMs: 60_000 });
        await other.put({ kind: "view", key: two, text: '{"a":1}', ttlMs: 60_000 });
        await store.put({ kind: "usage", key: one, text: "another kind", ttlMs: 60_000 });
        expect(await other.list("view")).toEqual({ w1: "second", w2: '{"a":1}' });
        await store.put({ kind: "view", key: one, text: "short", ttlMs: 2000 });
        await edge.advance(3000);
        expect(await store.list("view")).toEqual({ w2: '{"a":1}' });
        expect(await store.list("usage")).toEqual({ w1: "another kind" });
      });
    });

    describe("hints", () => {
      /** The changes that another client hears of. */
      async function listen(): Promise<{ heard: Change[]; stop: () => void }> {
        const heard: Change[] = [];
        const other = await edge.store();
        const stop = other.onChange((change) => heard.push(change));
        return { heard, stop };
      }

      it("a hint notifies all clients, its author included, of a change of the members", async () => {
        const { heard } = await listen();
        const own: Change[] = [];
        store.onChange((change) => own.push(change));
        const member = await join("worker-1");
        await expect.poll(() => heard).toContainEqual({ subject: "members" });
        await expect.poll(() => own).toContainEqual({ subject: "members" });
        heard.length = 0;
        await store.renew({ ...member, state: "draining" });
        await expect.poll(() => heard).toContainEqual({ subject: "members" });
        heard.length = 0;
        await store.withdraw(member.id, member.incarnation);
        await expect.poll(() => heard).toContainEqual({ subject: "members" });
      });

      it("a hint notifies other clients which session changed", async () => {
        const { heard } = await listen();
        const owner = await join("worker-1");
        const record = await create(owner);
        const guest = peer();
        const changes: (() => Promise<unknown>)[] = [
          () => change(record, { kind: "open" }),
          () => change(record, { kind: "put-peer", peer: guest }),
          async () => removePeer(record, guest.id),
          () => change(record, { kind: "release" }),
          () => resume(record.id, owner),
          async () => close(await found(record.id)),
        ];
        for (const change of changes) {
          heard.length = 0;
          await change();
          await expect
            .poll(() => heard)
            .toContainEqual({ subject: "session", sessionId: record.id });
        }
      });

      it("a hint notifies other clients of a ticket that was answered or dropped", async () => {
        const { heard } = await listen();
        const told = { subject: "ticket", kind: "join", token: "t-1" };
        await store.putTicket({ kind: "join", token: "t-1", question: 1, ttlMs: LONG_MS });
        await store.answerTicket("join", "t-1", true);
        await expect.poll(() => heard).toContainEqual(told);
        heard.length = 0;
        await store.dropTicket("join", "t-1");
        await expect.poll(() => heard).toContainEqual(told);
      });

      it("a hint notifies a member of a command", async () => {
        const { heard } = await listen();
        const command = { kind: "command", token: "c-1" } as const;
        await store.putTicket({ ...command, question: 1, group: "worker-1", ttlMs: LONG_MS });
        await expect.poll(() => heard).toContainEqual({ subject: "ticket", ...command });
      });

      it("the store does not call a listener that has unsubscribed", async () => {
        const stopped = await listen();
        const other = await listen();
        stopped.stop();
        await join("worker-1");
        await expect.poll(() => other.heard).toContainEqual({ subject: "members" });
        expect(stopped.heard).toEqual([]);
      });
    });
  });
}

// --- values ---

/** A worker's record. */
export function worker(id: string, incarnation: Incarnation = newIncarnation()): WorkerRecord {
  return {
    kind: "worker",
    id: id as WorkerId,
    incarnation,
    url: "http://127.0.0.1:3001",
    statusUrl: "http://127.0.0.1:4001",
    version: "1.2.3",
    zone: "",
    weight: 1,
    state: "up",
    load: { sessions: 0, connections: 0, lagMs: 0 },
    ringFingerprint: "",
    secretFingerprint: "00000000",
  };
}

/** A balancer's record. */
export function balancer(id: string): BalancerRecord {
  return {
    kind: "balancer",
    id: id as WorkerId,
    incarnation: newIncarnation(),
    statusUrl: "http://127.0.0.1:1081",
    version: "1.2.3",
    ringFingerprint: "",
    secretFingerprint: "00000000",
  };
}

/** A guest's record, or another's. */
export function peer(more: Partial<PeerRecord> = {}): PeerRecord {
  const id: PeerId = newPeerId();
  return {
    id,
    host: false,
    user: { id: `user-${id}`, name: "Guest" },
    publicKey: "cHVibGljIGtleQ==",
    client: "test/1",
    compression: ["gzip"],
    tokenId: `jti/${id}`,
    settled: false,
    ...more,
  };
}

function newSession(owner: WorkerRecord, more: Partial<CreateSession> = {}): CreateSession {
  return {
    sessionId: newSessionId(),
    owner: owner.id,
    incarnation: owner.incarnation,
    userId: `user-${newPeerId()}`,
    maxPerUser: 100,
    ...more,
  };
}

function holderOf({ id, owner, epoch }: SessionRecord): Holder {
  return { sessionId: id, owner, epoch };
}

function event(sessionId: SessionId, cause: string) {
  return { kind: "resumed", sessionId, worker: "worker-1" as WorkerId, epoch: 7, cause } as const;
}

function causes(events: readonly { cause: string }[]): string[] {
  return events.map(({ cause }) => cause);
}

function byId(a: MemberRecord, b: MemberRecord): number {
  return a.id < b.id ? -1 : 1;
}
