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
  const beat = (expired = false) => fence.noteBeat({ sentMs: clock.nowMs(), expired });
  return { clock, seen, fence, beat };
}

it("is open before the first beat, and for 4 s after each", () => {
  const { clock, seen, fence, beat } = setUp();
  clock.advance(60_000);
  expect(fence.check()).toBe(true);
  expect(beat()).toBe(false);
  clock.advance(3999);
  expect(fence.check()).toBe(true);
  expect(seen.shut).toBe(0);
});

it("shuts by itself 4 s after the last beat, once, and stays shut until the next one", () => {
  const { clock, seen, fence, beat } = setUp();
  beat();
  clock.advance(4000);
  expect(seen.shut).toBe(1);
  seen.isStoreAwayForAll = true;
  expect(fence.check()).toBe(false);
  clock.advance(10_000);
  expect(seen.shut).toBe(1);
  // Others may have acted meanwhile.
  expect(beat()).toBe(true);
  expect(fence.check()).toBe(true);
});

it("stays open while every balancer says that the store is away, and asks for each session when the lease had expired", () => {
  const { clock, seen, fence, beat } = setUp();
  beat();
  seen.isStoreAwayForAll = true;
  clock.advance(60_000);
  expect(fence.check()).toBe(true);
  expect(beat(true)).toBe(true);
  expect(seen.shut).toBe(0);
});

it("stays open for 3 s after the balancers have heard of the store again, so that the next beat gets through", () => {
  const { clock, seen, fence, beat } = setUp();
  beat();
  seen.isStoreAwayForAll = true;
  clock.advance(10_000);
  seen.isStoreAwayForAll = false;
  clock.advance(2750);
  expect(fence.check()).toBe(true);
  clock.advance(250);
  expect(fence.check()).toBe(false);
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
  fence.noteBeat({ sentMs: 0, expired: false });
  nowMs = 20_000;
  expect(fence.noteBeat({ sentMs: 20_000, expired: false })).toBe(true);
  expect(shut).toEqual([20_000]);
});

it("asks for each session after a gap in which a refusal of our port may have been believed", () => {
  const { clock, seen, beat } = setUp();
  beat();
  clock.advance(1400);
  expect(beat()).toBe(false);
  clock.advance(1500);
  expect(beat()).toBe(true);
  expect(seen.shut).toBe(0);
});
