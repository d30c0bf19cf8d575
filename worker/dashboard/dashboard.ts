/**
 * The dashboard's parts: what is known of the edge, its history, the logs, the live feed and the checks.
 */
import type { Clock } from "../../shared/clock.ts";
import type { Settings } from "../../shared/config.ts";
import type { WorkerId } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import { standFor } from "../../shared/membership/leadership.ts";
import type { Series } from "../../shared/metrics.ts";
import type { Store } from "../../shared/store/store.ts";
import type { CheckAnswer } from "./answers.ts";
import { describeOverview } from "./describe.ts";
import { createFeed } from "./feed.ts";
import { recordHistory, type Sample } from "./history.ts";
import { createLogs } from "./logs.ts";
import type { DashboardArea } from "./routes.ts";
import { createSnapshots } from "./snapshot.ts";

export interface Dashboard extends DashboardArea {
  close(): Promise<void>;
}

/** A store that takes longer is slow enough to be felt. */
const SLOW_STORE_MS = 50;

export function openDashboard(needs: {
  readonly settings: Pick<Settings, "logDir" | "storeSocket">;
  readonly self: { readonly id: WorkerId };
  readonly store: Store;
  readonly clusterSeries: () => Promise<readonly Series[]>;
  readonly downloads: DashboardArea["downloads"];
  readonly clock: Clock;
  readonly log: Log;
}): Dashboard {
  const { settings, store, clock, log, self } = needs;
  const snapshots = createSnapshots({ store, clock, cluster: needs.clusterSeries });
  // With a store of this machine all processes are here, and so are their files.
  const folder = settings.storeSocket === undefined ? undefined : settings.logDir;
  const logs = createLogs({ folder, store });
  const storeHealth = () => store.health;
  const feed = createFeed({ snapshots, logs, storeHealth, clock, log });
  const leadership = standFor("history", { store, clock, log, holder: self.id });

  async function sample(): Promise<Sample> {
    const { tiles } = describeOverview(await snapshots.read(), store.health);
    return {
      users: tiles.usersOnline,
      sessions: tiles.sessionsActive,
      connections: tiles.connectionsActive,
      lagMs: tiles.lagMs,
      hostedTotal: tiles.sessionsHosted,
    };
  }
  const history = recordHistory({ store, clock, log, leadership, sample });

  return {
    snapshots,
    feed,
    logs,
    downloads: needs.downloads,
    storeHealth,
    async checks() {
      return [await checkStore(store, clock)];
    },
    async close() {
      history.close();
      feed.close();
      snapshots.close();
      await leadership.close();
    },
  };
}

async function checkStore(
  store: Pick<Store, "timeMs">,
  clock: Clock,
): Promise<CheckAnswer["checks"][number]> {
  const sentMs = clock.nowMs();
  try {
    await store.timeMs();
  } catch (error) {
    return { name: "Store", outcome: "bad", detail: String(error) };
  }
  const tookMs = clock.nowMs() - sentMs;
  return {
    name: "Store",
    outcome: tookMs < SLOW_STORE_MS ? "good" : "bad",
    detail: `answered after ${tookMs.toFixed(1)} ms`,
  };
}
