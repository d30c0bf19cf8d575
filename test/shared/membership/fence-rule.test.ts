import { expect, it } from "vitest";
import { FENCE_MS, mayRelay } from "../../../shared/membership/fence-rule.ts";
import { MEMBER_LEASE_MS } from "../../../shared/store/store.ts";

const sent = { lastRenewalSentMs: 10_000 };

it("a worker relays for 4 s after it sent its last renewal, a second less than its lease holds", () => {
  expect(FENCE_MS).toBe(4000);
  expect(MEMBER_LEASE_MS).toBe(5000);
  expect(mayRelay({ ...sent, nowMs: 13_999, isStoreAwayForAll: false })).toBe(true);
  expect(mayRelay({ ...sent, nowMs: 14_000, isStoreAwayForAll: false })).toBe(false);
});

it("a worker relays for longer while the store is away for every balancer too", () => {
  expect(mayRelay({ ...sent, nowMs: 99_000, isStoreAwayForAll: true })).toBe(true);
});

it("a worker does not relay before its first renewal", () => {
  const never = { lastRenewalSentMs: Number.NEGATIVE_INFINITY, nowMs: 0 };
  expect(mayRelay({ ...never, isStoreAwayForAll: false })).toBe(false);
});
