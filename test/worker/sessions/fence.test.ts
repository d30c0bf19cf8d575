import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { askedOncePerTurn, createFence } from "../../../worker/sessions/fence.ts";
import { createStepClock } from "../../support/step-clock.ts";

function setUp() {
  const clock = createStepClock();
  const seen = { shut: 0, isStoreAwayForAll: false };
  const fence = createFence({
    clock,
    isStoreAwayForAll: () => seen.isStoreAwayForAll,
    onShut: () => {
      seen.shut++;
    },
  });
  onTestFinished(() => fence.close());
  const heartbeat = (expired = false) => fence.noteHeartbeat({ sentMs: clock.nowMs(), expired });
  return { clock, seen, fence, heartbeat };
}

it("the fence is open before the first heartbeat and for 4 s after each one", () => {
  const { clock, seen, fence, heartbeat } = setUp();
  clock.advance(60_000);
  expect(fence.look()).toBe("open");
  expect(heartbeat()).toBe(false);
  clock.advance(3999);
  expect(fence.look()).toBe("open");
  expect(seen.shut).toBe(0);
});

it("the fence relays nothing 4 s after the last heartbeat, and shuts by itself from before the lease ends to the next heartbeat", () => {
  const { clock, seen, fence, heartbeat } = setUp();
  heartbeat();
  clock.advance(4000);
  expect(fence.look()).toBe("undecided");
  clock.advance(749);
  expect(fence.look()).toBe("undecided");
  expect(seen.shut).toBe(0);
  clock.advance(1);
  expect(fence.look()).toBe("shut");
  expect(seen.shut).toBe(1);
  seen.isStoreAwayForAll = true;
  expect(fence.look()).toBe("shut");
  clock.advance(10_000);
  expect(seen.shut).toBe(1);
  // Other workers may have taken over in the meantime.
  expect(heartbeat()).toBe(true);
  expect(fence.look()).toBe("open");
});

it("held work runs in order when balancers report in time that the store is away for all, and is refused otherwise", () => {
  const { clock, seen, fence, heartbeat } = setUp();
  const done: string[] = [];
  const hold = (what: string) =>
    fence.hold({ run: () => done.push(what), refuse: () => done.push(`not ${what}`) });
  heartbeat();
  clock.advance(4100);
  hold("one");
  hold("two");
  seen.isStoreAwayForAll = true;
  clock.advance(250);
  expect(done).toEqual(["one", "two"]);
  heartbeat();
  seen.isStoreAwayForAll = false;
  clock.advance(4100);
  hold("three");
  clock.advance(1000);
  expect(done).toEqual(["one", "two", "not three"]);
  expect(seen.shut).toBe(1);
});

it("the fence stays open while every balancer reports the store away, and sessions are confirmed when the lease had expired", () => {
  const { clock, seen, fence, heartbeat } = setUp();
  heartbeat();
  seen.isStoreAwayForAll = true;
  clock.advance(60_000);
  expect(fence.look()).toBe("open");
  expect(heartbeat(true)).toBe(true);
  expect(seen.shut).toBe(0);
});

it("the fence stays open for 3 s after balancers reach the store again, so that the next heartbeat succeeds", () => {
  const { clock, seen, fence, heartbeat } = setUp();
  heartbeat();
  seen.isStoreAwayForAll = true;
  clock.advance(10_000);
  seen.isStoreAwayForAll = false;
  clock.advance(2750);
  expect(fence.look()).toBe("open");
  clock.advance(250);
  expect(fence.look()).toBe("shut");
  expect(seen.shut).toBe(1);
});

it("a heartbeat that comes first after a stopped process resumes does not hide the gap", () => {
  let nowMs = 0;
  const shut: number[] = [];
  const fence = createFence({
    clock: { ...createStepClock(), nowMs: () => nowMs },
    isStoreAwayForAll: () => false,
    onShut: () => shut.push(nowMs),
  });
  fence.noteHeartbeat({ sentMs: 0, expired: false });
  nowMs = 20_000;
  expect(fence.noteHeartbeat({ sentMs: 20_000, expired: false })).toBe(true);
  expect(shut).toEqual([20_000]);
});

it("each session is confirmed after a gap in which a refused connection to this worker may have counted as evidence", () => {
  const { clock, seen, heartbeat } = setUp();
  heartbeat();
  clock.advance(1400);
  expect(heartbeat()).toBe(false);
  clock.advance(1500);
  expect(heartbeat()).toBe(true);
  expect(seen.shut).toBe(0);
});

it("for input, an open fence is asked once in a turn, and again in the next one", async () => {
  const { clock, fence, heartbeat } = setUp();
  heartbeat();
  let looks = 0;
  const forInput = askedOncePerTurn({
    look() {
      looks++;
      return fence.look();
    },
    hold: (work) => fence.hold(work),
  });
  expect([forInput.look(), forInput.look(), forInput.look()]).toEqual(["open", "open", "open"]);
  expect(looks).toBe(1);
  clock.advance(4000);
  await nextTurn();
  expect([forInput.look(), forInput.look()]).toEqual(["undecided", "undecided"]);
  expect(looks).toBe(3);
});
