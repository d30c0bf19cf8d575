/** Names of metrics in PromQL, from their declaration: a name that is not declared does not compile. */
import type { HistogramName, MetricName } from "../../../../shared/metrics/metric-list.ts";
import { prometheusName } from "../../../../shared/metrics/metric-names.ts";

/** The jobs under which Prometheus scrapes the processes (README.md). */
export const BALANCERS = 'job="codetogether-balancer"';
export const WORKERS = 'job="codetogether-worker"';

/** The series of a metric, with conditions on its labels. */
export function metric(name: MetricName, labels = ""): string {
  return prometheusName(name) + (labels === "" ? "" : `{${labels}}`);
}

export function buckets(name: HistogramName): string {
  return `${prometheusName(name)}_bucket`;
}

/** How many values a histogram has counted. */
export function observations(name: HistogramName): string {
  return `${prometheusName(name)}_count`;
}

/**
 * One value for each edge: several that the same Prometheus scrapes differ by the label `namespace`, as pods do; without the
 * label all targets are one edge.
 */
export function perEdge(operator: "sum" | "max", expr: string): string {
  return `${operator} by (namespace) (${expr})`;
}
