/**
 * Publishes what links have done. Every frame counts, so links count in plain numbers (shared/link/link.ts); the metrics take
 * them over when they are read.
 */
import type { LinkCounts } from "../link/link-counts.ts";
import type { Counters } from "./metrics.ts";

const BALANCER = {
  framesIn: "balancer.link.received_frames",
  framesOut: "balancer.link.sent_frames",
  bytesIn: "balancer.link.received_bytes",
  bytesOut: "balancer.link.sent_bytes",
  stalls: "balancer.link.stalls",
  resets: "balancer.link.resets",
  errors: "balancer.link.errors",
} as const;

const WORKER = {
  framesIn: "worker.link.received_frames",
  framesOut: "worker.link.sent_frames",
  bytesIn: "worker.link.received_bytes",
  bytesOut: "worker.link.sent_bytes",
  stalls: "worker.link.stalls",
  resets: "worker.link.resets",
  errors: "worker.link.errors",
} as const;

type Kind = keyof typeof BALANCER;
const KINDS = Object.keys(BALANCER) as readonly Kind[];

/** Returns a function that counts what was added to `counts`, of links to `worker`, since its last call. */
export function countBalancerLinks(
  counters: Pick<Counters, "count">,
  worker: string,
  counts: Readonly<LinkCounts>,
): () => void {
  return takeOver(counts, (kind, by) => counters.count(BALANCER[kind], worker, by));
}

/** Counts what is added to `counts` from now on. */
export function countWorkerLinks(
  counters: Pick<Counters, "count" | "beforeRead">,
  counts: Readonly<LinkCounts>,
): void {
  counters.beforeRead(takeOver(counts, (kind, by) => counters.count(WORKER[kind], "", by)));
}

function takeOver(
  counts: Readonly<LinkCounts>,
  count: (kind: Kind, by: number) => void,
): () => void {
  const taken = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;
  return () => {
    for (const kind of KINDS) {
      // Also 0, so that the first event of a link shows as an increase.
      count(kind, counts[kind] - taken[kind]);
      taken[kind] = counts[kind];
    }
  };
}
