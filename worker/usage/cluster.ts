/**
 * Metrics of the whole cluster: each worker writes a usage report to the store periodically, and sums are made from all
 * reports.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import { type PeriodicTask, startPeriodicTask } from "../../shared/base/periodic-task.ts";
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
import {
  type Deferring,
  HEARTBEAT_MS,
  HOSTED_COUNTER,
  type Store,
} from "../../shared/store/store.ts";
import { reportUnlessAway, unlessAway } from "../../shared/store/unless-away.ts";
import { readVersionTotals, TOTAL_DOWNLOADS } from "../clients/downloads.ts";
import type { PeopleCounter, RecentPeople } from "./people.ts";
import { type StoreTotal, UnsentTotals } from "./unsent-totals.ts";

/** The store's counters of the cluster's totals. */
const TOTALS = [
  { name: "sessions.hosted", counter: HOSTED_COUNTER, gauge: "sessions.hosted_total" },
  { name: "downloads", counter: TOTAL_DOWNLOADS, gauge: "downloads_total" },
] as const satisfies readonly { name: MetricName; counter: string; gauge: MetricName }[];

interface Total extends StoreTotal {
  readonly name: (typeof TOTALS)[number]["name"] | "downloads_by";
  /** The gauge that shows the value; undefined: none. */
  readonly gauge: (typeof TOTALS)[number]["gauge"] | undefined;
}

/** A dead worker is left out when its lease has expired; this only bounds what stays in the store. */
const REPORT_TTL_MS = 60_000;
const MAX_PERIOD_MS = 5000;
/** Within this, callers share one result. */
const FRESH_MS = 1000;

/** What wants metrics more often than this does not wait for heartbeats. */
const MIN_DEFERRED_INTERVAL_MS = 4 * HEARTBEAT_MS;

interface ClusterDeps {
  readonly store: UsageStore & Pick<Store, "addToCounters"> & Deferring<keyof UsageStore>;
  readonly view: { worker(id: WorkerId): Pick<WorkerRecord, "incarnation"> | undefined };
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly peopleCounter: () => PeopleCounter;
  readonly recentPeople: Pick<RecentPeople, "hashes">;
  readonly lag: Pick<LoopLag, "recent">;
  readonly leadership: Pick<LeaderElection, "isLeading"> | undefined;
  /** How often metrics are sent; reports are written twice as often, so that they are in time. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

type UsageStore = Pick<Store, "put" | "list" | "readCounters">;

/** Writes this worker's reports from its construction on, until `close`. */
export class Cluster {
  readonly #deps: ClusterDeps;
  /** For what is sent at intervals. */
  readonly #deferred: UsageStore;
  readonly #unsentTotals: UnsentTotals;
  readonly #reporting: PeriodicTask;
  #cached: { readonly usage: Promise<Usage>; readonly sinceMs: number } | undefined;

