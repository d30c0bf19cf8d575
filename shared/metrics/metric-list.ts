/**
 * All metrics of the product, each declared once, in the table of what it describes: its kind, unit, meaning, and the values of
 * its tag. An undeclared name does not compile; docs/metrics.md is generated from here. How a name appears in StatsD and in
 * Prometheus: metric-names.ts.
 *
 * Names carry their unit when it is not a plain number. Tags have few values; the only ids are those of workers. A tag without
 * `values` takes them from the code that counts (reasons, versions); metrics.ts bounds their number.
 */

import { BALANCER_METRICS } from "./balancer-metrics.ts";
import { CLUSTER_METRICS, EDGE_METRICS, PROCESS_METRICS } from "./common-metrics.ts";
import type { Metric, Row, Scope } from "./metric.ts";
import { WORKER_METRICS } from "./worker-metrics.ts";

const OF_PROCESSES = {
  ...of("balancer", BALANCER_METRICS),
  ...of("worker", WORKER_METRICS),
  ...of("process", PROCESS_METRICS),
  ...of("edge", EDGE_METRICS),
};

export const METRICS = { ...of("cluster", CLUSTER_METRICS), ...OF_PROCESSES };

function of<Rows extends Readonly<Record<string, Row<Metric["kind"], string>>>>(
  scope: Scope,
  rows: Rows,
): { readonly [Name in keyof Rows]: Rows[Name] & { readonly scope: Scope } } {
  const entries = Object.entries(rows).map(([name, row]) => [name, { scope, ...row }]);
  // Each row is there, with its scope.
  return Object.fromEntries(entries) as ReturnType<typeof of<Rows>>;
}

export type MetricName = keyof typeof METRICS;

/** The names of one kind that a process counts itself; metrics of the cluster are computed from reports. */
type NamesOf<Kind extends Metric["kind"]> = {
  [Name in keyof typeof OF_PROCESSES]: (typeof OF_PROCESSES)[Name]["kind"] extends Kind
    ? Name
    : never;
}[keyof typeof OF_PROCESSES];

export type CounterName = NamesOf<"counter">;
export type GaugeName = NamesOf<"gauge">;
export type HistogramName = NamesOf<"histogram">;

/** The values of a metric's tag; `never` without one. */
export type TagOf<Name extends MetricName> =
  (typeof METRICS)[Name] extends Row<Metric["kind"], infer Tag> ? Tag : never;
