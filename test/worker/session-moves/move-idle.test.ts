import { expect, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { createRing } from "../../../shared/membership/ring.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { createCommandHandler } from "../../../worker/session-moves/command-handler.ts";
import { countIdle, migrateIdleSessions } from "../../../worker/session-moves/move-idle.ts";
import type { Session } from "../../../worker/sessions/session.ts";
import { silentLog } from "../../support/logs.ts";
import { until } from "../../support/until.ts";

const log = silentLog();
const [W2, W3] = ["w2", "w3"] as [WorkerId, WorkerId];

/** Sessions that have been idle for that many seconds each, and where each went. */
function sessionsIdleFor(...seconds: readonly number[]) {
  const gone: string[] = [];
  const sessions = seconds.map((idleS) => {
    const session = {
      id: `${idleS}`,
      isOpen: true,
      idleMs: idleS * 1000,
      async handOver(successor: WorkerId) {
        gone.push(`${idleS} to ${successor}`);
        session.isOpen = false;
        return "handed";
      },
    };
    return session as unknown as Session;
  });
  return { registry: { sessions: () => sessions }, gone };
}

function moveIdle(
  registry: { sessions: () => Iterable<Session> },
  moves: readonly { worker: WorkerId; count: number }[],
  isWanted = () => true,
) {
  const states: Record<string, WorkerRecord["state"]> = { w2: "up", w3: "draining", w4: "up" };
  const deps = {
    self: "w1" as WorkerId,
    registry,
    view: {
      ring: createRing([], Buffer.alloc(32)),
      worker: (id: WorkerId) => ({ id, state: states[id] }) as WorkerRecord,
    },
    clock: systemClock,
    log,
    counters: createCounters(),
    sendPendingMessages: async () => {},
    sendResume: async () => {},
    random: () => 0,
  };
  return migrateIdleSessions(deps, { moves, idleMs: 60_000 }, isWanted);
}

test("sessions that have been idle for longest move first, and sessions in use stay", async () => {
  const { registry, gone } = sessionsIdleFor(61, 3, 500, 90, 59);
  expect(countIdle(registry, 60_000)).toBe(3);
  const moves = [
    { worker: W2, count: 1 },
    { worker: "w4" as WorkerId, count: 5 },
  ];
  expect(await moveIdle(registry, moves)).toBe(3);
  expect(gone).toEqual(["500 to w2", "90 to w4", "61 to w4"]);
});

test("no more sessions move than were asked for, none to a worker that accepts none, and none after a cancellation", async () => {
  const { registry, gone } = sessionsIdleFor(100, 200, 300, 400);
  expect(await moveIdle(registry, [{ worker: W2, count: 1 }])).toBe(1);
  expect(await moveIdle(registry, [{ worker: W3, count: 2 }])).toBe(0);
  let asked = 0;
  expect(await moveIdle(registry, [{ worker: W2, count: 9 }], () => ++asked <= 2)).toBe(2);
  expect(gone).toEqual(["400 to w2", "300 to w2", "200 to w2"]);
});

test("a worker serves one request to move idle sessions at a time, only while it accepts sessions itself, and stops for a drain", async () => {
  let wanted = (): boolean => false;
  let finish = (_moved: number): void => {};
  const handler = createCommandHandler({
    registry: { live: () => undefined, load: { sessions: 5, connections: 5 } },
    refresh: async () => {},
    startDrain: () => ({ left: 5, over: new Promise(() => {}), stop() {} }),
    migrateIdleSessions: (_, isWanted) => {
      wanted = isWanted;
      return new Promise((resolve) => {
        finish = resolve;
      });
    },
    countIdle: () => 2,
    log,
    hasSuccessor: () => true,
  });
  const request = { kind: "migrate-idle", moves: [{ worker: W2, count: 3 }], idleMs: 0 } as const;
  expect(await handler.handleCommand(request)).toEqual({
    outcome: "done",
    message: "2 of 3 sessions are idle",
    detail: 2,
  });
  expect(await handler.handleCommand(request)).toMatchObject({ outcome: "refused" });
  expect(wanted()).toBe(true);
  await handler.handleCommand({ kind: "drain" });
  expect(wanted()).toBe(false);
  finish(1);
  await handler.handleCommand({ kind: "suspend" });
  expect(await handler.handleCommand(request)).toEqual({
    outcome: "refused",
    message: "the worker is suspended",
  });
  await handler.handleCommand({ kind: "resume" });
  await until(
    "it moves sessions again",
    async () => (await handler.handleCommand(request)).outcome === "done",
  );
});
