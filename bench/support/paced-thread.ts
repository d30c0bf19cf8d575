/**
 * The thread that writes the requests of paced-sender.ts: sleeps until one is due, and writes it to a connection without an
 * open request. It is a thread because the timers of an event loop are too coarse (1 ms) for 6,000 requests a second.
 */
import { writeSync } from "node:fs";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { evenSchedule } from "./schedule.ts";
import { nowMs, sleepFor, sleepUntil, wakePrecisely } from "./thread-clock.ts";

/** What both threads see. */
export interface Shared {
  readonly fds: readonly number[];
  readonly path: string;
  readonly perSecond: number;
  readonly seconds: number;
  /** One element: 1 when the thread may start. */
  readonly start: Int32Array;
  /** One per connection: 1 while a request is open. */
  readonly isOpen: Int32Array;
  /** One per connection: when its open request was due, on the clock of `nowMs`. */
  readonly dueAtMs: Float64Array;
}

/** Times are those of `nowMs`. */
export interface SenderOutcome {
  readonly sent: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** Pause before another look for a free connection, when all of them wait for a response. */
const BUSY_PAUSE_MS = 0.2;

if (!isMainThread) sendAll(workerData as Shared);

function sendAll(shared: Shared): void {
  wakePrecisely();
  const request = Buffer.from(`GET ${shared.path} HTTP/1.1\r\nHost: bench.example.com\r\n\r\n`);
  const schedule = evenSchedule(shared.perSecond, shared.seconds);
  parentPort?.postMessage("ready");
  Atomics.wait(shared.start, 0, 0);
  const startMs = nowMs();
  const endMs = startMs + shared.seconds * 1000;
  let sent = 0;
  while (sent < schedule.count) {
    const dueMs = startMs + schedule.dueMs(sent);
    sleepUntil(dueMs);
    const index = freeConnection(shared.isOpen, sent, endMs);
    if (index === undefined) break;
    shared.dueAtMs[index] = dueMs;
    Atomics.store(shared.isOpen, index, 1);
    writeSync(shared.fds[index] ?? -1, request);
    sent++;
  }
  parentPort?.postMessage({ sent, startMs, endMs: nowMs() } satisfies SenderOutcome);
}

/** The next connection in turn that has no open request. Waits for one until `endMs`. */
function freeConnection(isOpen: Int32Array, from: number, endMs: number): number | undefined {
  for (;;) {
    for (let i = 0; i < isOpen.length; i++) {
      const index = (from + i) % isOpen.length;
      if (Atomics.load(isOpen, index) === 0) return index;
    }
    if (nowMs() > endMs) return undefined;
    sleepFor(BUSY_PAUSE_MS);
  }
}
