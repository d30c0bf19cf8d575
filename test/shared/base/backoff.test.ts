import { expect, test } from "vitest";
import { backoffMs, HALF_RANDOM } from "../../../shared/base/backoff.ts";

test("a delay doubles with each failure up to its limit, however many there are", () => {
  const backoff = { firstMs: 100, maxMs: 1500, jitter: [1, 1] } as const;
  const delays = [0, 1, 2, 3, 4, 5, 2000].map((failures) => backoffMs(backoff, failures, 0.3));
  expect(delays).toEqual([100, 200, 400, 800, 1500, 1500, 1500]);
});

test("jitter shortens and lengthens a delay within its range", () => {
  const backoff = { firstMs: 100, maxMs: 1500, jitter: [0.8, 1.2] } as const;
  expect(backoffMs(backoff, 0, 0)).toBeCloseTo(80);
  expect(backoffMs(backoff, 0, 0.5)).toBeCloseTo(100);
  expect(backoffMs(backoff, 0, 0.999_999)).toBeCloseTo(120);
  for (let i = 0; i < 100; i++) {
    const delayMs = backoffMs({ ...backoff, jitter: HALF_RANDOM }, 1);
    expect(delayMs).toBeGreaterThanOrEqual(100);
    expect(delayMs).toBeLessThan(200);
  }
});
