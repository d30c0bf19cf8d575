/** A worker's measurements: its gauges, its usage report for the cluster's metrics, and StatsD. */
import type { Clock } from "../../shared/base/clock.ts";
import type { Incarnation, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import { createLeaderElection } from "../../shared/membership/leader-election.ts";
import type { MembershipView } from "../../shared/membership/view.ts";
import { watchLoopLag } from "../../shared/metrics/loop-lag.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { writeExposition } from "../../shared/metrics/prometheus.ts";
import { type PublisherSettings, startPublisher } from "../../shared/metrics/statsd/publisher.ts";
import type { SinkHealth } from "../../shared/metrics/statsd/sink.ts";
import { measureProcess } from "../../shared/process/process-metrics.ts";
import type { Store } from "../../shared/store/store.ts";
import type { Registry } from "../sessions/registry.ts";
import { Cluster } from "./cluster.ts";
import {
  createPeopleCounter,
  type PeopleCounter,
  type PersonHash,
  type RecentPeople,
} from "./people.ts";

export function measureWorker(deps: {
  readonly settings: PublisherSettings;
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly store: Store;
  readonly view: Pick<MembershipView, "worker">;
  readonly registry: Pick<Registry, "sessions">;
  readonly hashOf: PersonHash;
  readonly recentPeople: RecentPeople;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { settings, self, store, counters, clock, log } = deps;
  const lag = watchLoopLag(clock);
  const peopleCounter = createPeopleCounter({
    hashOf: deps.hashOf,
    sessions: () => deps.registry.sessions(),
  });
  measureProcess({ counters, lag, storeHealth: () => store.health });
  addGauges(counters, peopleCounter);

  const sends = settings.metricsStatsdHost !== undefined;
  const leadership = sends
    ? createLeaderElection("statsd", { store, clock, log, holder: self.id })
    : undefined;
  const intervalMs = settings.metricsIntervalMs;
  const cluster = new Cluster({ ...deps, peopleCounter, lag, leadership, intervalMs });
  const publisher = startPublisher({
    settings,
    source: { role: "worker", id: self.id },
    scopes: ["cluster", "worker", "process"],
    async series() {
      const { series, sent } = await cluster.toSend();
      return { series: [...series, ...counters.series()], sent };
    },
    clock,
    log,
  });

  return {
    lag,
    clusterSeries: () => cluster.series(),
    deferredSeries: () => cluster.deferredSeries(),
    /** The cluster's series with its people. */
    clusterUsage: () => cluster.usage(),
    deferredUsage: () => cluster.deferredUsage(),
    /** The cluster's series in Prometheus's text format. */
    clusterPage: async () => writeExposition(await cluster.series(), ["cluster"]),
    /** Undefined: metrics are not sent. */
    get statsd(): SinkHealth | undefined {
      return publisher?.health;
    },
    /** Sends the current values once more. Close it before the store. */
    async close(): Promise<void> {
      lag.close();
      cluster.close();
      await publisher?.close();
      await leadership?.close();
    },
  };
}

/** Gauges that are read together share one count. */
function addGauges(counters: Pick<Counters, "gauge">, count: () => PeopleCounter): void {
  let counted: PeopleCounter | undefined;
  const peopleCounter = (): PeopleCounter => {
    if (counted === undefined) {
      counted = count();
      queueMicrotask(() => {
        counted = undefined;
      });
    }
    return counted;
  };
  counters.gauge("worker.users.online", () => peopleCounter().users.size);
  counters.gauge("worker.sessions.active", () => peopleCounter().sessions);
  counters.gauge("worker.connections.active", () => peopleCounter().connections);
  counters.gauge("worker.peers.away", () => peopleCounter().away);
  counters.gauge("worker.buffer_bytes", () => peopleCounter().bufferBytes);
}
