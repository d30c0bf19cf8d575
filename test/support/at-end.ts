/**
 * Closes what tests open: at the end of the test that opened it, or of the file if it was opened outside of a test. Modules that
 * call `atEnd` also run in programs without Vitest (benchmarks, fuzzing, processes that tests start), which close it by hand.
 */

export type Close = () => unknown;

let keep: ((close: Close) => void) | undefined;

/** Called once for each test file. */
export function closeWith(keeper: (close: Close) => void): void {
  keep = keeper;
}

/** The last one first, before anything that was opened earlier. Each must bear that the test has closed it already. */
export function atEnd(...closes: readonly Close[]): void {
  // A configuration of Vitest without the setup file would leave everything open.
  if (keep === undefined && "__vitest_worker__" in globalThis) {
    throw new Error("setupFiles of this configuration of Vitest lacks test/support/setup.ts");
  }
  for (const close of closes) keep?.(close);
}

/** Closes it at the end, and returns it. */
export function closeAtEnd<Opened extends { close(): unknown }>(opened: Opened): Opened {
  atEnd(() => opened.close());
  return opened;
}
