import { expect, test } from "vitest";
import { createIdleTracker } from "../../../worker/sessions/idle.ts";
import { createStepClock } from "../../support/step-clock.ts";

/** The messages of three idle clients in ten seconds: each asks, and each responds to each. */
const IDLE_MESSAGES = 9;
const PEERS = 3;

test("the idle time of a session rises while clients only compare their documents", () => {
  const clock = createStepClock();
  const idle = createIdleTracker(clock);
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < IDLE_MESSAGES; i++) idle.note(PEERS);
    clock.advance(10_000);
  }
  expect(idle.ms).toBe(60_000);
});

test("typing resets the idle time, which rises again some time after the last message", () => {
  const clock = createStepClock();
  const idle = createIdleTracker(clock);
  clock.advance(30_000);
  expect(idle.ms).toBe(30_000);
  for (let i = 0; i < 30; i++) idle.note(PEERS);
  expect(idle.ms).toBe(0);
  clock.advance(10_000);
  expect(idle.ms).toBe(0);
  clock.advance(5000);
  expect(idle.ms).toBe(5000);
});

test("a session without messages is idle", () => {
  const clock = createStepClock();
  const idle = createIdleTracker(clock);
  expect(idle.ms).toBe(0);
  clock.advance(1000);
  expect(idle.ms).toBe(1000);
});

test("somebody who types in a large session is not lost among what idle clients send", () => {
  const clock = createStepClock();
  const idle = createIdleTracker(clock);
  const peers = 30;
  for (let round = 0; round < 180; round++) {
    for (let i = 0; i < peers * peers; i++) idle.note(peers);
    for (let i = 0; i < peers; i++) idle.noteBroadcast(`peer ${i}`);
    for (let i = 0; i < 5; i++) {
      idle.note(peers);
      idle.noteBroadcast("the one who types");
    }
    clock.advance(10_000);
  }
  expect(idle.ms).toBeLessThanOrEqual(10_000);
});

test("what idle clients send to all is no work", () => {
  const clock = createStepClock();
  const idle = createIdleTracker(clock);
  for (let round = 0; round < 6; round++) {
    idle.note(PEERS);
    for (let i = 0; i < 3; i++) idle.noteBroadcast("idle");
    clock.advance(10_000);
  }
  expect(idle.ms).toBe(60_000);
});
