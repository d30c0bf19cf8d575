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
const LEASE_GONE: HealthEvent = { event: "lease-expired", atMs: 20 };
const answered = (askedMs: number): HealthEvent => ({ event: "answered", askedMs });

function healthAfter(...events: HealthEvent[]): Health {
  return events.reduce(nextHealth, HEALTHY);
}

describe("the table", () => {
  test.each<[string, HealthEvent[], Health["state"]]>([
    ["nothing", [], "healthy"],
    ["an answer", [answered(5)], "healthy"],
    ["a session handed over", [TAKEN_OVER], "healthy"],
    ["a refused request", [failed("refused")], "unhealthy"],
    ["a connection that never came about", [failed("unreachable")], "unhealthy"],
    ["a request that was broken off", [failed("connection-closed")], "unhealthy"],
    ["a first byte that did not come in time", [failed("no-response")], "unhealthy"],
    ["a probe without an answer", [failed("no-response", "probe")], "unhealthy"],
    ["a refused probe", [failed("refused", "probe")], "unhealthy"],
    ["an answer to an earlier question", [failed("refused"), answered(9)], "unhealthy"],
    ["an answer to a later question", [failed("refused"), answered(10)], "healthy"],
    ["silence, and a session seen elsewhere", [failed("no-response"), TAKEN_OVER], "unhealthy"],
    ["a refusal, and a session seen elsewhere", [failed("refused"), TAKEN_OVER], "down"],
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
    ["taken over, and it answers again", [failed("refused"), TAKEN_OVER, answered(21)], "healthy"],
    ["taken over, and it fails again", [failed("refused"), TAKEN_OVER, failed("refused")], "down"],
    ["its lease gone", [LEASE_GONE], "down"],
    ["its lease gone while suspect", [failed("no-response"), LEASE_GONE], "down"],
    ["its lease gone, and it answers", [LEASE_GONE, answered(30)], "down"],
    ["its lease gone, and it fails", [LEASE_GONE, failed("refused", "probe", 30)], "down"],
  ])("%s", (_name, events, state) => {
    expect(healthAfter(...events).state).toBe(state);
  });

  test("the reason and the time of the last failure are kept, also when it is well again", () => {
    const known = failure("connection-closed", "request", 10);
    expect(
      healthAfter(failed("refused", "probe", 8), failed("connection-closed")).lastFailure,
    ).toEqual(known);
    expect(healthAfter(failed("connection-closed"), answered(11)).lastFailure).toEqual(known);
    expect(healthAfter(failed("connection-closed"), LEASE_GONE).lastFailure).toEqual(
      failure("lease-expired", "members", 20),
    );
  });

  test("since when it is suspect does not change with more failures", () => {
    expect(healthAfter(failed("refused"), failed("no-response", "probe", 30))).toMatchObject({
      sinceMs: 10,
    });
  });
});

describe("what a state means", () => {
  test.each<[string, HealthEvent[], string, string]>([
    ["healthy", [], "healthy", "healthy"],
    ["failed a request", [failed("no-response")], "unhealthy", "unhealthy"],
    ["refused a probe", [failed("refused", "probe")], "unhealthy", "unhealthy"],
    ["left a probe without an answer", [failed("no-response", "probe")], "unhealthy", "healthy"],
    ["got no probe through", [failed("unreachable", "probe")], "unhealthy", "healthy"],
    ["answered a probe with an error", [failed("probe-failed", "probe")], "unhealthy", "unhealthy"],
    ["says that another was meant", [failed("misrouted", "probe")], "unhealthy", "unhealthy"],
    [
      "left a probe without an answer and a request too",
      [failed("no-response", "probe"), failed("no-response")],
      "unhealthy",
      "unhealthy",
    ],
    ["down", [LEASE_GONE], "down", "down"],
  ])("%s", (_name, events, normally, inPanic) => {
    expect(statusOfWorker(healthAfter(...events), false)).toBe(normally);
    expect(statusOfWorker(healthAfter(...events), true)).toBe(inPanic);
  });

  test("panic is when more than half fail only by probes", () => {
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

  /** Events in time, one each ms; an answer belongs to a question of up to 5 ms before. */
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

  test("it is well only before its first failure, or by an answer to what was asked after its last one", () => {
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

  test("one whose lease is gone stays dead", () => {
    fc.assert(
      fc.property(story, story, (before, later) => {
        expect(healthAfter(...before, LEASE_GONE, ...later).state).toBe("down");
      }),
    );
  });

  test("probes alone, unless they are refused, make nobody dead", () => {
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

  test("nothing new goes to one that failed last, but in panic", () => {
    fc.assert(
      fc.property(story, fc.constantFrom(...reasons), (events, reason) => {
        const health = healthAfter(...events, failed(reason, "request", 100));
        expect(statusOfWorker(health, false)).not.toBe("healthy");
        expect(statusOfWorker(health, true)).not.toBe("healthy");
      }),
    );
  });
});
