/** How long `ct-edge verify` waits for what processes say of each other to be about now. */
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Inside } from "../../../edge/verify/inside/inside.ts";
import { readSettled } from "../../../edge/verify/look-inside.ts";
import { createStepClock } from "../../support/step-clock.ts";

const SETTLED: Inside = {
  source: "redis",
  isComplete: true,
  processes: [],
  ringProblem: undefined,
  unreachable: [],
  statsd: undefined,
  secret: { state: "one" },
};
const REPLACED: Inside = {
  ...SETTLED,
  unreachable: [{ worker: "w1", from: "balancer b1", reason: "unhealthy, refused" }],
};

/** Reads `states` one after the other, and the last one repeatedly. */
async function look(states: readonly [Inside, ...Inside[]], signal = new AbortController().signal) {
  const clock = createStepClock();
  const startMs = clock.nowMs();
  let reads = 0;
  let isDone = false;
  const read = async (): Promise<Inside> =>
    states[Math.min(reads++, states.length - 1)] ?? states[0];
  const looking = readSettled(read, clock, signal).finally(() => {
    isDone = true;
  });
  for (;;) {
    await setImmediate();
    if (isDone) return { answer: await looking, tookMs: clock.nowMs() - startMs };
    clock.advance(100);
  }
}

test("a settled edge is read once", async () => {
  expect(await look([SETTLED])).toEqual({
    answer: { outcome: "read", inside: SETTLED },
    tookMs: 0,
  });
});

test.each([
  ["a worker that was just replaced", REPLACED],
  ["a ring that differs", { ...SETTLED, ringProblem: "b1 differs" }],
  ["a store that was emptied", { ...SETTLED, isComplete: false }],
])("%s is read again until it has settled", async (_, before) => {
  const { answer, tookMs } = await look([before, before, SETTLED]);
  expect(answer).toEqual({ outcome: "read", inside: SETTLED });
  expect(tookMs).toBeLessThan(1000);
});

test("a fault that is still there after the next reports is read as it is", async () => {
  const { answer, tookMs } = await look([REPLACED]);
  expect(answer).toEqual({ outcome: "read", inside: REPLACED });
  // Reports come every 5 s.
  expect(tookMs).toBeGreaterThan(5000);
  expect(tookMs).toBeLessThan(10_000);
});

test("several secrets do not settle, so nothing is waited for", async () => {
  const split: Inside = {
    ...REPLACED,
    secret: { state: "several", twoEdges: false, problem: "b1 | w1" },
  };
  expect((await look([split])).tookMs).toBe(0);
});

test("an interruption ends the wait for a settled edge, and nothing is concluded", async () => {
  const { answer } = await look([REPLACED], AbortSignal.abort());
  expect(answer).toEqual({ outcome: "interrupted" });
});
