/** People who are taken out of a worker's sessions, because their sign-in has ended or the store has lost it. */

import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import { expect, test } from "vitest";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { StoreAwayError } from "../../../shared/store/store.ts";
import { followEndedSignIns } from "../../../worker/login/identity/ended-sign-ins.ts";
import type { Session } from "../../../worker/sessions/session.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

/** One session with these people, and the store as its worker sees it. */
function follow(signIns: readonly string[]) {
  const clock = createStepClock();
  const known = new Set(signIns);
  const entries: { id: string; text: string }[] = [];
  const out: string[] = [];
  const noted: string[] = [];
  const dropped: string[] = [];
  const revoked: string[] = [];
  let isAway = false;
  let looks = 0;
  const session = {
    isHeld: true,
    peers: signIns.map((signIn) => ({ record: { user: { signIn } } })),
    signOut: (id: string, message: string) => out.push(`${id}: ${message}`),
  };
  const ended = followEndedSignIns({
    store: {
      deferred: {
        async readStream(_stream, { after = "0" }) {
          if (isAway) throw new StoreAwayError("test");
          return entries.filter(({ id }) => Number(id) > Number(after));
        },
      },
      async appendToStream(_stream, [text = ""]) {
        entries.push({ id: String(entries.length + 1), text });
      },
      endSignIn: async (id) => void revoked.push(id),
    },
    records: {
      async exists(id) {
        looks++;
        return known.has(id);
      },
      drop: (id) => dropped.push(id),
    },
    onEnded: () => {},
    tokens: { noteEnded: (id) => noted.push(id) },
    sessions: () => [session as unknown as Session],
    counters: createCounters(),
    clock,
    log: silentLog(),
  });
  return {
    ...{ known, out, noted, dropped, revoked, session, ended },
    get looks() {
      return looks;
    },
    setAway(away: boolean): void {
      isAway = away;
    },
    end(id: string): void {
      const text = JSON.stringify({ id, cause: "refused", message: "over", untilMs: 1 });
      entries.push({ id: String(entries.length + 1), text });
    },
    garbage(text: string): void {
      entries.push({ id: String(entries.length + 1), text });
    },
    async pass(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= 1000) {
        clock.advance(1000);
        for (let i = 0; i < 10; i++) await turnOfTheLoop();
      }
    },
  };
}

test("a person whose sign-in has ended is out within 5 s, nobody else is, and the end is remembered for a flush", async () => {
  const worker = follow(["a", "b"]);
  await worker.pass(3000);
  worker.end("a");
  worker.garbage("not JSON");
  worker.garbage('{"id":"b"}');
  await worker.pass(4000);
  expect(new Set(worker.out)).toEqual(new Set(["a: over"]));
  expect(worker.noted).toEqual(["a"]);
  expect(worker.dropped).toEqual(["a"]);
});

test("a person who comes later with an ended sign-in is out too, also when the store was away meanwhile", async () => {
  const worker = follow(["a"]);
  const { peers } = worker.session;
  worker.session.peers = [];
  worker.setAway(true);
  worker.end("a");
  await worker.pass(10_000);
  worker.setAway(false);
  await worker.pass(4000);
  worker.session.peers = peers;
  await worker.pass(4000);
  expect(worker.out[0]).toBe("a: over");
});

test("a sign-in that the store has lost ends, but not one that is back soon", async () => {
  const worker = follow(["a", "b"]);
  await worker.pass(3000);
  worker.known.clear();
  await worker.pass(303_000);
  expect(worker.out).toEqual([]);
  worker.known.add("b");
  await worker.pass(20_000);
  // For all workers, and for its tokens.
  expect(worker.revoked).toEqual(["a"]);
  expect(new Set(worker.out)).toEqual(
    new Set(["a: Your sign-in is no longer known to this server. Sign in again."]),
  );
});

test("a thousand people cost a bounded number of questions", async () => {
  const worker = follow(Array.from({ length: 1000 }, (_, i) => `s${i}`));
  await worker.pass(10_000);
  expect(worker.looks).toBeLessThanOrEqual(300);
  await worker.pass(50_000);
  expect(worker.looks).toBe(1000);
  await worker.pass(100_000);
  expect(worker.looks).toBe(1000);
});

test("a worker that serves a session no longer leaves its people to the next one", async () => {
  const worker = follow(["a"]);
  worker.session.isHeld = false;
  worker.end("a");
  await worker.pass(10_000);
  expect(worker.out).toEqual([]);
});
