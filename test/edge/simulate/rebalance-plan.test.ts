import fc from "fast-check";
import { expect, test } from "vitest";
import {
  GOOD_RATIO,
  type Move,
  planRebalance,
  ratioOf,
} from "../../../edge/simulate/rebalance-plan.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";

function workers(...sessions: readonly number[]) {
  return sessions.map((count, index) => ({ id: `w${index + 1}` as WorkerId, sessions: count }));
}

function after(sessions: readonly number[], moves: readonly Move[]) {
  return workers(...sessions).map(({ id, sessions: before }) => ({
    id,
    sessions:
      before +
      moves.filter(({ to }) => to === id).reduce((sum, { count }) => sum + count, 0) -
      moves.filter(({ from }) => from === id).reduce((sum, { count }) => sum + count, 0),
  }));
}

test("two new workers get sessions until the full one has at most a quarter more than the mean", () => {
  const moves = planRebalance(workers(300, 0, 0));
  expect(moves).toEqual([
    { from: "w1", to: "w2", count: 88 },
    { from: "w1", to: "w3", count: 87 },
  ]);
  expect(ratioOf(after([300, 0, 0], moves))).toBe(1.25);
});

test("no session moves when the ratio is good enough, or without sessions or other workers", () => {
  expect(planRebalance(workers(12, 10, 8))).toEqual([]);
  expect(planRebalance(workers(125, 75))).toEqual([]);
  expect(planRebalance(workers(1, 0))).toEqual([]);
  expect(planRebalance(workers(0, 0, 0))).toEqual([]);
  expect(planRebalance(workers(50))).toEqual([]);
  expect(planRebalance([])).toEqual([]);
});

test("a plan always reaches the good ratio or the evenest one of whole sessions, and no worker both gives and gets", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 8 }),
      (sessions) => {
        const moves = planRebalance(workers(...sessions));
        const then = after(sessions, moves);
        const counts = then.map((worker) => worker.sessions);
        expect(Math.min(...counts)).toBeGreaterThanOrEqual(0);
        expect(
          ratioOf(then) <= GOOD_RATIO + 1e-9 || Math.max(...counts) - Math.min(...counts) <= 1,
        ).toBe(true);
        const givers = new Set(moves.map(({ from }) => from));
        expect(moves.filter(({ to }) => givers.has(to))).toEqual([]);
      },
    ),
  );
});