  constructor(deps: ClusterDeps) {
    this.#deps = deps;
    const { store, log } = deps;
    this.#deferred = deps.intervalMs >= MIN_DEFERRED_INTERVAL_MS ? store.deferred : store;
    this.#unsentTotals = new UnsentTotals({
      readMarks: (prefix) => this.#deferred.readCounters(prefix),
      raiseMarks: (raises) => store.addToCounters(raises),
      log,
    });
    this.#reporting = startPeriodicTask({
      clock: deps.clock,
      periodMs: Math.min(MAX_PERIOD_MS, deps.intervalMs / 2),
      startsNow: true,
      work: () => this.#report(),
      onError: reportUnlessAway(
        log,
        "this worker's usage could not be written to the store; the cluster's metrics lack it",
      ),
    });
  }

  /** The cluster's series; none while the store is away. At most `FRESH_MS` old. */
  async series(): Promise<readonly Series[]> {
    return (await this.usage()).series;
  }

  /** The same for work that nobody waits for: read with the next heartbeat. */
  async deferredSeries(): Promise<readonly Series[]> {
    return (await this.deferredUsage()).series;
  }

  /** The same with the people. */
  async deferredUsage(): Promise<ClusterUsage> {
    return describe(await this.#readOrReport(() => this.#read(this.#deps.store.deferred)));
  }

  /** As `series`, with the people. */
  async usage(): Promise<ClusterUsage> {
    return describe(await this.#readOrReport(() => this.#readCached()));
  }

  /**
   * The series that the leader sends to StatsD: gauges, and of each total what no worker has sent yet. Call `sent` when they
   * were sent. Empty unless this worker leads.
   */
  async toSend(): Promise<{ readonly series: readonly Series[]; readonly sent: () => void }> {
    const nothing = { series: [], sent: () => {} };
    if (this.#deps.leadership?.isLeading !== true) return nothing;
    const usage = await this.#readOrReport(() => this.#read(this.#deferred));
    if (usage === undefined) return nothing;
    const unsent = await unlessAway(this.#unsentTotals.count(usage.totals));
    if (unsent === undefined) return nothing;
    const gauges = [...sumsAsSeries(usage.sums), ...totalsAsSeries(usage, "gauge", "gauge")];
    return { series: [...gauges, ...unsent.series], sent: unsent.sent };
  }

  close(): void {
    this.#reporting.close();
  }

  async #report(): Promise<void> {
    const report = writeReport(this.#ownReport());
    await this.#deferred.put({
      kind: "usage",
      key: this.#deps.self.id,
      text: report,
      ttlMs: REPORT_TTL_MS,
    });
  }

  #ownReport(): WorkerReport {
    const { self, peopleCounter, recentPeople, lag } = this.#deps;
    const { users, sessions, connections } = peopleCounter();
    const { incarnation } = self;
    const recent = recentPeople.hashes;
    return { incarnation, users, recent, sessions, connections, lagMs: lag.recent.meanMs };
  }

  #readCached(): Promise<Usage> {
    const nowMs = this.#deps.clock.nowMs();
    if (this.#cached === undefined || nowMs - this.#cached.sinceMs >= FRESH_MS) {
      this.#cached = { usage: this.#read(this.#deps.store), sinceMs: nowMs };
    }
    return this.#cached.usage;
  }

  async #read(store: UsageStore): Promise<Usage> {
    const { view, self } = this.#deps;
    const { reports, totals } = await readReports(store);
    // More current than the report that this worker wrote.
    reports[self.id] = this.#ownReport();
    const sums = sumReports(
      reports,
      (id, incarnation) => id === self.id || view.worker(id)?.incarnation === incarnation,
    );
    return { sums, totals };
  }

  /** Undefined while the store is away. */
  async #readOrReport(readUsage: () => Promise<Usage>): Promise<Usage | undefined> {
    try {
      return await readUsage();
    } catch (error) {
      const { log } = this.#deps;
      reportUnlessAway(log, "the cluster's metrics could not be read from the store")(error);
      return undefined;
    }
  }
}

/** The cluster's series for a process that is not a worker. Rejects with `StoreAwayError`. */
export async function readClusterUsage(
  store: Pick<Store, "members" | "list" | "readCounters">,
): Promise<ClusterUsage> {
  const [{ members }, { reports, totals }] = await Promise.all([
    store.members(),
    readReports(store),
  ]);
  const incarnations = new Map(members.map(({ id, incarnation }) => [id, incarnation]));
  const isLive = (id: WorkerId, incarnation: Incarnation): boolean =>
    incarnations.get(id) === incarnation;
  return describe({ sums: sumReports(reports, isLive), totals });
}

export interface ClusterUsage {
  /** None while the store is away. */
  readonly series: readonly Series[];
  /** Hashes of the people who are here, or were a moment ago. */
  readonly people: ReadonlySet<string>;
}

function describe(usage: Usage | undefined): ClusterUsage {
  return { series: usage ? usageAsSeries(usage) : [], people: usage?.sums.people ?? new Set() };
}

async function readReports(
  store: Pick<Store, "list" | "readCounters">,
): Promise<{ reports: Record<string, WorkerReport>; totals: readonly Total[] }> {
  const [texts, byVersion, ...totals] = await Promise.all([
    store.list("usage"),
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

interface Usage {
  readonly sums: ClusterSums;
  readonly totals: readonly Total[];
}

function usageAsSeries(usage: Usage): Series[] {
  return [...sumsAsSeries(usage.sums), ...totalsAsSeries(usage, "name", "counter")];
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
  { totals }: Usage,
  as: "name" | "gauge",
  kind: "counter" | "gauge",
): Series[] {
  return totals.flatMap((one) => {
    const name = one[as];
    return name === undefined ? [] : { name, tag: one.tag, kind, value: one.total };
  });
}
