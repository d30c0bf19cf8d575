/**
 * Ends of sign-ins are recorded by one worker, whichever leads, also those that nobody has recorded meanwhile; not those from before
 * anything was recorded, whose time is not known.
 */
import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import { expect, test } from "vitest";
import { endSignIn } from "../../../shared/sign-ins/sign-in.ts";
import { signOutByOperator } from "../../../shared/sign-ins/sign-out.ts";
import { createStoreState } from "../../../shared/store/embedded/state/state.ts";
import { type Store, StoreAwayError } from "../../../shared/store/store.ts";
import { recordEndedSignIns } from "../../../worker/login/identity/record-ended-sign-ins.ts";
import { recordedActivity } from "../../support/activity.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";

const SENDER = { name: "olga@build-7", way: "ct-edge" };

function sharedEdge() {
  const clock = createStepClock();
  const time = () => ({ nowMs: clock.nowMs(), wallMs: clock.wallMs() });
  const { operations } = createStoreState(time());
  let isAway = false;
  const call = (name: "appendToStream" | "readStream" | "endSignIn") => {
    const operation = operations[name] as (...all: unknown[]) => unknown;
    return async (...args: unknown[]): Promise<unknown> => {
      if (isAway) throw new StoreAwayError(name);
      return operation(time(), ...args);
    };
  };
  const store = {
    appendToStream: call("appendToStream") as Store["appendToStream"],
    endSignIn: call("endSignIn") as Store["endSignIn"],
    deferred: { readStream: call("readStream") as Store["readStream"] },
  };
  const log = silentLog();
  return {
    store,
    setAway(away: boolean): void {
      isAway = away;
    },
    worker() {
      const recorded = recordedActivity();
      const leadership = { isLeading: false };
      const { activity } = recorded;
      const recording = recordEndedSignIns({ store, leadership, activity, clock, log });
      return { ...recorded, leadership, close: () => recording.close() };
    },
    async end(id: string): Promise<void> {
      const signIn = { id, untilMs: 1e12, user: { id: `user of ${id}`, name: "Ada" } };
      if (id.startsWith("operator")) await signOutByOperator(store, [signIn], SENDER);
      else await endSignIn(store, signIn, "refused", "Sign in again.");
    },
    async pass(): Promise<void> {
      for (let poll = 0; poll < 3; poll++) {
        clock.advance(2000);
        for (let turn = 0; turn < 6; turn++) await turnOfTheLoop();
      }
    },
  };
}

test("each end of a sign-in is recorded once, also over changes of the leader and while nobody leads", async () => {
  const edge = sharedEdge();
  const [first, second] = [edge.worker(), edge.worker()];
  await edge.end("before");
  first.leadership.isLeading = true;
  await edge.pass();
  await edge.end("operator's");
  await edge.pass();
  expect(first.lines()).toEqual(["sign-in.ended, operator olga@build-7, user Ada, operator"]);
  first.close();
  await edge.end("while nobody leads");
  await edge.pass();
  second.leadership.isLeading = true;
  edge.setAway(true);
  await edge.pass();
  edge.setAway(false);
  await edge.pass();
  expect(second.events.map(({ id }) => id)).toEqual(["sign-in.ended/while nobody leads"]);
  const restarted = edge.worker();
  restarted.leadership.isLeading = true;
  await edge.pass();
  expect(restarted.events).toEqual([]);
  second.close();
  restarted.close();
});
