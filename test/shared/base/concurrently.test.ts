import { expect, test } from "vitest";
import { concurrently } from "../../../shared/base/concurrently.ts";

test("each item is worked on once, in order, and no more than so many at once", async () => {
  const begun: number[] = [];
  let atOnce = 0;
  let most = 0;
  await concurrently([1, 2, 3, 4, 5], 2, async (item) => {
    begun.push(item);
    most = Math.max(most, ++atOnce);
    await Promise.resolve();
    atOnce--;
  });
  expect(begun).toEqual([1, 2, 3, 4, 5]);
  expect(most).toBe(2);
});

test("the first failure is passed on, and its turn begins nothing more", async () => {
  const begun: number[] = [];
  const work = concurrently([1, 2, 3], 1, async (item) => {
    begun.push(item);
    if (item === 2) throw new Error("two");
  });
  await expect(work).rejects.toThrow("two");
  expect(begun).toEqual([1, 2]);
});
