import { expect, test } from "vitest";
import { startPeriodicTask, startRestingTask } from "../../../shared/base/periodic-task.ts";
import { createStepClock } from "../../support/step-clock.ts";

/** Work that ends when the test says so. */
function heldWork() {
  const begun: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const errors: unknown[] = [];
  return {
    begun,
    errors,
    work: (): Promise<void> =>
      new Promise<void>((resolve, reject) => void begun.push({ resolve, reject })),
    onError: (error: unknown) => void errors.push(error),
  };
}

test("a periodic task runs after each period", async () => {
  const clock = createStepClock();
  const { begun, ...options } = heldWork();
  const task = startPeriodicTask({ ...options, clock, periodMs: 100 });
  expect(begun).toHaveLength(0);
  for (let run = 1; run <= 3; run++) {
    clock.advance(100);
    expect(begun).toHaveLength(run);
    begun[run - 1]?.resolve();
    await task.settled();
  }
});

test("a periodic task that starts now runs at once", () => {
  const clock = createStepClock();
  const { begun, ...options } = heldWork();
  startPeriodicTask({ ...options, clock, periodMs: 100, startsNow: true });
  expect(begun).toHaveLength(1);
});

test("periods that pass during a run are left out", async () => {
  const clock = createStepClock();
  const { begun, ...options } = heldWork();
  const task = startPeriodicTask({ ...options, clock, periodMs: 100 });
  clock.advance(350);
  expect(begun).toHaveLength(1);
  begun[0]?.resolve();
  await task.settled();
  clock.advance(49);
  expect(begun).toHaveLength(1);
  clock.advance(1);
  expect(begun).toHaveLength(2);
});

test("periods in which there is nothing to do do not hide the next", () => {
  const clock = createStepClock();
  let asked = 0;
  startPeriodicTask({
    clock,
    periodMs: 100,
    work: () => {
      asked++;
      return undefined;
    },
  });
  clock.advance(300);
  expect(asked).toBe(3);
});

test("a run on demand joins the one in progress", async () => {
  const clock = createStepClock();
  const { begun, ...options } = heldWork();
  const task = startPeriodicTask({ ...options, clock, periodMs: 100 });
  const first = task.run();
  const second = task.run();
  expect(begun).toHaveLength(1);
  begun[0]?.resolve();
  await Promise.all([first, second]);
});

test("a run that fails is reported, and the next one follows", async () => {
  const clock = createStepClock();
  const { begun, errors, ...options } = heldWork();
  const task = startPeriodicTask({ ...options, clock, periodMs: 100 });
  clock.advance(100);
  const failure = new Error("once");
  begun[0]?.reject(failure);
  await task.settled();
  expect(errors).toEqual([failure]);
  clock.advance(100);
  expect(begun).toHaveLength(2);
});

test("after its end a periodic task runs on demand only, and its last run can be awaited", async () => {
  const clock = createStepClock();
  const { begun, ...options } = heldWork();
  const task = startPeriodicTask({ ...options, clock, periodMs: 100 });
  clock.advance(100);
  task.close();
  let isOver = false;
  const settled = task.settled().then(() => {
    isOver = true;
  });
  await Promise.resolve();
  expect(isOver).toBe(false);
  begun[0]?.resolve();
  await settled;
  clock.advance(1000);
  expect(begun).toHaveLength(1);
  void task.run();
  expect(begun).toHaveLength(2);
});

test("a resting task rests after each run for the time that it is told then", async () => {
  const clock = createStepClock();
  const { begun, ...options } = heldWork();
  const rests = [10, 500, 20];
  const task = startRestingTask({ ...options, clock, restMs: () => rests.shift() ?? 0 });
  clock.advance(10);
  expect(begun).toHaveLength(1);
  clock.advance(10_000);
  expect(begun).toHaveLength(1);
  begun[0]?.resolve();
  await task.settled();
  await expect.poll(() => rests.length).toBe(1);
  clock.advance(499);
  expect(begun).toHaveLength(1);
  clock.advance(1);
  expect(begun).toHaveLength(2);
});

test("a resting task that is closed during a run does not run again", async () => {
  const clock = createStepClock();
  const { begun, errors, ...options } = heldWork();
  const task = startRestingTask({ ...options, clock, restMs: () => 10, startsNow: true });
  expect(begun).toHaveLength(1);
  task.close();
  begun[0]?.reject(new Error("at the end"));
  await task.settled();
  await expect.poll(() => errors.length).toBe(1);
  clock.advance(1000);
  expect(begun).toHaveLength(1);
});
