/** Where the gauges of a worker have their values from. */
import type { Counters } from "../shared/metrics.ts";
import type { Census } from "./census.ts";

/** Looking at the gauges one after the other counts once. */
export function measureWorker(needs: {
  readonly counters: Pick<Counters, "gauge">;
  readonly census: () => Census;
  readonly waitingPolls: () => number;
}): void {
  const { counters } = needs;
  let counted: Census | undefined;
  const census = (): Census => {
    if (counted === undefined) {
      counted = needs.census();
      queueMicrotask(() => {
        counted = undefined;
      });
    }
    return counted;
  };
  counters.gauge("worker.users.online", () => census().users.size);
  counters.gauge("worker.sessions.active", () => census().sessions);
  counters.gauge("worker.connections.active", () => census().connections);
  counters.gauge("worker.peers.away", () => census().away);
  counters.gauge("worker.buffer_bytes", () => census().bufferBytes);
  counters.gauge("worker.polls.waiting", needs.waitingPolls);
}
