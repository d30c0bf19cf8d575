import { describe, expect, test } from "vitest";
import {
  afterFailure,
  afterHold,
  beginHold,
  mayLeaveSilent,
  NO_RETRIES,
  type Reached,
  type RetryHistory,
} from "../../../balancer/proxy/retry-policy.ts";

const REPEATABLE = { isReplayable: true, isRepeatable: true };
const ONCE = { isReplayable: true, isRepeatable: false };
const NOT_KEPT = { isReplayable: false, isRepeatable: true };

/** What becomes of a request whose attempts come to these ends, one after the other. */
function steps(request: typeof REPEATABLE, ...ends: readonly Reached[]): string[] {
  let history: RetryHistory = NO_RETRIES;
  return ends.map((reached) => {
    const verdict = afterFailure(history, reached, request);
    history = verdict.history;
    return verdict.next;
  });
}

describe("a failed attempt", () => {
  test.each<[string, typeof REPEATABLE, Reached[], string[]]>([
    [
      "an unreachable worker is left once, then the request waits",
      REPEATABLE,
      ["nothing", "nothing"],
      ["elsewhere", "hold"],
    ],
    ["an unreachable worker is left by any request", ONCE, ["nothing"], ["elsewhere"]],
    [
      "every idle connection that had ended is replaced",
      REPEATABLE,
      ["stale", "stale", "stale"],
      ["reconnect", "reconnect", "reconnect"],
    ],
    [
      "a worker that fails with a request is left once, the second is waited for, the third is the end",
      REPEATABLE,
      ["sent", "sent", "sent"],
      ["elsewhere", "hold", "fail"],
    ],
    [
      "a worker that is killed shows all three and costs the client nothing",
      REPEATABLE,
      ["sent", "stale", "nothing"],
      ["elsewhere", "reconnect", "elsewhere"],
    ],
    [
      "a request whose link broke is sent to the same worker once more, and then elsewhere if that is gone",
      REPEATABLE,
      ["link-lost", "nothing", "sent"],
      ["reconnect", "elsewhere", "hold"],
    ],
    [
      "a request whose stream was refused is sent over a connection of its own, whatever it is",
      ONCE,
      ["refused", "nothing"],
      ["reconnect", "elsewhere"],
    ],
    ["a request whose link broke and may not be repeated fails", ONCE, ["link-lost"], ["fail"]],
    ["a request that was sent and may not be repeated fails", ONCE, ["sent"], ["fail"]],
    [
      "a request that may not be repeated fails on an idle connection that had ended too",
      ONCE,
      ["stale"],
      ["fail"],
    ],
    ["a request fails once a byte of a response came", REPEATABLE, ["response"], ["fail"]],
    ["a request whose body is not kept fails", NOT_KEPT, ["nothing"], ["fail"]],
  ])("the retry policy decides each step of a request: %s", (_, request, ends, expected) => {
    expect(steps(request, ...ends)).toEqual(expected);
  });
});

test("a silent worker is left once, by a request that may be repeated and is kept", () => {
  expect(mayLeaveSilent(NO_RETRIES, REPEATABLE)).toBe(true);
  expect(mayLeaveSilent(NO_RETRIES, ONCE)).toBe(false);
  expect(mayLeaveSilent(NO_RETRIES, NOT_KEPT)).toBe(false);
  expect(mayLeaveSilent({ ...NO_RETRIES, lost: 1 }, REPEATABLE)).toBe(false);
});

test("a request waits for 8 s at most, counted from its first wait", () => {
  const first = beginHold(NO_RETRIES, 1000);
  expect(first?.heldUntilMs).toBe(9000);
  const second = beginHold(afterHold(first ?? NO_RETRIES), 8999);
  expect(second?.heldUntilMs).toBe(9000);
  expect(beginHold(afterHold(second ?? NO_RETRIES), 9000)).toBeUndefined();
});

test("after a wait every worker may be tried again, but a request that killed two workers stays one", () => {
  const before = {
    lost: 2,
    hasLeftUnreachable: true,
    hops: 2,
    hasLeftMisrouted: true,
    heldUntilMs: 5,
  };
  expect(afterHold(before)).toEqual({ ...NO_RETRIES, lost: 2, heldUntilMs: 5 });
});
