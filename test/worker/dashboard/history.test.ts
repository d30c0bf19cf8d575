/** The history of the edge: steps, who writes them, and how they are read. */
import { describe, expect, test } from "vitest";
import { createStoreState } from "../../../shared/store/embedded/state/state.ts";
import { type Store, StoreAwayError } from "../../../shared/store/store.ts";
import {
  createStep,
  readHistory,
  recordHistory,
  type Sample,
} from "../../../worker/dashboard/history.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock, type StepClock } from "../../support/step-clock.ts";

const NOTHING: Sample = {
  users: null,
  sessions: null,
  connections: null,
  lagMs: null,
  hostedTotal: null,
};

describe("steps", () => {
  test("a history step has means, the peak of the sessions, and how many began since the previous step", () => {
    const step = createStep();
    step.add({ users: 1, sessions: 2, connections: 3, lagMs: 0.5, hostedTotal: 10 });
    expect(step.finish(1000)).toMatchObject({ atMs: 1000, sessions: 2, hosted: null });
    step.add({ users: 2, sessions: 3, connections: 4, lagMs: 1, hostedTotal: 11 });
    step.add({ users: 3, sessions: 9, connections: 5, lagMs: 2.005, hostedTotal: 14 });
    expect(step.finish(2000)).toEqual({
      atMs: 2000,
      users: 2.5,
      sessions: 6,
      peakSessions: 9,
      connections: 4.5,
      lagMs: 1.5,
      hosted: 4,
    });
  });

  test("a history step leaves unknown values null, and does not count them as 0", () => {
    const step = createStep();
    step.add({ ...NOTHING, users: 4 });
    step.add(NOTHING);
    expect(step.finish(1)).toMatchObject({ users: 4, sessions: null, peakSessions: null });
    expect(step.finish(2)).toMatchObject({ users: null, lagMs: null, hosted: null });
  });

  test("a history step has an unknown number of hosted sessions when the total decreased, as after a flush of the store", () => {
    const step = createStep();
    step.add({ ...NOTHING, hostedTotal: 100 });
    step.finish(1);
    step.add({ ...NOTHING, hostedTotal: 2 });
    expect(step.finish(2).hosted).toBeNull();
    step.add({ ...NOTHING, hostedTotal: 5 });
    expect(step.finish(3).hosted).toBe(3);
  });
});

// --- writing and reading, with the real store's state ---

function setUp() {
  const clock = createStepClock();
  const now = () => ({ nowMs: clock.nowMs(), wallMs: clock.wallMs() });
  const state = createStoreState(now());
  let isAway = false;
  const store: Pick<Store, "appendToStream" | "readStream" | "timeMs"> = {
    async timeMs() {
      if (isAway) throw new StoreAwayError("timeMs");
      return clock.wallMs();
    },
    appendToStream: async (...args) => state.operations.appendToStream(now(), ...args),
    readStream: async (...args) => state.operations.readStream(now(), ...args),
  };
  return {
    clock,
    store,
    setAway: (value: boolean) => {
      isAway = value;
    },
  };
}

/** Advances the clock in steps of one sample. */
async function pass(clock: StepClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10_000) {
    clock.advance(10_000);
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }
}

function record(parts: ReturnType<typeof setUp>, sample: () => Sample) {
  const leadership = { isLeading: true };
  const history = recordHistory({
    ...parts,
    log: silentLog(),
    leadership,
    sample: async () => sample(),
  });
  return { leadership, close: () => history.close() };
}

test("an hour, a day and a month of history are kept, each at its resolution and up to its limit", async () => {
  const parts = setUp();
  let hosted = 0;
  const { close } = record(parts, () => ({
    users: 1,
    sessions: 2,
    connections: 3,
    lagMs: 4,
    hostedTotal: hosted++,
  }));
  await pass(parts.clock, 31 * 86_400_000);
  close();
  const lengths = { hour: 360, day: 720, month: 720 };
  for (const [range, length] of Object.entries(lengths)) {
    const { atMs, stepMs, sessions, hosted } = await readHistory(parts.store, range as "hour");
    expect([range, atMs.length]).toEqual([range, length]);
    const steps = new Set(atMs.slice(1).map((at, i) => at - (atMs[i] ?? 0)));
    expect([...steps]).toEqual([stepMs]);
    expect(new Set(sessions)).toEqual(new Set([2]));
    expect(new Set(hosted)).toEqual(new Set([stepMs / 10_000]));
  }
}, 60_000);

test("only the leader writes, and samples from before it lost the lead are dropped", async () => {
  const parts = setUp();
  let sessions = 100;
  const first = record(parts, () => ({ ...NOTHING, sessions }));
  const second = record(parts, () => ({ ...NOTHING, sessions: 1 }));
  second.leadership.isLeading = false;
  await pass(parts.clock, 130_000);
  first.leadership.isLeading = false;
  second.leadership.isLeading = true;
  await pass(parts.clock, 600_000);
  first.leadership.isLeading = true;
  second.leadership.isLeading = false;
  sessions = 7;
  await pass(parts.clock, 600_000);
  const day = await readHistory(parts.store, "day");
  expect(day.atMs).toEqual([...day.atMs].sort((a, b) => a - b));
  expect(new Set(day.sessions)).toEqual(new Set([100, 1, 7]));
  expect(new Set(day.peakSessions)).toEqual(new Set([100, 1, 7]));
  first.close();
  second.close();
});

test("during a store outage nothing is written, and the charts have a gap", async () => {
  const parts = setUp();
  const { close } = record(parts, () => ({ ...NOTHING, users: 5 }));
  await pass(parts.clock, 60_000);
  parts.setAway(true);
  await pass(parts.clock, 120_000);
  parts.setAway(false);
  await pass(parts.clock, 60_000);
  close();
  const { users, atMs } = await readHistory(parts.store, "hour");
  expect(users).toEqual([5, 5, 5, 5, 5, 5, null, 5, 5, 5, 5, 5, 5]);
  expect((atMs[6] ?? 0) - (atMs[5] ?? 0)).toBe(10_000);
});

test("invalid entries in the store are ignored", async () => {
  const good = { ...NOTHING, atMs: 10_000, users: 1, peakSessions: null, hosted: null };
  const texts = ["", "null", "{}", "[1", JSON.stringify({ ...good, users: "1" })];
  const store = {
    readStream: async () =>
      [...texts, JSON.stringify(good)].map((text, i) => ({ id: String(i), text })),
  };
  expect((await readHistory(store, "hour")).atMs).toEqual([10_000]);
});
