/**
 * Ownership under every kind of fault, thousands of times: README.md in this folder says what is simulated and how to read
 * a failure.
 *
 * `CT_MODEL_SEEDS=100000 npx vitest run test/model` looks at more seeds (from `CT_MODEL_FROM` on), `CT_MODEL_SEED=1234` shows
 * one and all that happened in it.
 */
import { describe, expect, it, vi } from "vitest";
import type { ResumeCause } from "../../shared/store/store.ts";
import { BUGS, type Bug, withBug } from "./bugs.ts";
import { describePlan, drawPlan, type Plan, shrink } from "./plan.ts";
import type { Failure } from "./watch.ts";
import { runPlan } from "./world.ts";

// Chance of Node's own would make each run another one.
vi.mock("node:crypto", async (importOriginal) => {
  const { drawInt } = await import("./chance.ts");
  return { ...(await importOriginal<typeof import("node:crypto")>()), randomInt: drawInt };
});
// A ring depends on its members only, and takes as long to build as half a run.
vi.mock("../../shared/membership/ring.ts", async (importOriginal) => {
  const { rememberRings } = await import("./rings.ts");
  return rememberRings(await importOriginal());
});
vi.mock("../../shared/store/ownership.ts", async (importOriginal) =>
  (await import("./bugs.ts")).ownershipWithBugs(await importOriginal()),
);
vi.mock("../../shared/store/embedded/state/leases.ts", async (importOriginal) =>
  (await import("./bugs.ts")).leasesWithBugs(await importOriginal()),
);
vi.mock("../../shared/store/embedded/state/sessions.ts", async (importOriginal) =>
  (await import("./bugs.ts")).sessionsWithBugs(await importOriginal()),
);
vi.mock("../../worker/sessions/fence.ts", async (importOriginal) =>
  (await import("./bugs.ts")).fenceWithBugs(await importOriginal()),
);

/** What continuous integration has time for. */
const SEEDS = 2000;
const LONG_MS = 24 * 3600 * 1000;

/** How a session comes to another owner, or to another life of its owner. */
const TAKE_OVERS: ResumeCause[] = ["restarted", "lease-gone", "replaced", "refused"];

const bugs = Object.keys(BUGS) as Bug[];
const wanted = process.env["CT_MODEL_SEED"];
const seeds = Number(process.env["CT_MODEL_SEEDS"] ?? SEEDS);
const firstSeed = Number(process.env["CT_MODEL_FROM"] ?? 1);

describe.runIf(wanted === undefined)("an edge under faults", () => {
  it(
    `an edge under faults keeps its promises in ${seeds} histories`,
    async () => {
      const causes = new Set<ResumeCause>();
      const found = await findFailure(seeds, causes);
      if (found !== undefined) expect.fail(await explain(found.plan, found.failure));
      // Else nothing was put to the test.
      expect([...causes]).toEqual(expect.arrayContaining(TAKE_OVERS));
    },
    LONG_MS,
  );

  it("an edge under faults goes the same way each time", async () => {
    const [first, second] = [await record(7), await record(7)];
    expect(first.length).toBeGreaterThan(20);
    expect(second).toEqual(first);
  });

  it.each(bugs)(
    "the model of an edge shows when %s",
    async (bug) => {
      const found = await withBug(bug, () => findFailure(SEEDS));
      console.info(`${bug}: seed ${found?.plan.seed}, ${found?.failure.invariant}`);
      expect(BUGS[bug]).toContain(found?.failure.invariant);
    },
    LONG_MS,
  );
});

describe.runIf(wanted !== undefined)(`history ${wanted}`, () => {
  it("an edge keeps its promises in the wanted history", async () => {
    const plan = drawPlan(Number(wanted));
    const bug = bugs.find((name) => name === process.env["CT_MODEL_BUG"]);
    const run = () => look(plan, true);
    const { failure, history } = await (bug === undefined ? run() : withBug(bug, run));
    console.info([describePlan(plan), ...history].join("\n"));
    if (failure !== undefined) expect.fail(await explain(plan, failure, bug));
  });
});

/** The first of `count` histories that breaks a promise. Adds to `causes` why sessions changed their owner in them. */
async function findFailure(
  count: number,
  causes = new Set<ResumeCause>(),
): Promise<{ plan: Plan; failure: Failure } | undefined> {
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const plan = drawPlan(seed);
    const { failure, causes: seen } = await look(plan);
    if (failure !== undefined) return { plan, failure };
    for (const cause of seen) causes.add(cause);
    // Lets the test runner breathe.
    if (seed % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return undefined;
}

function look(plan: Plan, isRecorded = false) {
  return runPlan(plan, { record: isRecorded });
}

async function record(seed: number): Promise<readonly string[]> {
  return (await look(drawPlan(seed), true)).history;
}

/** What people need to understand a failure: the smallest plan that shows it, and all that happens in it. */
async function explain(plan: Plan, failure: Failure, bug?: Bug): Promise<string> {
  const run = async (): Promise<string> => {
    const smallest = await shrink(plan, async (smaller) => {
      return (await look(smaller)).failure?.invariant === failure.invariant;
    });
    const { history } = await look(smallest, true);
    return [
      `seed ${plan.seed} breaks a promise: ${failure.invariant}: ${failure.what}`,
      `see all of it with CT_MODEL_SEED=${plan.seed}; the smallest plan that breaks the same promise:`,
      describePlan(smallest),
      "and what happens in it:",
      ...history,
    ].join("\n");
  };
  return bug === undefined ? run() : withBug(bug, run);
}
