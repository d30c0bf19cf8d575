/** The counts of this balancer's links as metrics, by worker. */
import type { WorkerId } from "../../shared/base/ids.ts";
import { countBalancerLinks } from "../../shared/metrics/link-counters.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { WorkerLinks } from "./worker-links.ts";

export type MeasuredLinks = Pick<WorkerLinks, "counts" | "isOver">;

/** Returns a function that adds the links to one incarnation of a worker. What they did is counted to their end. */
export function measureLinks(
  counters: Pick<Counters, "count" | "beforeRead">,
): (worker: WorkerId, links: MeasuredLinks) => void {
  const measured = new Map<MeasuredLinks, () => void>();

  function takeOver(): void {
    for (const [links, count] of measured) {
      count();
      if (links.isOver) measured.delete(links);
    }
  }

  counters.beforeRead(takeOver);
  return (worker, links) => {
    // Also without a reader of the metrics, links that are over must not stay in memory.
    takeOver();
    measured.set(links, countBalancerLinks(counters, worker, links.counts));
  };
}
