/** What a snapshot of the cluster says of rings and of sessions. */
import { expect, test } from "vitest";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { compareRings, compareSecrets, sessionReports } from "../../../shared/cluster/describe.ts";
import { ringProblem, secretProblem } from "../../../shared/cluster/format.ts";

function members(rings: Readonly<Record<string, string>>) {
  return Object.entries(rings).map(([id, ringFingerprint]) => ({
    id: id as WorkerId,
    ringFingerprint,
  }));
}

test("the ring of the majority is the one that more members have than any other", () => {
  const ring = compareRings(members({ b1: "r1", w1: "r2", w2: "r1", w3: "r3" }));
  expect(ring).toEqual({ majority: "r1", differing: new Set(["w1", "w3"]) });
  expect(ringProblem(ring)).toMatch(/^Ring differs from the majority: w1, w3; /);
});

test("on a tie of rings there is no majority, and every member with a ring differs", () => {
  const ring = compareRings(members({ w2: "r2", w1: "r1", w3: "" }));
  expect(ring).toEqual({ majority: undefined, differing: new Set(["w1", "w2"]) });
  expect(ringProblem(ring)).toMatch(/^Rings differ and none has a majority; /);
});

test("a tie for the second place leaves the majority as it is", () => {
  expect(compareRings(members({ a: "r1", b: "r1", c: "r2", d: "r3" })).majority).toBe("r1");
});

test("members without a ring do not count", () => {
  for (const rings of [{}, { w1: "" }, { w1: "", w2: "r1" }]) {
    const ring = compareRings(members(rings));
    expect(ring.differing).toEqual(new Set());
    expect(ringProblem(ring)).toBeUndefined();
  }
});

test("a session's report is its owner's, not that of the worker that had it before", () => {
  const id = "abcdefghijklmnopqrstuvwx" as SessionId;
  const session = (bytes: number) => ({ id, bytes, idleMs: 1, connected: [] });
  const view = (bytes: number) => ({
    role: "worker" as const,
    uptimeMs: 1,
    rssBytes: 1,
    sessions: [session(bytes)],
  });
  const views = [
    { id: "w1", seenMs: 0, view: view(1) },
    { id: "w2", seenMs: 0, view: view(2) },
  ];
  const ownerById = new Map([[id, "w2" as WorkerId]]);
  expect([...sessionReports({ views, ownerById })]).toEqual([[id, session(2)]]);
});

// --- secrets ---

function holder(kind: "balancer" | "worker", id: string, secret: string, next?: string) {
  return { kind, id: id as WorkerId, secretFingerprint: secret, nextSecretFingerprint: next };
}

test("members with one secret agree, and so do members that all know the new one", () => {
  const same = [holder("balancer", "b1", "s"), holder("worker", "w1", "s")];
  expect(compareSecrets(same)).toEqual({ state: "one" });
  expect(compareSecrets([])).toEqual({ state: "one" });
  const changing = [holder("balancer", "b1", "new"), holder("worker", "w1", "old", "new")];
  expect(compareSecrets(changing)).toEqual({ state: "changing" });
  expect(secretProblem(compareSecrets(changing))).toBeUndefined();
});

test("a member that knows only another secret is named", () => {
  const agreement = compareSecrets([
    holder("balancer", "b1", "s"),
    holder("worker", "w1", "s", "t"),
    holder("worker", "w2", "t"),
  ]);
  expect(agreement).toEqual({ state: "several", twoEdges: false, groups: [["b1", "w1"], ["w2"]] });
  expect(secretProblem(agreement)).toBe(
    "CT_SECRET differs, so that processes ignore each other: b1, w1 | w2",
  );
});

test("two secrets with a balancer and a worker each are two edges", () => {
  const agreement = compareSecrets([
    holder("balancer", "b1", "s"),
    holder("worker", "w1", "s"),
    holder("balancer", "b2", "t"),
    holder("worker", "w2", "t"),
  ]);
  expect(secretProblem(agreement)).toBe("two edges share this store: b1, w1 | b2, w2");
});
