/** A worker whose event loop is late gives idle sessions away, a few at a time. */
import { expect, test } from "vitest";
import type { WorkerId } from "../../../shared/base/ids.ts";
import type { EdgeCommand } from "../../../shared/control/command.ts";
import type { WorkerRecord, WorkerState } from "../../../shared/store/member.ts";
import { planRelief, startRelief } from "../../../worker/session-moves/relief.ts";
import { workerRecord } from "../../balancer/rig.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const SELF = { id: "w1" as WorkerId, version: "1.0.0" };

function worker(id: string, sessions: number, more: Partial<WorkerRecord> = {}, lagMs = 0) {
  const load = { sessions, connections: 0, lagMs };
  return workerRecord(id, 3000, { load, version: SELF.version, ...more });
}

/** Both random workers are drawn in turn: the first, then the last. */
function inTurn(): () => number {
  let draws = 0;
  return () => (draws++ % 2 === 0 ? 0 : 0.999);
}

const plan = (...workers: readonly WorkerRecord[]) => planRelief(SELF, workers, inTurn());

test("sessions go to the emptier of two random workers that have time, for their weight", () => {
  const others = [worker("w2", 30), worker("w3", 40, { weight: 2 }), worker("w4", 0, {}, 13)];
  expect(plan(worker("w1", 0), ...others)).toEqual([{ worker: "w3", count: 5 }]);
});

test("workers of an older version get none while there are others", () => {
  const older = worker("w2", 0, { version: "0.9.0" });
  expect(plan(older, worker("w3", 9))).toEqual([{ worker: "w3", count: 5 }]);
  expect(plan(older, worker("w3", 9, {}, 80))).toEqual([{ worker: "w2", count: 5 }]);
});

test.each([
  { why: "it is alone", others: [] },
  { why: "the others are busy too", others: [worker("w2", 1, {}, 40)] },
  { why: "the others accept none", others: [worker("w2", 1, { state: "suspended" })] },
])("no session moves when $why", ({ others }) => {
  expect(plan(worker("w1", 9), ...others)).toEqual([]);
});

function setUp({ state = "up" as WorkerState } = {}) {
  const clock = createStepClock();
  const commands: { atS: number; command: EdgeCommand }[] = [];
  let meanMs = 0;
  const relief = startRelief({
    self: SELF,
    random: inTurn(),
    lag: {
      get recent() {
        return { meanMs, p99Ms: 0, maxMs: 0, utilization: 0, cpu: 0 };
      },
    },
    workers: () => [worker("w1", 9), worker("w2", 1)],
    commandHandler: {
      state,
      async handleCommand(command) {
        commands.push({ atS: clock.nowMs() / 1000 - 1, command });
        return { outcome: "done", message: "" };
      },
    },
    clock,
    log: silentLog(),
  });
  return {
    commands,
    relief,
    pass: (seconds: number, lagMs: number): void => {
      meanMs = lagMs;
      clock.advance(seconds * 1000);
    },
  };
}

test("after half a minute of delay a few idle sessions move, then it waits a minute", () => {
  const { pass, commands, relief } = setUp();
  pass(60, 49);
  pass(25, 60);
  pass(10, 20);
  expect(commands).toEqual([]);
  pass(145, 60);
  const command = { kind: "migrate-idle", moves: [{ worker: "w2", count: 5 }], idleMs: 60_000 };
  expect(commands).toEqual([
    { atS: 120, command },
    { atS: 180, command },
    { atS: 240, command },
  ]);
  relief.close();
  pass(300, 60);
  expect(commands).toHaveLength(3);
});

test("a worker that drains gives nothing away by itself", () => {
  const { pass, commands } = setUp({ state: "draining" });
  pass(120, 500);
  expect(commands).toEqual([]);
});
