/**
 * The table of candidates.ts, row by row, and laws over all cases.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Candidate,
  chooseByKey,
  type KnownRecord,
} from "../../../balancer/routing/candidates.ts";
import type { WorkerStatus } from "../../../balancer/upstreams/health.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import type { WorkerState } from "../../../shared/store/member.ts";

/** `up well`, `draining suspect`, …; not there when it is not named. */
type Workers = Readonly<Record<string, `${WorkerState} ${WorkerStatus}`>>;

const ORDER = ["a", "b", "c", "d"] as WorkerId[];

function choose(known: KnownRecord | string, workers: Workers): string {
  const { worker, reason } = chooseByKey(
    typeof known === "string" ? { record: "owner", owner: known as WorkerId } : known,
    () => ORDER,
    (id) => {
      const text = workers[id];
      if (text === undefined) return undefined;
      const [state, status] = text.split(" ") as [WorkerState, WorkerStatus];
      return { state, status };
    },
  );
  return `${worker ?? "-"} ${reason}`;
}

describe("a record names an owner", () => {
  test.each<WorkerState>(["up", "suspended", "draining"])(
    "an owner that is healthy and %s gets the request, even if the ring names another",
    (state) => {
      expect(choose("b", { a: "up healthy", b: `${state} healthy` })).toBe("b record");
    },
  );

  test("with an unhealthy owner the next candidate that is healthy and up gets the request", () => {
    expect(choose("a", { a: "up unhealthy", b: "up healthy" })).toBe("b ring");
    expect(
      choose("c", { a: "draining healthy", b: "up unhealthy", c: "up unhealthy", d: "up healthy" }),
    ).toBe("d ring");
  });

  test("an unhealthy owner gets the request if no candidate is healthy and up", () => {
    expect(choose("b", { a: "up unhealthy", b: "up unhealthy" })).toBe("b record");
    expect(choose("b", { a: "draining healthy", b: "up unhealthy", c: "suspended healthy" })).toBe(
      "b record",
    );
  });

  test.each(["down", "unknown"])(
    "with an owner that is %s the next candidate that is healthy and up gets the request, else an unhealthy one",
    (owner) => {
      const gone: Workers = owner === "down" ? { a: "up down" } : {};
      expect(choose("a", { ...gone, b: "up unhealthy", c: "up healthy" })).toBe("c ring");
      expect(choose("a", { ...gone, b: "draining healthy", c: "up unhealthy" })).toBe("c ring");
    },
  );

  test.each(["down", "unknown"])(
    "with an owner that is %s no candidate gets the request when no worker is up",
    (owner) => {
      const gone: Workers = owner === "down" ? { a: "up down" } : {};
      expect(choose("a", { ...gone, b: "draining healthy", c: "suspended healthy" })).toBe(
        "- nobody",
      );
    },
  );
});

describe("there is no record", () => {
  const NONE: KnownRecord = { record: "none" };

  test("without a record the first candidate that is healthy and up gets the request", () => {
    expect(choose(NONE, { a: "suspended healthy", b: "up unhealthy", c: "up healthy" })).toBe(
      "c ring",
    );
  });

  test("without a record and a healthy candidate an unhealthy one that is up gets the request, else none", () => {
    expect(choose(NONE, { a: "draining healthy", b: "up unhealthy" })).toBe("b ring");
    expect(choose(NONE, { a: "draining healthy", b: "up down" })).toBe("- nobody");
    expect(choose(NONE, {})).toBe("- nobody");
  });
});

describe("the store does not respond", () => {
  const UNKNOWN: KnownRecord = { record: "unknown" };

  test("without a response of the store the first healthy candidate gets the request, in any state", () => {
    expect(choose(UNKNOWN, { a: "up unhealthy", b: "draining healthy", c: "up healthy" })).toBe(
      "b ring",
    );
  });

  test("without a response of the store and a healthy candidate an unhealthy one gets the request, else none", () => {
    expect(choose(UNKNOWN, { a: "draining unhealthy", b: "up unhealthy" })).toBe("a ring");
    expect(choose(UNKNOWN, { a: "up down" })).toBe("- nobody");
  });
});

describe("laws", () => {
  const candidate = fc.option(
    fc.record<Candidate>({
      state: fc.constantFrom<WorkerState>("up", "suspended", "draining"),
      status: fc.constantFrom<WorkerStatus>("healthy", "unhealthy", "down"),
    }),
    { nil: undefined },
  );
  const workers = fc.tuple(candidate, candidate, candidate, candidate);
  const known = fc.oneof(
    fc.constant<KnownRecord>({ record: "none" }),
    fc.constant<KnownRecord>({ record: "unknown" }),
    fc
      .constantFrom(...ORDER, "elsewhere" as WorkerId)
      .map((owner): KnownRecord => ({ record: "owner", owner })),
  );

  test("only a known worker that is not down is chosen, and a record takes precedence over the ring", () => {
    fc.assert(
      fc.property(known, workers, (known, list) => {
        const see = (id: WorkerId) => list[ORDER.indexOf(id)];
        const { worker, reason } = chooseByKey(known, () => ORDER, see);
        expect(worker === undefined).toBe(reason === "nobody");
        if (worker === undefined) return;
        expect(see(worker)?.status).not.toBe("down");
        const owner = known.record === "owner" ? known.owner : undefined;
        if (owner !== undefined && see(owner)?.status === "healthy") expect(worker).toBe(owner);
        expect(reason === "record").toBe(worker === owner);
      }),
    );
  });

  test("a worker is chosen whenever one is healthy and up", () => {
    fc.assert(
      fc.property(known, workers, (known, list) => {
        const well = list.some((one) => one?.state === "up" && one.status === "healthy");
        const { worker } = chooseByKey(
          known,
          () => ORDER,
          (id) => list[ORDER.indexOf(id)],
        );
        if (well) expect(list[ORDER.indexOf(worker as WorkerId)]?.status).toBe("healthy");
      }),
    );
  });
});
