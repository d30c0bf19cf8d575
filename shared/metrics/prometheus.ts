/**
 * `GET /metrics`: the metrics of a process in Prometheus's text format. prom-client only formats them; the values stay in
 * metrics.ts.
 */
import type { Metric as PromMetric } from "prom-client";
import { groupBy } from "../base/grouping.ts";
import { LATENCY_BUCKETS_MS, type Metric, type Scope } from "./metric.ts";
import { METRICS, type MetricName } from "./metric-list.ts";
import { inBaseUnit, labelsOf, prometheusName } from "./metric-names.ts";
import { countOf, type Series } from "./metrics.ts";

/** The same as prom-client's `Registry.PROMETHEUS_CONTENT_TYPE`, which is not loaded yet. */
export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * Formats the `series` that belong to `scopes`. Counters that have not counted yet are included with 0, so that their first
 * event shows as an increase.
 */
export async function writeExposition(
  series: readonly Series[],
  scopes: readonly Scope[],
): Promise<string> {
  // Loaded for the first scrape only, so that processes without Prometheus do not pay for it.
  // Not by its names: a bundle has none of a CommonJS package.
  const { Registry } = (await import("prom-client")).default;
  const registry = new Registry();
  const included = series.filter((one) => isIncluded(METRICS[one.name], scopes) && hasValue(one));
  for (const [name, all] of groupBy([...included, ...zeros(included, scopes)], (one) => one.name)) {
    // prom-client needs only the name of a metric and this method; its own classes would count everything twice.
    const metric: unknown = { name: prometheusName(name), get: async () => describe(name, all) };
    registry.registerMetric(metric as PromMetric);
  }
  return registry.metrics();
}

function isIncluded({ scope, only }: Metric, scopes: readonly Scope[]): boolean {
  return scopes.includes(scope) && only !== "statsd";
}

function hasValue(series: Series): boolean {
  return series.kind === "histogram" || Number.isFinite(series.value);
}

function zeros(series: readonly Series[], scopes: readonly Scope[]): Series[] {
  const seen = new Set(series.map(({ name, tag }) => `${name} ${tag}`));
  return (Object.entries(METRICS) as [MetricName, Metric][])
    .filter(([, metric]) => metric.kind === "counter" && isIncluded(metric, scopes))
    .flatMap(([name, { tag, values }]) =>
      (values ?? (tag === undefined ? [""] : [])).map((value) => ({ name, tag: value })),
    )
    .filter(({ name, tag }) => !seen.has(`${name} ${tag}`))
    .map(({ name, tag }) => ({ name, tag, kind: "counter", value: 0 }));
}

function describe(name: MetricName, series: readonly Series[]): object {
  const metric: Metric = METRICS[name];
  return {
    name: prometheusName(name),
    help: metric.meaning,
    type: metric.kind,
    aggregator: "sum",
    values: series.flatMap((one) => valuesOf(metric, prometheusName(name), one)),
  };
}

interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly metricName?: string;
}

function valuesOf(metric: Metric, name: string, series: Series): Value[] {
  if (series.kind === "histogram") return bucketsOf(metric, name, series);
  return [{ value: inBaseUnit(metric, series.value), labels: labelsOf(metric, series.tag) }];
}

/** Prometheus's buckets are cumulative. */
function bucketsOf(
  metric: Metric,
  name: string,
  series: Extract<Series, { kind: "histogram" }>,
): Value[] {
  let seen = 0;
  const buckets = series.counts.map((count, bucket) => {
    seen += count;
    const bound = LATENCY_BUCKETS_MS[bucket];
    const le = bound === undefined ? "+Inf" : String(inBaseUnit(metric, bound));
    return { metricName: `${name}_bucket`, value: seen, labels: { le } };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, value: inBaseUnit(metric, series.sum), labels: {} },
    { metricName: `${name}_count`, value: countOf(series), labels: {} },
  ];
}
