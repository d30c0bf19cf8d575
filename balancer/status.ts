/**
 * What the balancer's status port shows: whether it wants traffic, and the workers and the ring as it sees them now.
 */
import type { Counters } from "../shared/metrics.ts";
import { writeExposition } from "../shared/prometheus.ts";
import type { StatusSource } from "../shared/status-port.ts";
import { VERSION } from "../shared/version.ts";
import type { DataPath } from "./data-path.ts";
import type { Members } from "./members.ts";

export function statusOf(parts: {
  dataPath: Pick<DataPath, "listener" | "directory" | "tunnels">;
  members: Pick<Members, "view" | "storeHealth" | "refused">;
  counters: Counters;
}): StatusSource {
  const { listener, directory, tunnels } = parts.dataPath;
  const { members } = parts;
  return {
    readiness() {
      const store = members.storeHealth();
      return {
        notReady: directory.usable > 0 ? [] : ["no worker takes new sessions"],
        // The last view of the workers goes on being used.
        degraded: store?.state === "away" ? [`store: ${store.reason}`] : [],
      };
    },
    view: () => ({
      role: "balancer",
      version: VERSION,
      // Left out with a fixed list of workers.
      store: members.storeHealth(),
      refused: members.refused(),
      ring: members.view.ring.fingerprint,
      connections: listener.connections,
      tunnels: tunnels.size,
      workers: directory.upstreams.map((upstream) => ({
        ...upstream.record,
        suspect: upstream.isSuspect,
        inFlight: upstream.inFlight,
      })),
      counters: parts.counters.snapshot(),
    }),
    metrics: () => writeExposition(parts.counters.series(), ["balancer", "process"]),
  };
}
