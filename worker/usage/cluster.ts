/**
 * What this worker adds to the numbers of the whole cluster, and those numbers: each worker reports itself to the store,
 * again and again, and whoever wants the sums reads all reports.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import {
  type ClusterSums,
  parseReport,
  sumReports,
  type WorkerReport,
  writeReport,
} from "../../shared/cluster/sums.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import type { LoopLag } from "../../shared/metrics/loop-lag.ts";
import type { MetricName } from "../../shared/metrics/metric-list.ts";
import type { Series } from "../../shared/metrics/metrics.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { HOSTED_COUNTER, type Store, StoreAwayError } from "../../shared/store/store.ts";
import { readVersionTotals, TOTAL_DOWNLOADS } from "../clients/downloads.ts";
import type { PeopleCounter } from "./people.ts";

export interface Cluster {
  /** The cluster's series; none while the store is away. At most `FRESH_MS` old. */
  series(): Promise<readonly Series[]>;
  /**
   * The same for the one that sends them on: of the totals what nobody has sent yet. Call `sent` when it was sent. Empty
   * when this worker is not the one.
   */
  toSend(): Promise<{ readonly series: readonly Series[]; readonly sent: () => void }>;
  close(): void;
}

/** The counters in the store that the totals are read from. */
const TOTALS = [
  { name: "sessions.hosted", counter: HOSTED_COUNTER, gauge: "sessions.hosted_total" },
  { name: "downloads", counter: TOTAL_DOWNLOADS, gauge: "downloads_total" },
] as const satisfies readonly { name: MetricName; counter: string; gauge: MetricName }[];

/** What a counter in the store stands at. */
interface Total {
  readonly name: (typeof TOTALS)[number]["name"] | "downloads_by";
  readonly tag: string;
  readonly counter: string;
  /** What shows it as it stands; undefined: nothing does. */
  readonly gauge: (typeof TOTALS)[number]["gauge"] | undefined;
  readonly total: number;
}

/** Begins the names of the counters that say how much of a total was sent to StatsD. */
const SENT_PREFIX = "metrics.sent.";
/** A worker that dies is left out when its lease is gone; this only bounds what stays in the store. */
const REPORT_TTL_MS = 60_000;
const MAX_PERIOD_MS = 5000;
/** Whoever asks more often gets the same again. */
const FRESH_MS = 1000;

export function createCluster(needs: {
  readonly store: Pick<Store, "report" | "readReports" | "readCounters" | "addToCounters">;
  readonly view: { worker(id: WorkerId): Pick<WorkerRecord, "incarnation"> | undefined };
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly peopleCounter: () => PeopleCounter;
  readonly lag: Pick<LoopLag, "recent">;
  readonly leadership: Pick<LeaderElection, "isLeading"> | undefined;
  /** How often metrics are sent; reports are written twice as often, so that they are in time. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
}): Cluster {
  const { store, view, self, clock, log } = needs;
  let known: { readonly asked: Promise<Known>; readonly sinceMs: number } | undefined;
  let isReporting = false;
  /** What this process has handed to StatsD of each total since its start, and up to which total. */
  const handed = new Map<string, { readonly count: number; readonly upTo: number }>();

  function ownReport(): WorkerReport {
    const { users, sessions, connections } = needs.peopleCounter();
    const { incarnation } = self;
    return { incarnation, users, sessions, connections, lagMs: needs.lag.recent.meanMs };
  }

  async function report(): Promise<void> {
    if (isReporting) return;
    isReporting = true;
    try {
      await store.report("usage", self.id, writeReport(ownReport()), REPORT_TTL_MS);
    } catch (error) {
      if (!(error instanceof StoreAwayError)) {
        log.error({ err: error }, "this worker could not be reported for the cluster's numbers");
      }
    } finally {
      isReporting = false;
    }
  }

  async function read(): Promise<Known> {
    const { reports, totals } = await readReports(store);
    // This worker knows itself better than what it wrote a moment ago.
    reports[self.id] = ownReport();
    const sums = sumReports(
      reports,
      (id, incarnation) => id === self.id || view.worker(id)?.incarnation === incarnation,
    );
    return { sums, totals };
  }

  function readOnce(): Promise<Known> {
    const nowMs = clock.nowMs();
    if (known === undefined || nowMs - known.sinceMs >= FRESH_MS) {
      known = { asked: read(), sinceMs: nowMs };
    }
    return known.asked;
  }

  /** Undefined while the store is away. */
  async function readIfAny(ask: () => Promise<Known>): Promise<Known | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof StoreAwayError)) {
        log.error({ err: error }, "the cluster's numbers could not be read");
      }
      return undefined;
    }
  }

  /** What of a total nobody has sent yet goes out as a count. */
  async function countUnsent({ totals }: Known): Promise<{ series: Series[]; sent: () => void }> {
    const marks = await store.readCounters(SENT_PREFIX);
    const fresh = totals.map(({ name, tag, counter, total }) => {
      const mark = marks[SENT_PREFIX + counter] ?? 0;
      const before = handed.get(counter) ?? { count: 0, upTo: 0 };
      // A store that was flushed counts from the beginning.
      const from = total < before.upTo ? mark : Math.max(mark, before.upTo);
      return { name, tag, counter, total, mark, count: before.count + Math.max(0, total - from) };
    });
    return {
      series: fresh.map(({ name, tag, count }) => ({ name, tag, kind: "counter", value: count })),
      sent() {
        const raises: Record<string, number> = {};
        for (const { counter, total, mark, count } of fresh) {
          handed.set(counter, { count, upTo: total });
          if (total > mark) raises[SENT_PREFIX + counter] = total - mark;
        }
        if (Object.keys(raises).length === 0) return;
        // With the store away the next sending raises it; another sender meanwhile would send this part again.
        store.addToCounters(raises).catch((error: unknown) => {
          log.debug({ err: error }, "what was sent of the totals could not be written down");
        });
      },
    };
  }

  void report();
  const timer = clock.every(Math.min(MAX_PERIOD_MS, needs.intervalMs / 2), () => void report());

  return {
    async series() {
      const found = await readIfAny(readOnce);
      return found === undefined ? [] : knownAsSeries(found);
    },
    async toSend() {
      const nothing = { series: [], sent: () => {} };
      if (needs.leadership?.isLeading !== true) return nothing;
      const found = await readIfAny(read);
      if (found === undefined) return nothing;
      try {
        const { series, sent } = await countUnsent(found);
        const gauges = [...sumsAsSeries(found.sums), ...totalsAsSeries(found, "gauge", "gauge")];
        return { series: [...gauges, ...series], sent };
      } catch (error) {
        if (!(error instanceof StoreAwayError)) throw error;
        return nothing;
      }
    },
    close: () => timer.cancel(),
  };
}

