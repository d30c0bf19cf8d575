/**
 * What 10 to 1,000 workers cost a balancer and Redis, in simulation: leases, the view of the members, the ring and the router are
 * the product's, Redis is real, and the workers do nothing else.
 */
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../../../shared/base/clock.ts";
import { createRing } from "../../../shared/membership/ring.ts";
import { createMembershipView, type MembershipView } from "../../../shared/membership/view.ts";
import { openStore, settle, startRedis, type TestRedis } from "../../../test/support/redis.ts";
import { until } from "../../../test/support/until.ts";
import { describePowerLaw, fitPowerLaw } from "../growth-law.ts";
import type { Result } from "../results.ts";
import type { Figures } from "../rounds.ts";
import { openRouter, RING_KEY, usedBytes } from "../routing.ts";
import { summarize } from "../statistics.ts";
import { type Leases, startLeases } from "./leases.ts";
import { perSecond } from "./redis-usage.ts";

const COUNTS = [10, 30, 100, 300, 990];
const CONVERGENCE_MS = 30_000;
/** So many that what they cost stands out from what the leases cost. */
const VIEWS = 8;
const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

export async function measureManyMembers(options: {
  readonly seconds: number;
  readonly maxMembers: number;
}): Promise<Result[]> {
  const redis = await startRedis();
  const byCount = new Map<number, Figures>();
  try {
    await settle(redis.admin());
    for (const count of COUNTS.filter((one) => one <= options.maxMembers)) {
      byCount.set(count, await measureCount(redis, count, options.seconds));
    }
    return resultsBy(byCount);
  } finally {
    await redis.close();
  }
}

async function measureCount(redis: TestRedis, count: number, seconds: number): Promise<Figures> {
  const admin = redis.admin();
  const leases = startLeases(redis.url);
  const views: OpenView[] = [];
  try {
    await leases.grow(count);
    const heapBefore = usedBytes();
    const first = await openView(redis, count);
    views.push(first);
    const router = openRouter(first.view, () => {});
    const cpuBefore = process.cpuUsage();
    await delay(seconds * 1000);
    const { user, system } = process.cpuUsage(cpuBefore);
    const heapBytes = usedBytes() - heapBefore;
    const ringBegan = performance.now();
    createRing(first.view.workers, RING_KEY);
    const ringMs = performance.now() - ringBegan;
    const convergedMs = await convergence(first.view, leases, count);
    router.close();
    first.close();

    const base = await perSecond(admin, seconds);
    while (views.length <= VIEWS) views.push(await openView(redis, count + 1));
    const more = await perSecond(admin, seconds);
    return {
      "Redis, calls per second and member": base.calls / (count + 1),
      "Redis, µs of CPU per second and member": base.cpuUs / (count + 1),
      "Redis, calls per second and view": (more.calls - base.calls) / VIEWS,
      "Redis, ms of CPU per second and view": (more.cpuUs - base.cpuUs) / VIEWS / 1000,
      "KiB sent per second and view": (more.bytes - base.bytes) / VIEWS / 1024,
      "ms of CPU per second of a view": (user + system) / 1000 / seconds,
      "MiB of heap: view, ring and router": heapBytes / 2 ** 20,
      "ms to build a ring": ringMs,
      "ms until a new worker is in the ring": convergedMs,
    };
  } finally {
    for (const view of views) view.close();
    await leases.close();
    await admin.flushall();
    await settle(admin);
  }
}

interface OpenView {
  readonly view: MembershipView;
  close(): void;
}

/** A view over a connection of its own, as each process has. Resolves when it is complete. */
async function openView(redis: TestRedis, count: number): Promise<OpenView> {
  const { store } = openStore(redis.url);
  const view = createMembershipView({
    store,
    clock: systemClock,
    log: SILENT,
    ringKeyFor: () => RING_KEY,
  });
  await view.start();
  await until("the view is complete", () => view.workers.length === count);
  return {
    view,
    close() {
      view.close();
      void store.close();
    },
  };
}

/** ms from the announcement of one more worker until the view has a ring with it. */
async function convergence(view: MembershipView, leases: Leases, count: number): Promise<number> {
  const seen = new Promise<number>((resolve) => {
    view.onChange(() => {
      if (view.ring.members.length > count) resolve(performance.timeOrigin + performance.now());
    });
  });
  const announcedMs = await leases.addOne();
  const late = delay(CONVERGENCE_MS, Number.NaN, { ref: false });
  return Math.max(0, (await Promise.race([seen, late])) - announcedMs);
}

/** Prints each figure by the number of members, with its law, and returns them as results. */
function resultsBy(byCount: ReadonlyMap<number, Figures>): Result[] {
  const [first] = byCount.values();
  const question = "members, in simulation";
  process.stdout.write(`\n${question}: ${[...byCount.keys()].join(", ")} workers\n`);
  return Object.keys(first ?? {}).map((unit) => {
    const points = [...byCount].map(([size, figures]) => ({
      size,
      figure: figures[unit] ?? Number.NaN,
    }));
    const usable = points.filter(({ figure }) => figure > 0);
    const law = usable.length > 1 ? describePowerLaw(fitPowerLaw(usable)) : "";
    const shown = points.map(({ figure }) => figure.toFixed(figure < 10 ? 2 : 0)).join(", ");
    process.stdout.write(`  ${unit.padEnd(52)} ${shown}   ${law}\n`);
    const figures = Object.fromEntries(
      points.map(({ size, figure }) => [String(size), summarize([figure])]),
    );
    return { question, unit, figures };
  });
}
