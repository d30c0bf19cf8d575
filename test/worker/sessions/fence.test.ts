import { expect, it, onTestFinished } from "vitest";
import { createFence } from "../../../worker/sessions/fence.ts";
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

it("is open before the first beat, and for 4 s after each", () => {
  const { clock, seen, fence, heartbeat } = setUp();
  clock.advance(60_000);
  expect(fence.look()).toBe("open");
  expect(heartbeat()).toBe(false);
  clock.advance(3999);
  expect(fence.look()).toBe("open");
  expect(seen.shut).toBe(0);
});

it("relays nothing from 4 s after the last beat on, shuts by itself before the lease can be over, and stays so until the next beat", () => {
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
  // Others may have acted meanwhile.
  expect(heartbeat()).toBe(true);
  expect(fence.look()).toBe("open");
});

it("does what was held, in order, when balancers find out in time that the store is away for all, and refuses it otherwise", () => {
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

it("stays open while every balancer says that the store is away, and asks for each session when the lease had expired", () => {
  const { clock, seen, fence, heartbeat } = setUp();
  heartbeat();
  seen.isStoreAwayForAll = true;
  clock.advance(60_000);
  expect(fence.look()).toBe("open");
  expect(heartbeat(true)).toBe(true);
  expect(seen.shut).toBe(0);
});

it("stays open for 3 s after the balancers have heard of the store again, so that the next beat gets through", () => {
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

it("a beat that comes first after a long stop does not hide the stop", () => {
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

it("asks for each session after a gap in which a refusal of our port may have been believed", () => {
  const { clock, seen, heartbeat } = setUp();
  heartbeat();
  clock.advance(1400);
  expect(heartbeat()).toBe(false);
  clock.advance(1500);
  expect(heartbeat()).toBe(true);
  expect(seen.shut).toBe(0);
});
