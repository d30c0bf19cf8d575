import { expect, test } from "vitest";
import { fuzz } from "./fuzzer.ts";

/** The same cases at every run; a new seed is a deliberate change. */
const SEED = 20_260_101;
const CASES = 1200;

test("whatever clients and workers send, nothing throws, all ends, and others get their answers", async () => {
  const { played, wrong } = await fuzz({ seed: SEED, from: 0, goesOn: (index) => index < CASES });
  expect(wrong).toEqual([]);
  expect(played).toBe(CASES);
}, 180_000);
