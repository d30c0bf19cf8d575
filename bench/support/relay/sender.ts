/**
 * The thread that sends the messages of load.ts: sleeps until one is due, and writes it to its person's connection. It is a
 * thread because the timers of an event loop are too coarse (1 ms).
 */
import { writeSync } from "node:fs";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { evenSchedule } from "../schedule.ts";
import { nowMs, sleepFor, sleepUntil, wakePrecisely } from "../thread-clock.ts";
import { PONG, type SendOutcome, type SendPlan, writeMark } from "./parts.ts";

/** Pause before another try, when a connection takes nothing more. */
const FULL_PAUSE_MS = 0.2;
/** How long connections that take nothing may hold up the load beyond its end. */
const LATE_MS = 2000;

if (!isMainThread) sendAll(workerData as SendPlan);

function sendAll(plan: SendPlan): void {
  wakePrecisely();
  const schedule = evenSchedule(plan.perSecond, plan.seconds);
  parentPort?.postMessage("ready");
  Atomics.wait(plan.start, 0, 0);
  const startMs = nowMs();
  const endMs = startMs + plan.seconds * 1000 + LATE_MS;
  let sent = 0;
  for (; sent < schedule.count; sent++) {
    sleepUntil(startMs + schedule.dueMs(sent));
    const person = sent % plan.fds.length;
    const frame = plan.frames[person] ?? PONG;
    const fd = plan.fds[person] ?? -1;
    if (Atomics.exchange(plan.pings, person, 0) === 1 && !writeAll(fd, PONG, endMs)) break;
    writeMark(frame, plan.markAt[person] ?? 0, plan.run, sent);
    if (!writeAll(fd, frame, endMs)) break;
  }
  parentPort?.postMessage({ startMs, sent } satisfies SendOutcome);
}

/** False: the connection has not taken all of it until `endMs`. */
function writeAll(fd: number, bytes: Uint8Array, endMs: number): boolean {
  let at = 0;
  for (;;) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
    if (at === bytes.length) return true;
    if (nowMs() > endMs) return false;
    sleepFor(FULL_PAUSE_MS);
  }
}
