import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { SessionKey, WorkerId } from "../../../shared/base/ids.ts";
import { createRing, type Ring, type RingMember } from "../../../shared/membership/ring.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";

const ringKey = deriveKeys("a secret that is long enough for a test").ring;

function members(count: number): RingMember[] {
  return Array.from({ length: count }, (_, i) => ({ id: `worker-${i}` as WorkerId, weight: 1 }));
}

/** Not random: a limit on a spread must not depend on luck. */
const keys: SessionKey[] = Array.from(
  { length: 100_000 },
  (_, i) => createHash("sha256").update(`key ${i}`).digest("hex").slice(0, 24) as SessionKey,
);

function loads(ring: Ring): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) {
    const id = ring.first(key) ?? "none";
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

test("two processes that learn of the workers in any order route every one of 100,000 keys alike", () => {
  const first = createRing(members(7), ringKey);
  const second = createRing(members(7).reverse(), ringKey);
  expect(second.fingerprint).toBe(first.fingerprint);
  let differing = 0;
  for (let i = 0; i < 100_000; i++) {
    const key = `key-${i}` as SessionKey;
    if (first.first(key) !== second.first(key)) differing++;
  }
  expect(differing).toBe(0);
});

test("a worker that leaves moves its own keys only", () => {
  const before = createRing(members(5), ringKey);
  const after = createRing(members(5).slice(1), ringKey);
  const moved = keys.filter((key) => before.first(key) !== after.first(key));
  expect(moved.every((key) => before.first(key) === "worker-0")).toBe(true);
});

test("a worker that joins takes its share from the others and moves nothing between them", () => {
  const before = createRing(members(4), ringKey);
  const after = createRing(members(5), ringKey);
  const moved = keys.filter((key) => before.first(key) !== after.first(key));
  expect(moved.every((key) => after.first(key) === "worker-4")).toBe(true);
  expect(moved.length / keys.length).toBeGreaterThan(0.17);
  expect(moved.length / keys.length).toBeLessThan(0.24);
});

test("from one worker to five, no more keys move than 1.2 of what must, at each step and in all", () => {
  const rings = [1, 2, 3, 4, 5].map((count) => createRing(members(count), ringKey));
  const owners = rings.map((ring) => keys.map((key) => ring.first(key)));
  const moved = (from: number, to: number): number =>
    keys.filter((_, i) => owners[from]?.[i] !== owners[to]?.[i]).length / keys.length;
  for (let step = 0; step < 4; step++) {
    expect(moved(step, step + 1)).toBeLessThanOrEqual(1.2 / (step + 2));
  }
  expect(moved(0, 4)).toBeLessThanOrEqual(1.2 * 0.8);
});

test.each([
  [2, 1.1],
  [3, 1.1],
  [10, 1.1],
  [50, 1.15],
])("the busiest of %i workers has at most %f of the mean", (count, limit) => {
  const counts = [...loads(createRing(members(count), ringKey)).values()];
  expect(Math.max(...counts) / (keys.length / count)).toBeLessThanOrEqual(limit);
});

test("a worker of double weight gets about double the keys", () => {
  const [light, heavy] = members(2) as [RingMember, RingMember];
  const counts = loads(createRing([light, { ...heavy, weight: 2 }], ringKey));
  const share = (counts.get(heavy.id) ?? 0) / (counts.get(light.id) ?? 1);
  expect(share).toBeGreaterThan(1.8);
  expect(share).toBeLessThan(2.2);
});

test("candidates are all workers, each once, the first one first", () => {
  const ring = createRing(members(6), ringKey);
  for (const key of keys.slice(0, 200)) {
    const candidates = ring.candidates(key);
    expect(candidates[0]).toBe(ring.first(key));
    expect([...candidates].sort()).toEqual([...ring.members]);
  }
});

test("another secret gives another order, so outsiders cannot aim keys at a worker", () => {
  const ring = createRing(members(5), ringKey);
  const other = createRing(members(5), deriveKeys("another secret, long enough for a test").ring);
  const same = keys.filter((key) => ring.first(key) === other.first(key)).length;
  expect(same / keys.length).toBeLessThan(0.3);
});

describe("the empty ring", () => {
  test("the empty ring has no candidate", () => {
    const ring = createRing([], ringKey);
    expect(ring.first("k" as SessionKey)).toBeUndefined();
    expect(ring.candidates("k" as SessionKey)).toEqual([]);
  });
});
