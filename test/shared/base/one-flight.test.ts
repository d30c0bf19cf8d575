import { expect, test } from "vitest";
import { coalesced, oneFlight, oneFlightPerKey } from "../../../shared/base/one-flight.ts";

/** Work that ends when the test says so. */
function heldWork() {
  const begun: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => void begun.push({ resolve, reject }));
  return { begun, work };
}

test("calls during a run share it, and the next call starts another", async () => {
  let runs = 0;
  const run = oneFlight(async () => ++runs);
  expect(await Promise.all([run(), run(), run()])).toEqual([1, 1, 1]);
  expect(await run()).toBe(2);
});

test("all who share a run that fails get its failure, and the next call starts another", async () => {
  let runs = 0;
  const run = oneFlight(async () => {
    runs++;
    if (runs === 1) throw new Error("once");
    return runs;
  });
  const both = await Promise.allSettled([run(), run()]);
  expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await run()).toBe(2);
});

test("a run that is shared has the arguments of the call that started it", async () => {
  const run = oneFlight(async (text: string) => text);
  expect(await Promise.all([run("a"), run("b")])).toEqual(["a", "a"]);
});

test("calls for different keys run side by side", async () => {
  const keys: string[] = [];
  const run = oneFlightPerKey(async (key: string) => keys.push(key));
  expect(await Promise.all([run("a"), run("b"), run("a")])).toEqual([1, 2, 1]);
  expect(await run("a")).toBe(3);
  expect(keys).toEqual(["a", "b", "a"]);
});

test("calls during a coalesced run share one more run after it", async () => {
  const { begun, work } = heldWork();
  const run = coalesced(work);
  const first = run();
  const others = [run(), run()];
  expect(begun).toHaveLength(1);
  begun[0]?.resolve();
  await expect.poll(() => begun.length).toBe(2);
  let isOver = false;
  void first.then(() => {
    isOver = true;
  });
  await Promise.resolve();
  expect(isOver).toBe(false);
  begun[1]?.resolve();
  await Promise.all([first, ...others]);
  expect(begun).toHaveLength(2);
});

test("a coalesced run that is called for at the moment it ends is not lost", async () => {
  let runs = 0;
  const run = coalesced(async () => {
    runs++;
  });
  // One call in each of the steps in which a run ends.
  for (let step = 0; step < 20; step++) {
    void run();
    const before = runs;
    for (let i = 0; i < step; i++) await Promise.resolve();
    await run();
    expect(runs).toBeGreaterThan(before);
  }
});

test("after a coalesced run has failed, the next call runs again", async () => {
  const { begun, work } = heldWork();
  const run = coalesced(work);
  const first = run();
  const second = run();
  begun[0]?.reject(new Error("once"));
  await expect(first).rejects.toThrow("once");
  await expect(second).rejects.toThrow("once");
  expect(begun).toHaveLength(1);
  const third = run();
  begun[1]?.resolve();
  await third;
});
