/**
 * JSON of the version before (commit 6cbddef), literally, and what this version writes for it: reports in the store, the
 * answers of `explain`, and the gauge of workers.
 */
import { expect, test } from "vitest";
import { withFormerStates } from "../../balancer/server/former-state-names.ts";
import { describeAnswer } from "../../edge/explain/answer.ts";
import { askFor } from "../../edge/explain/question.ts";
import type { Incarnation, SessionId, WorkerId } from "../../shared/base/ids.ts";
import { readResumes } from "../../shared/cluster/resume-reports.ts";
import { type BalancerView, parseView, writeView } from "../../shared/cluster/status-reports.ts";
import { parseExplanation, writeExplanation } from "../../shared/control/explanation.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";

const FORMER_VIEW = {
  role: "balancer",
  uptimeMs: 5000,
  rssBytes: 7,
  connections: 1,
  tunnels: 2,
  workers: [
    { id: "w1", health: "up" },
    { id: "w2", health: "suspect", lastFailure: { reason: "no-answer", by: "probe", agoMs: 500 } },
    { id: "w3", health: "dead", lastFailure: { reason: "lease-gone", by: "members", agoMs: 1 } },
  ],
};

test("a balancer's report of the version before is read, with the present names of its workers' health", () => {
  const view = parseView(JSON.stringify(FORMER_VIEW));
  expect(view).toEqual({
    ...FORMER_VIEW,
    workers: [
      { id: "w1", status: "healthy" },
      {
        id: "w2",
        status: "unhealthy",
        lastFailure: { reason: "no-answer", by: "probe", agoMs: 500 },
      },
      { id: "w3", status: "down", lastFailure: { reason: "lease-gone", by: "members", agoMs: 1 } },
    ],
  });
});

test("a report that is written now has the former names beside the present ones", () => {
  const view = parseView(JSON.stringify(FORMER_VIEW));
  if (view === undefined) throw new Error("the report was not read");
  const written = JSON.parse(writeView(view)) as { workers: object[] };
  expect(written).toMatchObject(FORMER_VIEW);
  expect(parseView(JSON.stringify(written))).toEqual(view);
});

test("a report with links is read again as it was written, and one that would be too long leaves them out", () => {
  const link = {
    state: "open",
    links: 1,
    streams: 2,
    framesIn: 3,
    framesOut: 4,
    bytesIn: 5,
    bytesOut: 6,
    stalls: 7,
    resets: 8,
    errors: 9,
  } as const;
  const viewOf = (count: number): BalancerView => ({
    role: "balancer",
    uptimeMs: 5000,
    rssBytes: 7,
    connections: 1,
    tunnels: 2,
    workers: Array.from({ length: count }, (_, i) => ({
      id: `w${i}${"x".repeat(200)}`,
      status: "healthy",
      link,
    })),
  });
  expect(parseView(writeView(viewOf(3)))).toEqual(viewOf(3));
  const long = parseView(writeView(viewOf(900)));
  if (long?.role !== "balancer") throw new Error("the report was not read");
  expect(long.workers).toHaveLength(900);
  expect(long.workers.every((worker) => worker.link === undefined)).toBe(true);
});

test("a report with WebSockets in moves is read again as it was written", () => {
  const counters = createCounters();
  counters.count("balancer.resume.done", "move", 3);
  counters.count("balancer.resume.done", "crash");
  counters.count("balancer.resume.closed", "timeout", 2);
  counters.count("balancer.resume.messages", "", 5);
  counters.count("balancer.resume.repeats", "", 4);
  counters.observe("balancer.resume.gap_ms", 7);
  const resumes = readResumes(counters, 6);
  expect(resumes).toEqual({
    waiting: 6,
    moved: 3,
    crashed: 1,
    closed: { timeout: 2 },
    messages: 5,
    repeats: 4,
    gaps: [0, 0, 0, 1, ...Array(11).fill(0)],
  });
  const view = { ...FORMER_VIEW, workers: [], resumes } as const;
  expect(parseView(writeView(view as BalancerView))).toEqual(view);
});

test.each([{ state: "resting" }, { streams: -1 }, { bytesIn: "5" }])(
  "a report with links that cannot be parsed is refused: %j",
  (wrong) => {
    const valid = {
      state: "off",
      links: 0,
      streams: 0,
      framesIn: 0,
      framesOut: 0,
      bytesIn: 0,
      bytesOut: 0,
      stalls: 0,
      resets: 0,
      errors: 0,
    };
    const textOf = (link: object): string =>
      JSON.stringify({ ...FORMER_VIEW, workers: [{ id: "w1", status: "healthy", link }] });
    expect(parseView(textOf(valid))).toBeDefined();
    expect(parseView(textOf({ ...valid, ...wrong }))).toBeUndefined();
  },
);

const FORMER_EXPLANATION = {
  rule: "header",
  worker: "w2",
  reason: "ring",
  found: "found",
  notes: [
    { worker: "w1", as: "owner", verdict: "suspect" },
    { worker: "w2", as: "candidate", verdict: "fit" },
    { worker: "w3", as: "candidate", verdict: "dead" },
    { worker: "w4", as: "any", verdict: "capped", chance: 0 },
  ],
  more: 0,
  workers: [
    {
      id: "w1",
      state: "up",
      health: "suspect",
      sessions: 1,
      connections: 2,
      lagMs: 0.5,
      weight: 1,
      isFull: false,
    },
  ],
  ring: "abc",
  isPanicking: false,
  store: "up",
  isRecalled: false,
};

test("an explanation of the version before is read, with the present names", () => {
  const explanation = parseExplanation(FORMER_EXPLANATION);
  expect(explanation?.candidates).toEqual([
    { worker: "w1", as: "owner", status: "unhealthy" },
    { worker: "w2", as: "candidate", status: "available" },
    { worker: "w3", as: "candidate", status: "down" },
    { worker: "w4", as: "load", status: "capped", chance: 0 },
  ]);
  expect(explanation?.workers[0]).toMatchObject({ id: "w1", state: "up", status: "unhealthy" });
});

test("an explanation that is written now is complete for the version before", () => {
  const explanation = parseExplanation(FORMER_EXPLANATION);
  if (explanation === undefined) throw new Error("the explanation was not read");
  const written = writeExplanation(explanation);
  expect(written).toMatchObject(FORMER_EXPLANATION);
  expect(parseExplanation(written)).toEqual(explanation);
});

test("explain --json names the successor of a released session by both names", () => {
  const id = "R00MR00MR00MR00MR00MR00M" as SessionId;
  const record = {
    id,
    owner: "w1" as WorkerId,
    incarnation: "aaaaaaaaaaaaaaaa" as Incarnation,
    epoch: 1,
    state: "released",
    successor: "w2" as WorkerId,
    userId: "u",
    clock: 1,
    peers: [],
    revokedTokens: [],
    createdMs: 0,
  } as const;
  const seen = { members: [], booted: true, nowMs: 1, balancers: [], history: [], isFull: false };
  const from = { ...seen, record, place: undefined };
  const { session } = describeAnswer(askFor(id, "room"), from);
  expect(session).toMatchObject({ successor: "w2", heir: "w2" });
});

test("the gauge of workers has the former states beside the present ones", () => {
  const count = { up: 3, unhealthy: 2, down: 1 };
  expect(withFormerStates(count)).toEqual({ up: 3, unhealthy: 2, down: 1, suspect: 2, dead: 1 });
});
