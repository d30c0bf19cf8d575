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
const LEASE_GONE: HealthEvent = { event: "lease-gone", atMs: 20 };
const answered = (askedMs: number): HealthEvent => ({ event: "answered", askedMs });

function healthAfter(...events: HealthEvent[]): Health {
  return events.reduce(nextHealth, HEALTHY);
}

describe("the table", () => {
  test.each<[string, HealthEvent[], Health["state"]]>([
    ["nothing", [], "up"],
    ["an answer", [answered(5)], "up"],
    ["a session handed over", [TAKEN_OVER], "up"],
    ["a refused request", [failed("refused")], "suspect"],
    ["a connection that never came about", [failed("unreachable")], "suspect"],
    ["a request that was broken off", [failed("broken-off")], "suspect"],
    ["a first byte that did not come in time", [failed("no-answer")], "suspect"],
    ["a probe without an answer", [failed("no-answer", "probe")], "suspect"],
    ["a refused probe", [failed("refused", "probe")], "suspect"],
    ["an answer to an earlier question", [failed("refused"), answered(9)], "suspect"],
    ["an answer to a later question", [failed("refused"), answered(10)], "up"],
    ["silence, and a session seen elsewhere", [failed("no-answer"), TAKEN_OVER], "suspect"],
    ["a refusal, and a session seen elsewhere", [failed("refused"), TAKEN_OVER], "dead"],
    [
      "a refused probe, and a session seen elsewhere",
      [failed("refused", "probe"), TAKEN_OVER],
      "dead",
    ],
    [
      "silence, then a refusal, then a session seen elsewhere",
      [failed("no-answer", "probe"), failed("refused"), TAKEN_OVER],
      "dead",
    ],
    [
      "a refusal before it was well again, and a session seen elsewhere",
      [failed("refused"), answered(11), failed("no-answer", "probe", 12), TAKEN_OVER],
      "suspect",
    ],
    ["taken over, and it answers again", [failed("refused"), TAKEN_OVER, answered(21)], "up"],
    ["taken over, and it fails again", [failed("refused"), TAKEN_OVER, failed("refused")], "dead"],
    ["its lease gone", [LEASE_GONE], "dead"],
    ["its lease gone while suspect", [failed("no-answer"), LEASE_GONE], "dead"],
    ["its lease gone, and it answers", [LEASE_GONE, answered(30)], "dead"],
    ["its lease gone, and it fails", [LEASE_GONE, failed("refused", "probe", 30)], "dead"],
  ])("%s", (_name, events, state) => {
    expect(healthAfter(...events).state).toBe(state);
  });

  test("the reason and the time of the last failure are kept, also when it is well again", () => {
    const known = failure("broken-off", "request", 10);
    expect(healthAfter(failed("refused", "probe", 8), failed("broken-off")).lastFailure).toEqual(
      known,
    );
    expect(healthAfter(failed("broken-off"), answered(11)).lastFailure).toEqual(known);
    expect(healthAfter(failed("broken-off"), LEASE_GONE).lastFailure).toEqual(
      failure("lease-gone", "members", 20),
    );
  });

  test("since when it is suspect does not change with more failures", () => {
    expect(healthAfter(failed("refused"), failed("no-answer", "probe", 30))).toMatchObject({
      sinceMs: 10,
    });
  });
});

describe("what a state means", () => {
  test.each<[string, HealthEvent[], string, string]>([
    ["up", [], "well", "well"],
    ["failed a request", [failed("no-answer")], "suspect", "suspect"],
    ["refused a probe", [failed("refused", "probe")], "suspect", "suspect"],
    ["left a probe without an answer", [failed("no-answer", "probe")], "suspect", "well"],
    ["got no probe through", [failed("unreachable", "probe")], "suspect", "well"],
    ["answered a probe with an error", [failed("unwell", "probe")], "suspect", "suspect"],
    ["says that another was meant", [failed("not-meant", "probe")], "suspect", "suspect"],
    [
      "left a probe without an answer and a request too",
      [failed("no-answer", "probe"), failed("no-answer")],
      "suspect",
      "suspect",
    ],
    ["dead", [LEASE_GONE], "dead", "dead"],
  ])("%s", (_name, events, normally, inPanic) => {
    expect(statusOfWorker(healthAfter(...events), false)).toBe(normally);
    expect(statusOfWorker(healthAfter(...events), true)).toBe(inPanic);
  });

  test("panic is when more than half fail only by probes", () => {
    const silent = healthAfter(failed("no-answer", "probe"));
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
  const reasons: FailureReason[] = ["refused", "unreachable", "no-answer", "broken-off", "unwell"];
  const event = fc.oneof(
    fc.record({
      event: fc.constant("failed" as const),
      reason: fc.constantFrom(...reasons),
      by: fc.constantFrom<FailureSource>("request", "probe"),
    }),
    fc.record({ event: fc.constant("answered" as const), delayMs: fc.nat(5) }),
    fc.record({ event: fc.constant("taken-over" as const) }),
    fc.record({ event: fc.constant("lease-gone" as const) }),
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
      case "lease-gone":
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
        const isLeaseGone = events.some((one) => one.event === "lease-gone");
        const { state } = healthAfter(...events);
        expect(state === "up").toBe(!isLeaseGone && (last < 0 || wasAnswered));
      }),
    );
  });

  test("one whose lease is gone stays dead", () => {
    fc.assert(
      fc.property(story, story, (before, later) => {
        expect(healthAfter(...before, LEASE_GONE, ...later).state).toBe("dead");
      }),
    );
  });

  test("probes alone, unless they are refused, make nobody dead", () => {
    fc.assert(
      fc.property(story, (events) => {
        const doubts = events.filter(
          (one) =>
            one.event !== "lease-gone" &&
            (one.event !== "failed" ||
              (one.failure.by === "probe" && one.failure.reason !== "refused")),
        );
        expect(healthAfter(...doubts).state).not.toBe("dead");
      }),
    );
  });

  test("nothing new goes to one that failed last, but in panic", () => {
    fc.assert(
      fc.property(story, fc.constantFrom(...reasons), (events, reason) => {
        const health = healthAfter(...events, failed(reason, "request", 100));
        expect(statusOfWorker(health, false)).not.toBe("well");
        expect(statusOfWorker(health, true)).not.toBe("well");
      }),
    );
  });
});
