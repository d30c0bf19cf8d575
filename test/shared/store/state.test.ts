/** The embedded store's state: what the journal remembers of it is all that must outlive the process. */

import path from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type {
  Incarnation,
  PeerId,
  SessionId,
  SessionKey,
  WorkerId,
} from "../../../shared/base/ids.ts";
import { parseRecord } from "../../../shared/store/embedded/format/records.ts";
import { openJournal, readJournal } from "../../../shared/store/embedded/journal/journal.ts";
import type { StoreTime } from "../../../shared/store/embedded/state/operations.ts";
import { createStoreState, type StoreState } from "../../../shared/store/embedded/state/state.ts";
import type { PeerRecord, SessionChange } from "../../../shared/store/store.ts";
import { peer, worker } from "../../contract/store.ts";
import { collectingLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";

type Step = (state: StoreState, now: StoreTime) => void;

describe("the state of the embedded store", () => {
  it("the state of the embedded store is the same when it is restored from the journal, whatever happened", () => {
    const folder = tempFolder();
    const { log, lines } = collectingLog();
    let run = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(stepArbitrary(), pauseArbitrary()), { maxLength: 60 }),
        (steps) => {
          const file = path.join(folder, `${run++}.journal`);
          const clock = createStepClock();
          const now = (): StoreTime => ({ wallMs: clock.wallMs(), nowMs: clock.nowMs() });
          const state = createStoreState(now());
          const journal = openJournal({ file, clock, log, entries: state.entries });
          for (const [{ step }, pauseMs] of steps) {
            step(state, now());
            const { writes } = state.takeEffects();
            if (writes.length > 0) journal.append(writes);
            clock.advance(pauseMs);
          }
          const again = createStoreState(now());
          again.restore(readJournal({ file, clock, log, parse: parseRecord }).values());
          journal.close();
          expect([...again.entries()]).toEqual([...state.entries()]);
          expect(everythingAsked(again, now())).toEqual(everythingAsked(state, now()));
          expect(lines).toEqual([]);
        },
      ),
      { numRuns: 400 },
    );
  });

  it("the state of the embedded store raises epochs only, and lets one holder at most change a session", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(stepArbitrary(), pauseArbitrary()), { maxLength: 80 }),
        (steps) => {
          const clock = createStepClock();
          const now = (): StoreTime => ({ wallMs: clock.wallMs(), nowMs: clock.nowMs() });
          const state = createStoreState(now());
          const epochs = new Map<SessionId, { epoch: number; owner: WorkerId }>();
          for (const [{ step }, pauseMs] of steps) {
            step(state, now());
            for (const id of SESSIONS) {
              const record = state.operations.findSession(now(), id);
              const before = epochs.get(id);
              if (record === undefined) continue;
              if (before !== undefined) {
                expect(record.epoch).toBeGreaterThanOrEqual(before.epoch);
                if (record.owner !== before.owner)
                  expect(record.epoch).toBeGreaterThan(before.epoch);
              }
              epochs.set(id, record);
            }
            clock.advance(pauseMs);
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it("the state of the embedded store is empty when everything in it has expired and was swept", () => {
    const clock = createStepClock();
    const now = (): StoreTime => ({ wallMs: clock.wallMs(), nowMs: clock.nowMs() });
    const state = createStoreState(now());
    const { operations } = state;
    for (let i = 0; i < 1500; i++) {
      const sessionId = `${i}`.padStart(24, "s") as SessionId;
      const created = operations.createSession(now(), {
        sessionId,
        owner: "w" as WorkerId,
        incarnation: "i".repeat(16) as Incarnation,
        userId: "u",
        maxPerUser: 10_000,
      });
      if (created.outcome !== "created") throw new Error(created.outcome);
      const holder = { sessionId, owner: "w" as WorkerId, epoch: created.record.epoch };
      const guest = peer();
      const untilMs = now().wallMs + 1000;
      operations.changeSession(now(), holder, { kind: "put-peer", peer: guest });
      operations.changeSession(now(), holder, { kind: "remove-peer", peer: guest.id, untilMs });
      if (i % 2 === 0) operations.changeSession(now(), holder, { kind: "close", untilMs });
      operations.putTicket(now(), { kind: "join", token: `${i}`, question: i, ttlMs: 1000 });
      operations.put(now(), { kind: "revoked", key: `${i}`, untilMs });
    }
    const live = new Set<string>();
    const note = () => {
      for (const [key, value] of state.takeEffects().writes) {
        if (value === undefined) live.delete(key);
        else live.add(key);
      }
    };
    note();
    clock.advance(60_000);
    let sweeps = 0;
    while ([...state.entries()].length > 0 && sweeps++ < 20) {
      state.sweep(now());
      note();
    }
    expect([...state.entries()]).toEqual([]);
    expect([...live]).toEqual([]);
    expect(sweeps).toBeGreaterThan(2);
  });

  it("the state of the embedded store does not return expired records that were not swept", () => {
    const { operations } = createStoreState(NOW);
    const later = { wallMs: NOW.wallMs + 60_000, nowMs: NOW.nowMs + 60_000 };
    const create = {
      sessionId: SESSION,
      owner: "w" as WorkerId,
      incarnation: "i".repeat(16) as Incarnation,
      alias: "team-a" as SessionKey,
      userId: "u",
      maxPerUser: 1,
    };
    expect(operations.createSession(NOW, create).outcome).toBe("created");
    const other = { ...create, sessionId: "o".repeat(24) as SessionId };
    expect(operations.createSession(later, other).outcome).toBe("created");
    expect(operations.findSession(later, create.alias)?.id).toBe(other.sessionId);
    expect(operations.sessionsOf(later, create.owner)).toEqual([other.sessionId]);

    const ticket = { kind: "join", question: 1, group: "g" } as const;
    operations.putTicket(NOW, { ...ticket, token: "a", ttlMs: 1000 });
    operations.putTicket(NOW, { ...ticket, token: "b", ttlMs: 1e6 });
    operations.putTicket(later, { ...ticket, token: "a", ttlMs: 1e6 });
    const waiting = operations.ticketsOf(later, "join", "g");
    expect(waiting.map(({ token }) => token)).toEqual(["b", "a"]);
  });

  it("the state of the embedded store counts no member as gone in the first seconds after its start", () => {
    const clock = createStepClock();
    const now = (): StoreTime => ({ wallMs: clock.wallMs(), nowMs: clock.nowMs() });
    const first = createStoreState(now());
    const [owner, other] = [worker("worker-1"), worker("worker-2")];
    const sessionId = "s".repeat(24) as SessionId;
    first.operations.createSession(now(), {
      sessionId,
      owner: owner.id,
      incarnation: owner.incarnation,
      userId: "u",
      maxPerUser: 1,
    });
    const second = createStoreState(now());
    second.restore([...first.entries()].flatMap(([key, value]) => parseRecord(key, value) ?? []));
    const claim = { sessionId, worker: other.id, incarnation: other.incarnation };
    second.operations.announce(now(), other);
    expect(second.operations.members(now()).booted).toBe(false);
    expect(second.operations.resumeSession(now(), claim)).toMatchObject({ outcome: "elsewhere" });
    for (const stepMs of [2500, 2500, 2999]) {
      clock.advance(stepMs);
      second.operations.renew(now(), other);
      expect(second.operations.resumeSession(now(), claim)).toMatchObject({ outcome: "elsewhere" });
    }
    clock.advance(1);
    expect(second.operations.members(now()).booted).toBe(true);
    expect(second.operations.resumeSession(now(), claim)).toMatchObject({
      outcome: "owned",
      cause: "lease-gone",
    });
  });

  it("the state of the embedded store does not expire leases when the wall clock is set", () => {
    const clock = createStepClock();
    const now = (): StoreTime => ({ wallMs: clock.wallMs(), nowMs: clock.nowMs() });
    const state = createStoreState(now());
    const member = worker("worker-1");
    state.operations.announce(now(), member);
    clock.setWall(clock.wallMs() + 3_600_000);
    expect(state.operations.members(now()).members).toEqual([member]);
    clock.setWall(0);
    clock.advance(5000);
    expect(state.operations.members(now()).members).toEqual([]);
  });

  it("the state of the embedded store sends no hint when only the load of a member changes, as with every heartbeat", () => {
    const state = createStoreState(NOW);
    const member = worker("worker-1");
    state.operations.announce(NOW, member);
    expect(state.takeEffects().changes).toEqual([{ subject: "members" }]);
    const busy = { ...member, load: { sessions: 1, connections: 2, lagMs: 3 } };
    expect(state.operations.renew(NOW, busy)).toBe("renewed");
    expect(state.takeEffects()).toEqual({ writes: [], changes: [] });
    expect(state.operations.members(NOW).members).toEqual([busy]);
    state.operations.renew(NOW, { ...busy, state: "suspended" });
    expect(state.takeEffects().changes).toEqual([{ subject: "members" }]);
  });

  it("the state of the embedded store limits the revoked tokens of one session, dropping the oldest first", () => {
    const { operations } = createStoreState(NOW);
    const created = operations.createSession(NOW, {
      sessionId: SESSION,
      owner: "w" as WorkerId,
      incarnation: "i".repeat(16) as Incarnation,
      userId: "u",
      maxPerUser: 1,
    });
    if (created.outcome !== "created") throw new Error(created.outcome);
    const holder = { sessionId: SESSION, owner: "w" as WorkerId, epoch: created.record.epoch };
    for (let i = 0; i < 1010; i++) {
      const guest = peer({ tokenId: `${i}` });
      operations.changeSession(NOW, holder, { kind: "put-peer", peer: guest });
      const untilMs = NOW.wallMs + 1e6;
      operations.changeSession(NOW, holder, { kind: "remove-peer", peer: guest.id, untilMs });
    }
    const { revokedTokens } = operations.findSession(NOW, SESSION) ?? created.record;
    expect(revokedTokens).toHaveLength(1000);
    expect(revokedTokens[0]).toBe("10");
    expect(revokedTokens.at(-1)).toBe("1009");
  });

  it("the state of the embedded store drops the oldest tickets of a kind in a flood, and none of another kind", () => {
    const state = createStoreState(NOW);
    const { operations } = state;
    operations.putTicket(NOW, { kind: "join", token: "join", question: 1, ttlMs: 1e6 });
    for (let i = 0; i < 50_010; i++) {
      operations.putTicket(NOW, { kind: "login", token: `${i}`, question: 1, ttlMs: 1e6 });
    }
    expect(operations.readTicket(NOW, "login", "9")).toBeUndefined();
    expect(operations.readTicket(NOW, "login", "10")).toBeDefined();
    expect(operations.readTicket(NOW, "join", "join")).toBeDefined();
  });

  it("the state of the embedded store limits the memory of tickets, not only their number", () => {
    const { operations } = createStoreState(NOW);
    const question = "x".repeat(1024 * 1024);
    for (let i = 0; i < 40; i++) {
      operations.putTicket(NOW, { kind: "join", token: `${i}`, question, group: "g", ttlMs: 1e6 });
    }
    expect(operations.ticketsOf(NOW, "join", "g").length).toBeLessThan(32);
    expect(operations.readTicket(NOW, "join", "39")).toBeDefined();
  });
});

