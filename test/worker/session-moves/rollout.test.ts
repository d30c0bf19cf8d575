/** How often sessions move while all workers of an edge are replaced: thousands of random rollouts. */
import { describe, expect, test } from "vitest";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { createRing, type Ring } from "../../../shared/membership/ring.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { chooseSuccessor } from "../../../worker/session-moves/drain.ts";

const ROLLOUTS = 10_000;
const SESSIONS = 30;
const MAX_WORKERS = 8;

interface Rollout {
  readonly workers: number;
  readonly before: string;
  readonly after: string;
  /** A worker of the new version is started before any is drained. */
  readonly isOneFirst: boolean;
  /** Whether a drain looks at versions. */
  readonly prefers: boolean;
}

interface Moved {
  readonly total: number;
  readonly most: number;
  /** Sessions of the worker that was drained first. */
  readonly first: number;
}

function seededRandom(seed: number): () => number {
  let state = (seed + 1) * 2_654_435_761;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

const rings = new Map<number, Ring>();

/** Of the workers `w0` to `w<count - 1>`. */
function ringOf(count: number): Ring {
  const members = Array.from({ length: count }, (_, i) => ({ id: `w${i}` as WorkerId, weight: 1 }));
  const ring = rings.get(count) ?? createRing(members, Buffer.alloc(32, 7));
  rings.set(count, ring);
  return ring;
}

const sessionIds = Array.from({ length: 500 }, (_, i) => String(i).padStart(24, "s") as SessionId);

/** Replaces the workers in a random order, each in place: the ring stays as it is. */
function roll(
  { workers, before, after, isOneFirst, prefers }: Rollout,
  random: () => number,
): Moved {
  const count = workers + (isOneFirst ? 1 : 0);
  const ring = ringOf(count);
  const records = new Map<WorkerId, WorkerRecord>();
  for (const [i, id] of ring.members.entries()) {
    const version = isOneFirst && i === workers ? after : before;
    records.set(id, { id, version, state: "up" } as WorkerRecord);
  }
  const view = { ring, worker: (id: WorkerId) => records.get(id) };
  const old = ring.members.slice(0, workers);
  const owners = new Map<SessionId, WorkerId>();
  for (let i = 0; i < SESSIONS; i++) {
    const id = sessionIds[Math.floor(random() * sessionIds.length)] as SessionId;
    owners.set(id, old[Math.floor(random() * old.length)] as WorkerId);
  }
  const moves = new Map<SessionId, number>();
  const order = [...old].sort(() => random() - 0.5);
  const first = [...owners.values()].filter((owner) => owner === order[0]).length;
  for (const drained of order) {
    const record = records.get(drained) as WorkerRecord;
    records.set(drained, { ...record, state: "draining" });
    for (const [id, owner] of owners) {
      if (owner !== drained) continue;
      const version = prefers ? record.version : undefined;
      const successor = chooseSuccessor(id, new Set([drained]), view, version);
      if (successor === undefined) throw new Error("no successor");
      owners.set(id, successor.id);
      moves.set(id, (moves.get(id) ?? 0) + 1);
    }
    records.set(drained, { ...record, version: after, state: "up" });
  }
  const counts = [...owners.keys()].map((id) => moves.get(id) ?? 0);
  return {
    total: counts.reduce((sum, one) => sum + one, 0) / counts.length,
    most: Math.max(...counts),
    first: first / counts.length,
  };
}

function rollAll(options: Omit<Rollout, "workers">): { mean: number; allowed: number } {
  let sum = 0;
  let allowed = 0;
  for (let seed = 0; seed < ROLLOUTS; seed++) {
    const random = seededRandom(seed);
    const workers = 2 + Math.floor(random() * (MAX_WORKERS - 1));
    const { total, most, first } = roll({ ...options, workers }, random);
    sum += total;
    allowed += 1 + 1 / workers;
    if (!options.prefers) continue;
    // Only those of the first worker have nowhere else to go.
    expect(most).toBeLessThanOrEqual(options.isOneFirst ? 1 : 2);
    expect(total).toBeCloseTo(options.isOneFirst ? 1 : 1 + first, 10);
  }
  return { mean: sum / ROLLOUTS, allowed: allowed / ROLLOUTS };
}

const UPGRADE = { before: "1.9.0", after: "1.10.0", prefers: true };
const ROLL_BACK = { before: "1.10.0", after: "1.9.0", prefers: true };

describe("a session moves", () => {
  test.each([
    ["an upgrade", UPGRADE],
    ["a rollback", ROLL_BACK],
  ])("a session moves once in %s, and twice from the worker that goes first", (_what, versions) => {
    const { mean, allowed } = rollAll({ ...versions, isOneFirst: false });
    expect(mean).toBeLessThanOrEqual(allowed + 0.005);
    // Without looking at versions.
    const blind = rollAll({ ...versions, isOneFirst: false, prefers: false });
    expect(blind.mean).toBeGreaterThan(mean + 0.1);
  });

  test("a session moves exactly once when a worker of the new version was started first", () => {
    expect(rollAll({ ...UPGRADE, isOneFirst: true }).mean).toBe(1);
  });
});

describe("of workers of three versions", () => {
  const ring = ringOf(6);
  const versions = ["1.0.0", "1.0.0", "1.2.0", "1.2.0", "1.10.0", "1.10.0"];
  const view = {
    ring,
    worker: (id: WorkerId) => {
      const version = versions[ring.members.indexOf(id)] ?? "";
      return { id, version, state: "up" } as WorkerRecord;
    },
  };

  test.each([
    ["1.0.0", "1.10.0"],
    ["1.2.0", "1.10.0"],
    ["1.10.0", "1.2.0"],
  ])(
    "of workers of three versions one of %s that is drained hands over to the newest other version, %s",
    (drained, next) => {
      const taken = sessionIds
        .slice(0, 50)
        .map((id) => chooseSuccessor(id, new Set(), view, drained));
      expect(new Set(taken.map((record) => record?.version))).toEqual(new Set([next]));
      // And spreads them over its workers.
      expect(new Set(taken.map((record) => record?.id)).size).toBe(2);
    },
  );

  test("a crash does not look at versions: nobody drains", () => {
    const taken = sessionIds.slice(0, 50).map((id) => chooseSuccessor(id, new Set(), view)?.id);
    expect(taken).toEqual(sessionIds.slice(0, 50).map((id) => ring.candidates(id)[0]));
  });
});
