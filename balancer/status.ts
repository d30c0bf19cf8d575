/**
 * What the balancer's status port shows: whether it wants traffic, and the workers and the ring as it sees them now.
 */
import type { MembershipView } from "../shared/membership/view.ts";
import type { Counters } from "../shared/metrics.ts";
import type { StatusSource } from "../shared/status-port.ts";
import type { Store } from "../shared/store/store.ts";
import { VERSION } from "../shared/version.ts";
import type { DataPath } from "./data-path.ts";

export function statusOf(parts: {
  dataPath: Pick<DataPath, "listener" | "directory" | "tunnels">;
  view: Pick<MembershipView, "ring">;
  store: Pick<Store, "health">;
  counters: Counters;
}): StatusSource {
  const { listener, directory, tunnels } = parts.dataPath;
  return {
    readiness: () => ({
      notReady: directory.usable > 0 ? [] : ["no worker takes new sessions"],
      // The last view of the workers goes on being used.
      degraded: parts.store.health.state === "away" ? [`store: ${parts.store.health.reason}`] : [],
    }),
    view: () => ({
      role: "balancer",
      version: VERSION,
      store: parts.store.health,
      ring: parts.view.ring.fingerprint,
      connections: listener.connections,
      tunnels: tunnels.size,
      workers: directory.upstreams.map((upstream) => ({
        ...upstream.record,
        suspect: upstream.isSuspect,
        inFlight: upstream.inFlight,
      })),
      counters: parts.counters.snapshot(),
    }),
  };
}
