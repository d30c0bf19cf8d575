/**
 * How a metric of metric-list.ts is called outside. Pure.
 *
 * StatsD, plain: `prefix.` + for the cluster the name itself, for a process `worker.ID.` or `balancer.ID.` and the name
 * without its scope, then the value of its tag as one more segment. With tags: the same without id and tag in the name.
 * Prometheus: `codetogether_` and base units, as `promtool check metrics` wants them.
 */
import { METRICS, type Metric, type MetricName } from "./metric-list.ts";

const PROMETHEUS_PREFIX = "codetogether_";

/** A part of a dotted name: what StatsD, Graphite or a file system could read as something else becomes `_`. */
export function segment(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]+/g, "_");
}

/** The name without its scope, where that is said before it. */
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

/** What a series of `metric` differs by: names and values, none without a tag. */
export function labelsOf(metric: Metric, tag: string): Record<string, string> {
  if (metric.tag === undefined) return tag === "" ? {} : { kind: tag };
  if (metric.secondTag === undefined) return { [metric.tag]: tag };
  const slash = tag.indexOf("/");
  return { [metric.tag]: tag.slice(0, slash), [metric.secondTag]: tag.slice(slash + 1) };
}

/** A value in Prometheus's base unit. */
export function inBaseUnit(metric: Metric, value: number): number {
  return metric.unit === "ms" ? value / 1000 : value;
}
