/**
 * The table of candidates.ts, row by row, and laws over all cases.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Candidate,
  chooseByKey,
  type KnownWorkers,
} from "../../../balancer/routing/candidates.ts";
import type { WorkerStatus } from "../../../balancer/upstreams/health.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import type { WorkerState } from "../../../shared/store/member.ts";

/** `up well`, `draining suspect`, …; not there when it is not named. */
type Workers = Readonly<Record<string, `${WorkerState} ${WorkerStatus}`>>;

const ORDER = ["a", "b", "c", "d"] as WorkerId[];

function choose(known: KnownWorkers | string, workers: Workers): string {
  const { worker, reason } = chooseByKey(
    typeof known === "string" ? { record: "owner", owner: known as WorkerId } : known,
    () => ORDER,
    (id) => {
      const text = workers[id];
      if (text === undefined) return undefined;
      const [state, standing] = text.split(" ") as [WorkerState, WorkerStatus];
      return { state, standing };
    },
  );
  return `${worker ?? "-"} ${reason}`;
}

describe("a record names an owner", () => {
  test.each<WorkerState>(["up", "suspended", "draining"])(
    "that is well and %s: the owner, though the ring says another",
    (state) => {
      expect(choose("b", { a: "up well", b: `${state} well` })).toBe("b record");
    },
  );

  test("that is suspect: the next candidate that is well and up", () => {
    expect(choose("a", { a: "up suspect", b: "up well" })).toBe("b ring");
    expect(
      choose("c", { a: "draining well", b: "up suspect", c: "up suspect", d: "up well" }),
    ).toBe("d ring");
  });

  test("that is suspect, and nobody is well and up: the owner all the same", () => {
    expect(choose("b", { a: "up suspect", b: "up suspect" })).toBe("b record");
    expect(choose("b", { a: "draining well", b: "up suspect", c: "suspended well" })).toBe(
      "b record",
    );
  });

  test.each(["dead", "unknown"])(
    "that is %s: the next that is well and up, else a suspect one",
    (owner) => {
      const gone: Workers = owner === "dead" ? { a: "up dead" } : {};
      expect(choose("a", { ...gone, b: "up suspect", c: "up well" })).toBe("c ring");
      expect(choose("a", { ...gone, b: "draining well", c: "up suspect" })).toBe("c ring");
    },
  );

  test.each(["dead", "unknown"])("that is %s, and nobody is up: nobody", (owner) => {
    const gone: Workers = owner === "dead" ? { a: "up dead" } : {};
    expect(choose("a", { ...gone, b: "draining well", c: "suspended well" })).toBe("- nobody");
  });
});

describe("there is no record", () => {
  const NONE: KnownWorkers = { record: "none" };

  test("the first candidate that is well and up", () => {
    expect(choose(NONE, { a: "suspended well", b: "up suspect", c: "up well" })).toBe("c ring");
  });

  test("else a suspect one that is up, else nobody", () => {
    expect(choose(NONE, { a: "draining well", b: "up suspect" })).toBe("b ring");
    expect(choose(NONE, { a: "draining well", b: "up dead" })).toBe("- nobody");
    expect(choose(NONE, {})).toBe("- nobody");
  });
});

describe("the store does not say whether there is one", () => {
  const UNKNOWN: KnownWorkers = { record: "unknown" };

  test("the first candidate that is well, whatever it does with new sessions", () => {
    expect(choose(UNKNOWN, { a: "up suspect", b: "draining well", c: "up well" })).toBe("b ring");
  });

  test("else a suspect one, else nobody", () => {
    expect(choose(UNKNOWN, { a: "draining suspect", b: "up suspect" })).toBe("a ring");
    expect(choose(UNKNOWN, { a: "up dead" })).toBe("- nobody");
  });
});

describe("laws", () => {
  const candidate = fc.option(
    fc.record<Candidate>({
      state: fc.constantFrom<WorkerState>("up", "suspended", "draining"),
      standing: fc.constantFrom<WorkerStatus>("well", "suspect", "dead"),
    }),
    { nil: undefined },
  );
  const workers = fc.tuple(candidate, candidate, candidate, candidate);
  const known = fc.oneof(
    fc.constant<KnownWorkers>({ record: "none" }),
    fc.constant<KnownWorkers>({ record: "unknown" }),
    fc
      .constantFrom(...ORDER, "elsewhere" as WorkerId)
      .map((owner): KnownWorkers => ({ record: "owner", owner })),
  );

  test("only a worker that is there and not dead is chosen, and a record goes before the ring", () => {
    fc.assert(
      fc.property(known, workers, (known, list) => {
        const see = (id: WorkerId) => list[ORDER.indexOf(id)];
        const { worker, reason } = chooseByKey(known, () => ORDER, see);
        expect(worker === undefined).toBe(reason === "nobody");
        if (worker === undefined) return;
        expect(see(worker)?.standing).not.toBe("dead");
        const owner = known.record === "owner" ? known.owner : undefined;
        if (owner !== undefined && see(owner)?.standing === "well") expect(worker).toBe(owner);
        expect(reason === "record").toBe(worker === owner);
      }),
    );
  });

  test("somebody is chosen whenever somebody is well and up", () => {
    fc.assert(
      fc.property(known, workers, (known, list) => {
        const well = list.some((one) => one?.state === "up" && one.standing === "well");
        const { worker } = chooseByKey(
          known,
          () => ORDER,
          (id) => list[ORDER.indexOf(id)],
        );
        if (well) expect(list[ORDER.indexOf(worker as WorkerId)]?.standing).toBe("well");
      }),
    );
  });
});
