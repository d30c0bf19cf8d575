/** When a client is read: neither while it floods nor while its WebSocket is about to move. */
import { expect, test } from "vitest";
import { createCounters } from "../../../../shared/metrics/metrics.ts";
import { InputLimit } from "../../../../worker/sessions/transport/input-limit.ts";
import { createSkipClock } from "../skip-clock.ts";

function createLimit(maxMessagesPerSecond = 10) {
  const clock = createSkipClock();
  const counters = createCounters();
  const limit = new InputLimit({ clock, counters, maxMessagesPerSecond });
  const source = { isPaused: false, pause() {}, resume() {} };
  source.pause = () => {
    source.isPaused = true;
  };
  source.resume = () => {
    source.isPaused = false;
  };
  limit.readFrom(source);
  /** Sends until it is slowed down. */
  const flood = (): void => {
    for (let sent = 0; limit.resumed() === undefined; sent++) {
      if (sent > 100_000) throw new Error("it is never slowed down");
      limit.spend();
    }
  };
  return { clock, counters, limit, source, flood };
}

test("a client that is held is not read until it is released", () => {
  const { limit, source } = createLimit();
  limit.hold();
  expect(source.isPaused).toBe(true);
  limit.release();
  expect(source.isPaused).toBe(false);
});

test("a client that is released while it floods is not read before it may send again", () => {
  const { limit, source, clock, flood } = createLimit();
  flood();
  limit.hold();
  limit.release();
  expect(source.isPaused).toBe(true);
  clock.skip(60_000);
  expect(source.isPaused).toBe(false);
});

test("a client that may send again while it is held is not read before it is released", () => {
  const { limit, source, clock, flood } = createLimit();
  limit.hold();
  flood();
  clock.skip(60_000);
  expect(limit.resumed()).toBeUndefined();
  expect(source.isPaused).toBe(true);
  limit.release();
  expect(source.isPaused).toBe(false);
});

test.each([
  ["held", (limit: InputLimit) => limit.hold()],
  ["slowed down", (_limit: InputLimit, flood: () => void) => flood()],
])("a WebSocket that a client opens while it is %s is not read either", (_what, stop) => {
  const { limit, flood } = createLimit();
  stop(limit, flood);
  let isPaused = false;
  limit.readFrom({
    pause() {
      isPaused = true;
    },
    resume() {
      isPaused = false;
    },
  });
  expect(isPaused).toBe(true);
});

test("requests of a client that polls wait while it floods, and each flood is counted once", async () => {
  const { limit, clock, counters, flood } = createLimit();
  limit.readFrom(undefined);
  flood();
  limit.spend();
  const resumed = limit.resumed();
  clock.skip(60_000);
  await resumed;
  expect(limit.resumed()).toBeUndefined();
  expect(counters.value("worker.floods_slowed")).toBe(1);
});

test("a connection that has ended is neither paused nor resumed, and nothing waits for it", async () => {
  const { limit, source, clock, flood } = createLimit();
  flood();
  const resumed = limit.resumed();
  limit.close();
  await resumed;
  source.isPaused = true;
  clock.skip(60_000);
  expect(source.isPaused).toBe(true);
});
