/** The loop of `ct-edge autoscale` with a fleet that answers as the test says, in virtual time. */
import { expect, test } from "vitest";
import type { Asked } from "../../../edge/autoscale/ask-wish.ts";
import { autoscale, type WorkerFleet } from "../../../edge/autoscale/run.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";

/** `workers`: those that take sessions; without any they have names that say nothing. */
function wish(wanted: number, ...workers: readonly string[]): Asked {
  const needs = { sessions: wanted - 0.5, connections: 0, cpu: 0, lag: 0 };
  return { outcome: "wish", wish: { wanted, by: "sessions", needs }, workers: [...workers] };
}

/** `answers`: of one poll after the other; the last one stays. */
function start(answers: readonly (Asked | Error)[], fleet: Partial<WorkerFleet> = {}) {
  const clock = createStepClock();
  const lines: string[] = [];
  let workers = ["worker-1", "worker-2"];
  let asked = 0;
  let isEnded = false;
  let isOver = false;
  void autoscale({
    fleet: {
      workers: async () => workers,
      async scale(count) {
        workers = Array.from({ length: count }, (_, index) => `worker-${index + 1}`);
      },
      async ask() {
        const answer = answers[Math.min(asked++, answers.length - 1)];
        if (answer === undefined || answer instanceof Error) throw answer;
        return answer;
      },
      resign: async () => {},
      ...fleet,
    },
    bounds: { min: 2, max: 6 },
    periodMs: 5000,
    clock,
    print: (line) => lines.push(line),
    isEnded: () => isEnded,
  }).then(() => {
    isOver = true;
  });
  return {
    lines,
    get workers() {
      return workers.length;
    },
    get asked() {
      return asked;
    },
    /** Lets time pass until `asked` polls have begun. */
    async polls(count: number): Promise<void> {
      await until(`${count} polls`, () => {
        clock.advance(1000);
        return asked >= count;
      });
    },
    async end(): Promise<void> {
      isEnded = true;
      await until("the loop ends", () => {
        clock.advance(5000);
        return isOver;
      });
    },
  };
}

test("an autoscaler starts what is missing, stops what is too many, and says each change", async () => {
  const loop = start([wish(4), wish(4), wish(2), wish(2), wish(2), wish(2)]);
  await loop.polls(2);
  expect(loop.workers).toBe(4);
  await loop.polls(6);
  await loop.end();
  expect(loop.workers).toBe(2);
  expect(loop.lines).toEqual([
    "2 -> 4 workers: 4 wanted of 2 to 6; now sessions need 3.5",
    "4 workers",
    "4 -> 2 workers: 2 wanted of 2 to 6; now sessions need 1.5",
    "2 workers",
  ]);
});

test("an autoscaler changes nothing while nothing is known, and says why once", async () => {
  const loop = start([{ outcome: "none", why: "the store is away: refused" }]);
  await loop.polls(4);
  await loop.end();
  expect(loop.workers).toBe(2);
  expect(loop.lines).toEqual(["2 workers stay: the store is away: refused"]);
});

test("an autoscaler says when more workers are wanted than allowed", async () => {
  const loop = start([wish(9)]);
  await loop.polls(3);
  await loop.end();
  expect(loop.workers).toBe(6);
  expect(loop.lines.at(-1)).toBe("6 workers: 9 are wanted, --max is 6");
});

test("an autoscaler waits while another one works", async () => {
  const loop = start([{ outcome: "standby" }, { outcome: "standby" }, wish(3)]);
  await loop.polls(4);
  await loop.end();
  expect(loop.lines).toEqual([
    "another autoscaler works for this edge; waiting until it ends",
    "2 -> 3 workers: 3 wanted of 2 to 6; now sessions need 2.5",
    "3 workers",
  ]);
});

test("a poll that fails is repeated later, and does not end the loop", async () => {
  const loop = start([new Error("the edge does not answer"), wish(3)]);
  await loop.polls(3);
  await loop.end();
  expect(loop.workers).toBe(3);
  expect(loop.lines[0]).toBe("not changed: the edge does not answer");
});

test("workers of the same edge on other machines count", async () => {
  const others = ["other-1", "other-2"];
  const loop = start([
    wish(5, "worker-1", "worker-2", ...others),
    wish(5, "worker-1", "worker-2", "worker-3", ...others),
  ]);
  await loop.polls(2);
  await loop.end();
  expect(loop.workers).toBe(3);
});

test("a worker that takes no sessions is replaced, and the autoscaler says so", async () => {
  const loop = start([wish(2, "worker-1"), wish(2, "worker-1", "worker-2", "worker-3")]);
  await loop.polls(1);
  await loop.end();
  expect(loop.lines[0]).toBe(
    "2 -> 3 workers: 2 wanted of 2 to 6; now sessions need 1.5; 1 of 2 take no sessions",
  );
});

test("a change of the autoscaler that fails is repeated later", async () => {
  let tries = 0;
  const scale = async (): Promise<void> => {
    tries++;
    throw new Error("worker-3 did not become ready");
  };
  const loop = start([wish(3)], { scale });
  await loop.polls(3);
  await loop.end();
  expect(tries).toBeGreaterThan(1);
  expect(loop.lines).toContain("not changed: worker-3 did not become ready");
});

test("an autoscaler asks on during a long change, so that no other one takes over", async () => {
  let finish = (): void => {};
  const scale = (): Promise<void> =>
    new Promise((resolve) => {
      finish = resolve;
    });
  const loop = start([wish(3)], { scale });
  await loop.polls(5);
  expect(loop.lines).toHaveLength(1);
  finish();
  await loop.end();
});
