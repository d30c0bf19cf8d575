/**
 * The clock of the threads that send load, and sleeps by it that end on time: the timers of an event loop are too coarse
 * (1 ms). A sleep blocks its thread.
 */
import { readlinkSync, writeFileSync } from "node:fs";

/** Never notified: a wait for it is a sleep. */
const SLEEP = new Int32Array(new SharedArrayBuffer(4));

/** The same clock in all threads, unlike `performance.now()`. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Makes the sleeps of this thread precise: by default Linux lets a thread sleep up to 50 µs too long. */
export function wakePrecisely(): void {
  const thread = readlinkSync("/proc/thread-self").split("/").at(-1);
  writeFileSync(`/proc/${thread}/timerslack_ns`, "1");
}

/** `timeMs` is on the clock of `nowMs`. */
export function sleepUntil(timeMs: number): void {
  for (;;) {
    const waitMs = timeMs - nowMs();
    if (waitMs <= 0) return;
    sleepFor(waitMs);
  }
}

export function sleepFor(ms: number): void {
  Atomics.wait(SLEEP, 0, 0, ms);
}
