import { expect, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { createShutdown } from "../../../shared/process/shutdown.ts";

test("parts are closed in the reverse order of their start, once", async () => {
  const closed: string[] = [];
  const shutdown = createShutdown({ clock: systemClock, report: () => {} });
  for (const part of ["store", "workers", "listener"]) {
    shutdown.add(part, () => void closed.push(part));
  }
  await Promise.all([shutdown.run(1000), shutdown.run(1000)]);
  expect(closed).toEqual(["listener", "workers", "store"]);
});

test("a part that fails is reported, and the others are closed", async () => {
  const reports: string[] = [];
  let closed = false;
  const shutdown = createShutdown({
    clock: systemClock,
    report: (part, problem) => reports.push(`${part}: ${problem}`),
  });
  shutdown.add("store", () => {
    closed = true;
  });
  shutdown.add("listener", () => Promise.reject(new Error("stuck")));
  await shutdown.run(1000);
  expect(reports).toEqual(["listener: stuck"]);
  expect(closed).toBe(true);
});

test("a shutdown does not wait for a hanging part longer than its deadline", async () => {
  const reports: string[] = [];
  const shutdown = createShutdown({ clock: systemClock, report: (part) => reports.push(part) });
  shutdown.add("hanging", () => new Promise(() => {}));
  await shutdown.run(20);
  expect(reports).toEqual(["shutdown"]);
});
