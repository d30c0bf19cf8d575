import { expect, test } from "vitest";
import { fuzz } from "./fuzzer.ts";

/** Fixed, so that every run plays the same cases. */
const SEED = 20_260_101;
const CASES = 1200;

test("with random bytes of clients and workers nothing throws, all connections end, and other clients get their responses", async () => {
  const { played, wrong } = await fuzz({
    seed: SEED,
    from: 0,
    mayContinue: (index) => index < CASES,
  });
  expect(wrong).toEqual([]);
  expect(played).toBe(CASES);
}, 180_000);
