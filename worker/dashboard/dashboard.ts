/**
 * Wires the dashboard: snapshots of the edge, history, logs, the live feed and the checks.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import type { Series } from "../../shared/metrics/metrics.ts";
import type { FoundLicense } from "../../shared/settings/license-file.ts";
import type { Slice } from "../../shared/settings/read-settings.ts";
import type { Store, StoreHealth } from "../../shared/store/store.ts";
import type { Downloads } from "../clients/downloads.ts";
import type { ClusterUsage } from "../usage/cluster.ts";
import { type ReadUsage, readDailyUsage, recordDailyUsage } from "../usage/daily-usage.ts";
import { checkLicense, checkMembers, checkStore } from "./checks.ts";
import { describeMembers, describeTiles } from "./describe.ts";
import { createFeed } from "./feed.ts";
import { recordHistory, type Sample } from "./history.ts";
import { createLogs } from "./logs.ts";
import type { ShownPolicy } from "./policy-routes.ts";
import type { CheckResponse } from "./responses.ts";
import { createSnapshots, type Snapshot } from "./snapshot.ts";

export type Dashboard = ReturnType<typeof openDashboard>;

export const DASHBOARD_SETTINGS = ["logDir", "storeSocket"] as const;

export function openDashboard(deps: {
  readonly settings: Slice<typeof DASHBOARD_SETTINGS>;
  readonly self: { readonly id: WorkerId };
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly store: Store;
  readonly clusterUsage: () => Promise<ClusterUsage>;
  /** The same for work that nobody waits for. */
  readonly deferredUsage: () => Promise<ClusterUsage>;
  /** Undefined when the plugin area is turned off. */
  readonly downloads: Pick<Downloads, "read"> | undefined;
  /** Undefined: there is none. */
  readonly policy: ShownPolicy | undefined;
  readonly license: FoundLicense;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { settings, self, store, leadership, clock, log } = deps;
  const cluster = async (): Promise<readonly Series[]> => (await deps.clusterUsage()).series;
  const snapshots = createSnapshots({ store, clock, cluster });
  // With the embedded store all processes run on this machine, so their log files are here.
  const folder = settings.storeSocket === undefined ? undefined : settings.logDir;
  const logs = createLogs({ folder, store });
  const storeHealth = (): StoreHealth => store.health;
  const feed = createFeed({ snapshots, logs, storeHealth, clock, log });

  async function sample(): Promise<Sample> {
    const { series, people } = await deps.deferredUsage();
    dailyUsage.add(people);
    const tiles = describeTiles(series);
    return {
      users: tiles.usersOnline,
      sessions: tiles.sessionsActive,
      connections: tiles.connectionsActive,
      lagMs: tiles.lagMs,
      hostedTotal: tiles.sessionsHosted,
    };
  }
  const dailyUsage = recordDailyUsage({ store, leadership, clock, log });
  const history = recordHistory({ store: store.deferred, clock, log, leadership, sample });

  return {
    snapshots,
    feed,
    logs,
    downloads: deps.downloads,
    storeHealth,
    async checks(): Promise<CheckResponse["checks"]> {
      const snapshot = await snapshots.read();
      return [
        await checkStore(store, clock),
        ...checkMembers(snapshot),
        checkLicense(deps.license, clock.wallMs(), connectionsOf(snapshot)),
      ];
    },
    /** Of the last `days` days. Rejects with `StoreAwayError`. */
    async usage(days: number): Promise<ReadUsage> {
      const { people } = await deps.clusterUsage();
      return readDailyUsage(store, people, days);
    },
    worker: self.id,
    policy: deps.policy,
    async close(): Promise<void> {
      history.close();
      feed.close();
      snapshots.close();
      if (leadership.isLeading) dailyUsage.add((await deps.deferredUsage()).people);
      await dailyUsage.close();
    },
  };
}

/** Connections of people in the whole edge; undefined during a store outage. */
function connectionsOf(snapshot: Snapshot): number | undefined {
  if (!snapshot.isCurrent) return undefined;
  const { workers } = describeMembers(snapshot);
  return workers.reduce((sum, { connections }) => sum + (connections ?? 0), 0);
}