const NOW: StoreTime = { wallMs: 1_900_000_000_000, nowMs: 1000 };
const SESSION = "s".repeat(24) as SessionId;

/** Every answer that does not change anything. */
function everythingAsked({ operations }: StoreState, now: StoreTime): unknown {
  return {
    sessions: [...SESSIONS, ...ALIASES].map((key) => operations.findSession(now, key)),
    // Their order is not promised.
    owned: WORKERS.map((id) => [...operations.sessionsOf(now, id)].sort()),
    login: TOKENS.map((token) => operations.readTicket(now, "login", token)),
    join: TOKENS.map((token) => operations.readTicket(now, "join", token)),
    groups: SESSIONS.map((group) => operations.ticketsOf(now, "join", group)),
    revoked: TOKENS.map((token) => operations.get(now, "revoked", token)),
    counters: operations.readCounters(now, ""),
    events: operations
      .readStream(now, "events", { limit: 1000 })
      .map(({ text, ...entry }) => ({ ...entry, event: JSON.parse(text) })),
    // Says whether the quota and the alias are remembered alike: the outcome is compared, not the record.
    creates: ALIASES.map(
      (alias) =>
        operations.createSession(now, {
          sessionId: `new${alias}`.padEnd(24, "n") as SessionId,
          owner: "w" as WorkerId,
          incarnation: "i".repeat(16) as Incarnation,
          alias,
          userId: "u",
          maxPerUser: 3,
        }).outcome,
    ),
  };
}

