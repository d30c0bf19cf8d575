/**
 * Random histories of three balancers that share a certificate: leaders change, or are two; the store goes away, comes back, and
 * comes back empty; balancers end in the middle and are started; the authority fails, and takes its time.
 */
import { beforeAll, expect, test } from "vitest";
import { createRandom } from "../../model/random.ts";
import { type Balancer, createWorld, makePairs, type Pair } from "./world.ts";

const HISTORIES = Number(process.env["ACME_HISTORIES"] ?? 500);
const STEPS = 30;

let pairs: readonly Pair[];
let startMs: number;

beforeAll(async () => {
  startMs = Math.floor(Date.now() / 1000) * 1000;
  pairs = await makePairs(8, startMs);
});

async function live(seed: number): Promise<void> {
  const chance = createRandom(seed);
  const random = (): number => chance.next();
  const pick = <T>(all: readonly T[]): T => chance.pick(all);
  const world = await createWorld(pairs, startMs);
  const { order } = world;
  let isAway = false;
  const hanging: (() => void)[] = [];
  world.order = async (job, takeStep) => {
    if (isAway) throw new Error("the thread ended");
    if (random() < 0.3) await new Promise<void>((resolve) => hanging.push(resolve));
    if (random() < 0.3) {
      const kind = pick(["challenge", "unreachable", "refused", "internal"] as const);
      return { outcome: "failed", kind, detail: "at random", retryAfterMs: undefined };
    }
    return order(job, takeStep);
  };
  const balancers: Balancer[] = [await world.open(), await world.open(), await world.open()];
  const hadOne = new Set<Balancer>();

  function check(): void {
    for (const one of balancers) {
      if (one.cert() !== undefined) hadOne.add(one);
      // What it serves once, it serves until there is another one.
      else expect(hadOne.has(one), `history ${seed}`).toBe(false);
    }
  }

  const events: readonly (() => Promise<void> | void)[] = [
    () => {
      const leader = pick(balancers);
      for (const one of balancers) one.isLeading = one === leader;
    },
    // For a moment, as when one was stopped in the middle of its work.
    () => {
      pick(balancers).isLeading = true;
    },
    () => {
      pick(balancers).isLeading = false;
    },
    () => {
      world.store.isAway = true;
      for (const one of balancers) one.isLeading = false;
    },
    () => {
      world.store.isAway = false;
    },
    () => {
      world.store.empty();
    },
    async () => {
      const index = Math.floor(random() * balancers.length);
      void balancers[index]?.close();
      balancers[index] = await world.open();
    },
    () => {
      void pick(balancers).acme.renew();
    },
    () => {
      isAway = !isAway;
    },
    () => {
      for (const goOn of hanging.splice(0)) goOn();
    },
    () => world.jump(Math.round(random() * 40 * 86_400_000)),
  ];
  for (let step = 0; step < STEPS; step++) {
    await pick(events)();
    await world.pass(pick([0, 2000, 5000, 70_000]));
    check();
  }

  // Nothing fails any more: soon all serve the same, and nobody orders any more.
  world.store.isAway = false;
  world.order = order;
  isAway = false;
  for (const goOn of hanging.splice(0)) goOn();
  await world.pass(4000);
  for (const one of balancers) one.isLeading = false;
  const [leader] = balancers;
  if (leader !== undefined) leader.isLeading = true;
  world.jump(86_400_000);
  await world.pass(70_000);
  const certs = new Set(balancers.map((one) => one.cert()));
  expect(certs.size, `history ${seed}`).toBe(1);
  expect(certs.has(undefined), `history ${seed}`).toBe(false);
  const orders = (): number => world.jobs.filter(({ kind }) => kind === "order").length;
  const before = orders();
  await world.pass(60_000);
  expect(orders(), `history ${seed}`).toBe(before);
  await Promise.all(balancers.map((one) => one.close()));
}

test(`in ${HISTORIES} random histories no balancer loses its certificate, and in the end all serve the same`, {
  timeout: 60_000 + HISTORIES * 200,
}, async () => {
  for (let seed = 1; seed <= HISTORIES; seed++) await live(seed);
});
