/** Sessions end when they reach a limit of time, each for its own reason. */
import { beforeEach, expect, test } from "vitest";
import type { Limits } from "../../../shared/policy/policy.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { watchSessionLimits } from "../../../worker/policy/session-limits.ts";
import type { Session } from "../../../worker/sessions/session.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";

let clock: StepClock;
let limits: Limits | undefined | "away";
let ends: string[];
let people: number;
let idleMs: number;

beforeEach(() => {
  clock = createStepClock();
  [limits, ends, people, idleMs] = [{}, [], 2, 0];
  const createdMs = clock.wallMs();
  const session = {
    isHeld: true,
    createdMs,
    get idleMs() {
      return idleMs;
    },
    get peers() {
      return Array.from({ length: people }, (_, index) => ({
        record: { host: index === 0, user: { id: `u${index}`, name: "" } },
        send: () => {},
      }));
    },
    end: (cause: string) => void ends.push(cause),
  } as unknown as Session;
  const watch = watchSessionLimits({
    access: {
      async timeLimitsOf() {
        if (limits === "away") throw new StoreAwayError("findSignIns");
        return limits;
      },
    },
    sessions: () => [session],
    clock,
    log: silentLog(),
  });
  return () => watch.close();
});

/** One look in each five seconds. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 5000) {
    clock.advance(5000);
    await new Promise(setImmediate);
  }
}

test("a session that is open for too long ends", async () => {
  limits = { longestMs: 60_000 };
  await pass(55_000);
  expect(ends).toEqual([]);
  await pass(5000);
  expect(ends).toEqual(["open too long"]);
});

test("a session that is idle for too long ends", async () => {
  limits = { idleMs: 60_000 };
  await pass(100_000);
  expect(ends).toEqual([]);
  idleMs = 60_000;
  await pass(5000);
  expect(ends).toEqual(["idle too long"]);
});

test("a session whose host is alone for too long ends, and that time begins again with each guest", async () => {
  limits = { aloneMs: 60_000 };
  people = 1;
  await pass(50_000);
  people = 2;
  await pass(5000);
  people = 1;
  await pass(60_000);
  expect(ends).toEqual([]);
  await pass(5000);
  expect(ends).toEqual(["host alone too long"]);
});

test("no session ends while its host's limits are not known", async () => {
  limits = "away";
  await pass(100_000);
  limits = undefined;
  await pass(100_000);
  expect(ends).toEqual([]);
  limits = { longestMs: 1000 };
  await pass(5000);
  expect(ends).toEqual(["open too long"]);
});
