/** Runs before each test file, also where files share their modules: ties `atEnd` to the end of its tests, or of itself. */
import { afterAll, onTestFinished, TestRunner } from "vitest";
import { type Close, closeWith } from "./at-end.ts";

const ofFile: Close[] = [];

closeWith((close) => {
  const test = TestRunner.getCurrentTest();
  // Of concurrent tests, Vitest does not know which one calls.
  if (test === undefined || test.concurrent) ofFile.push(close);
  else onTestFinished(async () => void (await close()));
});

// Vitest runs it after the file's own.
afterAll(async () => {
  const failures: unknown[] = [];
  for (const close of ofFile.splice(0).reverse()) {
    await Promise.resolve()
      .then(close)
      .catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw new AggregateError(failures, "not all of the file was closed");
});