/**
 * The cluster's series as whoever has a store but is no worker reads them. `isLive`: whether a worker lives in this
 * incarnation. Rejects with `StoreAwayError`.
 */
export async function readClusterSeries(
  store: Pick<Store, "readReports" | "readCounters">,
  isLive: (worker: WorkerId, incarnation: Incarnation) => boolean,
): Promise<readonly Series[]> {
  const { reports, totals } = await readReports(store);
  return knownAsSeries({ sums: sumReports(reports, isLive), totals });
}

async function readReports(
  store: Pick<Store, "readReports" | "readCounters">,
): Promise<{ reports: Record<string, WorkerReport>; totals: readonly Total[] }> {
  const [texts, byVersion, ...totals] = await Promise.all([
    store.readReports("usage"),
    readVersionTotals(store),
    ...TOTALS.map(async (one): Promise<Total> => {
      const counted = await store.readCounters(one.counter);
      return { ...one, tag: "", total: counted[one.counter] ?? 0 };
    }),
  ]);
  for (const { counter, tag, total } of byVersion) {
    totals.push({ name: "downloads_by", tag, counter, gauge: undefined, total });
  }
  const reports: Record<string, WorkerReport> = {};
  for (const [id, text] of Object.entries(texts)) {
    const parsed = parseReport(text);
    if (parsed !== undefined) reports[id] = parsed;
  }
  return { reports, totals };
}

interface Known {
  readonly sums: ClusterSums;
  readonly totals: readonly Total[];
}

function knownAsSeries(known: Known): Series[] {
  return [...sumsAsSeries(known.sums), ...totalsAsSeries(known, "name", "counter")];
}

function sumsAsSeries(sums: ClusterSums): Series[] {
  const values = {
    "users.online": sums.users,
    "sessions.active": sums.sessions,
    "connections.active": sums.connections,
    "lag.average": sums.lagMs,
    "lag.worst": sums.worstLagMs,
    "workers.counted": sums.workers,
  } as const satisfies Partial<Record<MetricName, number>>;
  return Object.entries(values).map(([name, value]) => ({
    name: name as keyof typeof values,
    tag: "",
    kind: "gauge",
    value,
  }));
}

function totalsAsSeries(
  { totals }: Known,
  as: "name" | "gauge",
  kind: "counter" | "gauge",
): Series[] {
  return totals.flatMap((one) => {
    const name = one[as];
    return name === undefined ? [] : { name, tag: one.tag, kind, value: one.total };
  });
}
