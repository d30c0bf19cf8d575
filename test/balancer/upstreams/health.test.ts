/**
 * A worker's health as a balancer sees it: the table of all changes, and laws that hold for any sequence of events.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Failure,
  type FailureReason,
  type FailureSource,
  HEALTHY,
  type Health,
  type HealthEvent,
  isPanic,
  nextHealth,
  statusOfWorker,
} from "../../../balancer/upstreams/health.ts";

function failure(reason: FailureReason, by: FailureSource = "request", atMs = 10): Failure {
  return { reason, by, atMs };
}

function failed(reason: FailureReason, by: FailureSource = "request", atMs = 10): HealthEvent {
  return { event: "failed", failure: failure(reason, by, atMs) };
}

const TAKEN_OVER: HealthEvent = { event: "taken-over", atMs: 20 };
const LEASE_EXPIRED: HealthEvent = { event: "lease-expired", atMs: 20 };
const answered = (askedMs: number): HealthEvent => ({ event: "answered", askedMs });

function healthAfter(...events: HealthEvent[]): Health {
  return events.reduce(nextHealth, HEALTHY);
}

describe("events of a worker and the state that follows", () => {
  test.each<[string, HealthEvent[], Health["state"]]>([
    ["nothing", [], "healthy"],
    ["a response", [answered(5)], "healthy"],
    ["a session handed over", [TAKEN_OVER], "healthy"],
    ["a refused request", [failed("refused")], "unhealthy"],
    ["a connection that was never established", [failed("unreachable")], "unhealthy"],
    ["a request whose connection closed early", [failed("connection-closed")], "unhealthy"],
    ["a first byte that was too late", [failed("no-response")], "unhealthy"],
    ["a probe without a response", [failed("no-response", "probe")], "unhealthy"],
    ["a refused probe", [failed("refused", "probe")], "unhealthy"],
    ["a response to an earlier probe", [failed("refused"), answered(9)], "unhealthy"],
    ["a response to a later probe", [failed("refused"), answered(10)], "healthy"],
    ["no response, and a session taken over", [failed("no-response"), TAKEN_OVER], "unhealthy"],
    ["a refusal, and a session taken over", [failed("refused"), TAKEN_OVER], "down"],
    [
      "a refused probe, and a session seen elsewhere",
      [failed("refused", "probe"), TAKEN_OVER],
      "down",
    ],
    [
      "silence, then a refusal, then a session seen elsewhere",
      [failed("no-response", "probe"), failed("refused"), TAKEN_OVER],
      "down",
    ],
    [
      "a refusal before it was well again, and a session seen elsewhere",
      [failed("refused"), answered(11), failed("no-response", "probe", 12), TAKEN_OVER],
      "unhealthy",
    ],
    ["a takeover, then a response", [failed("refused"), TAKEN_OVER, answered(21)], "healthy"],
    [
      "a takeover, then another failure",
      [failed("refused"), TAKEN_OVER, failed("refused")],
      "down",
    ],
    ["an expired lease", [LEASE_EXPIRED], "down"],
    ["an expired lease while unhealthy", [failed("no-response"), LEASE_EXPIRED], "down"],
    ["an expired lease, then a response", [LEASE_EXPIRED, answered(30)], "down"],
    ["an expired lease, then a failure", [LEASE_EXPIRED, failed("refused", "probe", 30)], "down"],
  ])("after %s the worker is in the expected state", (_name, events, state) => {
    expect(healthAfter(...events).state).toBe(state);
  });

  test("a worker that is healthy again keeps the reason and the time of its last failure", () => {
    const known = failure("connection-closed", "request", 10);
    expect(
      healthAfter(failed("refused", "probe", 8), failed("connection-closed")).lastFailure,
    ).toEqual(known);
    expect(healthAfter(failed("connection-closed"), answered(11)).lastFailure).toEqual(known);
    expect(healthAfter(failed("connection-closed"), LEASE_EXPIRED).lastFailure).toEqual(
      failure("lease-expired", "members", 20),
    );
  });

  test("more failures do not change since when a worker is unhealthy", () => {
    expect(healthAfter(failed("refused"), failed("no-response", "probe", 30))).toMatchObject({
      sinceMs: 10,
    });
  });
});

describe("the status for routing", () => {
  test.each<[string, HealthEvent[], string, string]>([
    ["healthy", [], "healthy", "healthy"],
    ["failed a request", [failed("no-response")], "unhealthy", "unhealthy"],
    ["refused a probe", [failed("refused", "probe")], "unhealthy", "unhealthy"],
    ["left a probe without a response", [failed("no-response", "probe")], "unhealthy", "healthy"],
    ["cannot be reached by a probe", [failed("unreachable", "probe")], "unhealthy", "healthy"],
    [
      "responded to a probe with an error",
      [failed("probe-failed", "probe")],
      "unhealthy",
      "unhealthy",
    ],
    [
      "says that the request was misrouted",
      [failed("misrouted", "probe")],
      "unhealthy",
      "unhealthy",
    ],
    [
      "left a probe without a response and a request too",
      [failed("no-response", "probe"), failed("no-response")],
      "unhealthy",
      "unhealthy",
    ],
    ["down", [LEASE_EXPIRED], "down", "down"],
  ])(
    "the status of a worker for routing is as expected without and with panic: %s",
    (_name, events, normally, inPanic) => {
      expect(statusOfWorker(healthAfter(...events), false)).toBe(normally);
      expect(statusOfWorker(healthAfter(...events), true)).toBe(inPanic);
    },
  );

  test("the balancer panics when more than half of the workers fail by probes only", () => {
    const silent = healthAfter(failed("no-response", "probe"));
    const refusing = healthAfter(failed("refused", "probe"));
    expect(isPanic([])).toBe(false);
    expect(isPanic([silent])).toBe(true);
    expect(isPanic([silent, HEALTHY])).toBe(false);
    expect(isPanic([silent, silent, HEALTHY])).toBe(true);
    expect(isPanic([silent, silent, HEALTHY, HEALTHY])).toBe(false);
    expect(isPanic([refusing, refusing, HEALTHY])).toBe(false);
    expect(isPanic([silent, refusing, HEALTHY])).toBe(false);
  });
});

describe("laws", () => {
  const reasons: FailureReason[] = [
    "refused",
    "unreachable",
    "no-response",
    "connection-closed",
    "probe-failed",
  ];
  const event = fc.oneof(
    fc.record({
      event: fc.constant("failed" as const),
      reason: fc.constantFrom(...reasons),
      by: fc.constantFrom<FailureSource>("request", "probe"),
    }),
    fc.record({ event: fc.constant("answered" as const), delayMs: fc.nat(5) }),
    fc.record({ event: fc.constant("taken-over" as const) }),
    fc.record({ event: fc.constant("lease-expired" as const) }),
  );

  /** Events in order of time, one per ms; a response belongs to a probe sent up to 5 ms before. */
  const story = fc.array(event, { maxLength: 30 }).map((events) => events.map(timed));

  function timed(
    one: typeof event extends fc.Arbitrary<infer E> ? E : never,
    atMs: number,
  ): HealthEvent {
    switch (one.event) {
      case "failed":
        return failed(one.reason, one.by, atMs);
      case "answered":
        return answered(atMs - one.delayMs);
      case "taken-over":
      case "lease-expired":
        return { event: one.event, atMs };
    }
  }

  test("a worker is healthy only before its first failure, or by a response to a probe sent after its last one", () => {
    fc.assert(
      fc.property(story, (events) => {
        const last = events.reduce<number>(
          (found, one, at) => (one.event === "failed" ? at : found),
          -1,
        );
        const wasAnswered = events.some((one) => one.event === "answered" && one.askedMs >= last);
        const isLeaseGone = events.some((one) => one.event === "lease-expired");
        const { state } = healthAfter(...events);
        expect(state === "healthy").toBe(!isLeaseGone && (last < 0 || wasAnswered));
      }),
    );
  });

  test("a worker whose lease has expired stays down", () => {
    fc.assert(
      fc.property(story, story, (before, later) => {
        expect(healthAfter(...before, LEASE_EXPIRED, ...later).state).toBe("down");
      }),
    );
  });

  test("failed probes alone, unless they are refused, take no worker down", () => {
    fc.assert(
      fc.property(story, (events) => {
        const doubts = events.filter(
          (one) =>
            one.event !== "lease-expired" &&
            (one.event !== "failed" ||
              (one.failure.by === "probe" && one.failure.reason !== "refused")),
        );
        expect(healthAfter(...doubts).state).not.toBe("down");
      }),
    );
  });

  test("no new request goes to a worker whose last event is a failure, except in panic", () => {
    fc.assert(
      fc.property(story, fc.constantFrom(...reasons), (events, reason) => {
        const health = healthAfter(...events, failed(reason, "request", 100));
        expect(statusOfWorker(health, false)).not.toBe("healthy");
        expect(statusOfWorker(health, true)).not.toBe("healthy");
      }),
    );
  });
});
