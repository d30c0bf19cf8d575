import { expect, test } from "vitest";
import { createIdleTracker } from "../../../worker/sessions/idle.ts";
import { createStepClock } from "../../support/step-clock.ts";

/** What three clients that are only open say in ten seconds: each asks, and each answers each. */
const IDLE_MESSAGES = 9;
const PEERS = 3;

test("a session in which clients only compare their documents becomes calmer and calmer", () => {
  const clock = createStepClock();
  const idle = createIdleTracker(clock);
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < IDLE_MESSAGES; i++) idle.note(PEERS);
    clock.advance(10_000);
  }
  expect(idle.ms).toBe(60_000);
});

test("somebody who types ends the calm, until some time after the last word", () => {
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

test("a session in which nobody is heard is calm", () => {
  const clock = createStepClock();
  const idle = createIdleTracker(clock);
  expect(idle.ms).toBe(0);
  clock.advance(1000);
  expect(idle.ms).toBe(1000);
});
