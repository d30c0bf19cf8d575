/**
 * Names of metrics in StatsD and Prometheus. Pure.
 *
 * StatsD without tags: the prefix, then for a metric of the cluster its name, for one of a process `worker.ID.` or
 * `balancer.ID.` and the name without its scope, then the value of its tag as one more segment. With tags: the same without
 * id and tag. Prometheus: `codetogether_` and base units, as `promtool check metrics` requires.
 */
import type { Metric } from "./metric.ts";
import { METRICS, type MetricName } from "./metric-list.ts";

const PROMETHEUS_PREFIX = "codetogether_";

/** A segment of a dotted name: characters with a meaning for StatsD, Graphite or a file system become `_`. */
export function segment(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]+/g, "_");
}

/** The name without its scope, where the source of the metric precedes it. */
export function localName(name: MetricName): string {
  return name.replace(/^(worker|balancer|edge|process)\./, "");
}

export function prometheusName(name: MetricName): string {
  const metric: Metric = METRICS[name];
  let base = segment(
    (metric.inPrometheus ?? name).replace(/\.average$|_(ms|bytes)$/, "").replaceAll(".", "_"),
  );
  if (metric.unit === "ms") base += "_seconds";
  if (metric.unit === "bytes") base += "_bytes";
  if (metric.kind === "counter") base += "_total";
  return PROMETHEUS_PREFIX + base;
}

/** The labels of a series of `metric`; none without a tag. */
export function labelsOf(metric: Metric, tag: string): Record<string, string> {
  if (metric.tag === undefined) return tag === "" ? {} : { kind: tag };
  if (metric.secondTag === undefined) return { [metric.tag]: tag };
  const slash = tag.indexOf("/");
  return { [metric.tag]: tag.slice(0, slash), [metric.secondTag]: tag.slice(slash + 1) };
}

export function inBaseUnit(metric: Metric, value: number): number {
  return metric.unit === "ms" ? value / 1000 : value;
}