// --- random histories over few names, so that they meet ---

const SESSIONS = ["a", "b", "c"].map((letter) => letter.repeat(24) as SessionId);
const WORKERS = ["w", "v"] as WorkerId[];
const ALIASES = ["k", "l"] as SessionKey[];
const TOKENS = ["s", "t/u"];

function pauseArbitrary(): fc.Arbitrary<number> {
  return fc.constantFrom(0, 0, 1, 1000, 2500, 5000, 61_000);
}

/** One operation or sweep. Holders are mostly right: the record is looked up when the step runs. */
function stepArbitrary(): fc.Arbitrary<{ name: string; step: Step }> {
  const sessionId = fc.constantFrom(...SESSIONS);
  const workerId = fc.constantFrom(...WORKERS);
  const incarnation = fc.constantFrom("i", "j").map((c) => c.repeat(16) as Incarnation);
  const token = fc.constantFrom(...TOKENS);
  const kind = fc.constantFrom("login" as const, "join" as const);
  const untilMs = fc.constantFrom(-1, 1000, 100_000);
  const guest = fc.constantFrom("p", "q").chain((id) =>
    fc.constantFrom("s", "t/u").map(
      (tokenId): PeerRecord => ({
        ...peer({ tokenId }),
        id: id.repeat(24) as PeerId,
      }),
    ),
  );
  const held = (
    name: string,
    change: SessionChange | ((now: StoreTime) => SessionChange),
  ): fc.Arbitrary<{ name: string; step: Step }> =>
    fc.tuple(sessionId, fc.boolean()).map(([id, isLate]) => ({
      name: `${name} ${id[0]}`,
      step(state, now) {
        const record = state.operations.findSession(now, id);
        const owner = record?.owner ?? ("w" as WorkerId);
        state.operations.changeSession(
          now,
          { sessionId: id, owner, epoch: (record?.epoch ?? 0) - (isLate ? 1 : 0) },
          typeof change === "function" ? change(now) : change,
        );
      },
    }));
  const plain = <T>(name: string, values: fc.Arbitrary<T>, run: (value: T) => Step) =>
    values.map((value) => ({ name: `${name} ${JSON.stringify(value)}`, step: run(value) }));

  return fc.oneof(
    plain("sweep", fc.constant(null), () => (state, now) => state.sweep(now)),
    plain("announce", fc.tuple(workerId, incarnation), ([id, life]) => (state, now) => {
      state.operations.announce(now, worker(id, life));
    }),
    plain(
      "create",
      fc.tuple(sessionId, workerId, incarnation, fc.constantFrom(undefined, ...ALIASES)),
      ([id, owner, life, alias]) =>
        (state, now) => {
          state.operations.createSession(now, {
            sessionId: id,
            owner,
            incarnation: life,
            ...(alias !== undefined && { alias }),
            userId: "u",
            maxPerUser: 2,
          });
        },
    ),
    plain(
      "resume",
      fc.tuple(sessionId, workerId, incarnation, fc.constantFrom(undefined, "refused", "exited")),
      ([id, claimant, life, evidence]) =>
        (state, now) => {
          state.operations.resumeSession(now, {
            sessionId: id,
            worker: claimant,
            incarnation: life,
            ...(evidence !== undefined && { evidence: evidence as "refused" | "exited" }),
          });
        },
    ),
    held("open", { kind: "open" }),
    fc.constantFrom(undefined, ...WORKERS).chain((to) => held("release", { kind: "release", to })),
    untilMs.chain((ms) => held("close", (now) => ({ kind: "close", untilMs: now.wallMs + ms }))),
    guest.chain((record) => held("put", { kind: "put-peer", peer: record })),
    fc
      .tuple(guest, untilMs)
      .chain(([{ id }, ms]) =>
        held("remove", (now) => ({ kind: "remove-peer", peer: id, untilMs: now.wallMs + ms })),
      ),
    held("clock", { kind: "next-clock" }),
    plain(
      "ticket",
      fc.tuple(kind, token, fc.constantFrom(undefined, ...SESSIONS), fc.constantFrom(1000, 1e6)),
      ([of, name, group, ttlMs]) =>
        (state, now) => {
          const question = { of, at: now.nowMs };
          state.operations.putTicket(now, {
            kind: of,
            token: name,
            question,
            ttlMs,
            ...(group !== undefined && { group }),
          });
        },
    ),
    plain("answer", fc.tuple(kind, token, fc.jsonValue()), ([of, name, answer]) => (state, now) => {
      state.operations.answerTicket(now, of, name, answer);
    }),
    plain("drop", fc.tuple(kind, token), ([of, name]) => (state, now) => {
      state.operations.dropTicket(now, of, name);
    }),
    plain("revoke", fc.tuple(token, untilMs), ([name, ms]) => (state, now) => {
      const untilMs = now.wallMs + Math.max(0, ms);
      state.operations.put(now, { kind: "revoked", key: name, untilMs });
    }),
    plain("count", fc.constantFrom("a", "b.c/d", "__proto__"), (name) => (state, now) => {
      state.operations.addToCounters(now, Object.fromEntries([[name, 2]]));
    }),
    plain("event", sessionId, (id) => (state, now) => {
      const event = { kind: "created", worker: "w" as WorkerId, epoch: 1, cause: "c" } as const;
      const text = JSON.stringify({ ...event, sessionId: id });
      state.operations.appendToStream(now, "events", [text]);
    }),
  );
}
