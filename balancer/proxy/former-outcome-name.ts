/**
 * One version: a rerouted 421 without an owner is counted as `misrouted` and under the old outcome `not-meant`, so that
 * dashboards and alerts can be changed first. After that this is a plain call of `Counters.count`.
 */
import type { Counters } from "../../shared/metrics/metrics.ts";

export function countMisdirected(counters: Pick<Counters, "count">, outcome: string): void {
  counters.count("balancer.misdirected", outcome);
  if (outcome === "misrouted") counters.count("balancer.misdirected", "not-meant");
}
