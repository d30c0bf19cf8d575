/** Webhooks under thousands of random histories: failures of the receiver, crashes of workers, other leaders, a store that forgets. */
import { expect, test } from "vitest";
import { mulberry32 } from "../../support/mulberry32.ts";
import { type Arrival, SimulatedEdge } from "./simulated-edge.ts";

/** `WEBHOOK_HISTORIES` runs more, `WEBHOOK_SEED` begins with that one. */
const HISTORIES = Number(process.env["WEBHOOK_HISTORIES"] ?? 2000);
const FIRST_SEED = Number(process.env["WEBHOOK_SEED"] ?? 1);
const STEPS = 40;

test("each event arrives in every random history, first arrivals of a session in order, and duplicates with the same id and body", async () => {
  let events = 0;
  let duplicates = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
    const edge = new SimulatedEdge(mulberry32(seed));
    for (let step = 0; step < STEPS; step++) await edge.step();
    await edge.settle();
    const problem = problemOf(edge.arrivals, edge.expected());
    if (problem !== undefined) expect.fail(`seed ${seed}: ${problem}`);
    events += edge.expected().length;
    duplicates += edge.arrivals.length - new Set(edge.arrivals.map(({ id }) => id)).size;
  }
  // Otherwise nothing of this was tested.
  expect(events).toBeGreaterThan(HISTORIES * 10);
  expect(duplicates).toBeGreaterThan(HISTORIES);
}, 240_000);

function problemOf(arrivals: readonly Arrival[], expected: readonly string[]): string | undefined {
  const bodies = new Map<string, string>();
  const last = new Map<string, number>();
  for (const { session, number, id, body } of arrivals) {
    const parsed = { ...JSON.parse(body), at: undefined };
    const plain = JSON.stringify(parsed);
    if (bodies.has(id)) {
      if (bodies.get(id) !== plain) return `${id} has two bodies`;
      continue;
    }
    bodies.set(id, plain);
    const before = last.get(session) ?? 0;
    if (number !== before + 1) return `${session}: ${number} came after ${before}`;
    last.set(session, number);
  }
  const missing = expected.filter((id) => !bodies.has(id));
  return missing.length === 0 ? undefined : `missing: ${missing.join(", ")}`;
}
