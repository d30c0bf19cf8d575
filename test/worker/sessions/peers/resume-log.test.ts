/** What a session's history says about WebSockets that stayed open. */
import { expect, test } from "vitest";
import { createResumeLog } from "../../../../worker/sessions/peers/resume-log.ts";
import { createSkipClock } from "../skip-clock.ts";

function createLog() {
  const clock = createSkipClock();
  const notes: string[] = [];
  return { clock, notes, log: createResumeLog({ clock, note: (cause) => notes.push(cause) }) };
}

const MOVED = { cause: "move", confirmed: 5, repeated: 0, forMs: 20 } as const;

test("WebSockets of one move are one entry, with the longest wait and the messages that were sent again", () => {
  const { clock, notes, log } = createLog();
  log.add(MOVED);
  log.add({ ...MOVED, forMs: 70, repeated: 2 });
  log.add({ ...MOVED, repeated: 3 });
  expect(notes).toEqual([]);
  clock.skip(1000);
  expect(notes).toEqual(["3 connections kept open in a move, gap 70 ms, 5 messages sent again"]);
});

test("a crash is named, and the next move is another entry", () => {
  const { clock, notes, log } = createLog();
  log.add({ ...MOVED, cause: "crash", repeated: 1 });
  clock.skip(1000);
  log.add(MOVED);
  clock.skip(1000);
  clock.skip(1000);
  expect(notes).toEqual([
    "1 connection kept open after a crash, gap 20 ms, 1 message sent again",
    "1 connection kept open in a move, gap 20 ms",
  ]);
});
