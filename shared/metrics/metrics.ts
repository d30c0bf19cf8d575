/**
 * What one process counts and measures, kept in memory: counters, histograms, and gauges that are read when somebody asks.
 * Which metrics there are: metric-list.ts. Publishing them: statsd/, prometheus.ts; the status port shows them.
 */
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  LATENCY_BUCKETS_MS,
  METRICS,
  type Metric,
  type MetricName,
  type TagOf,
} from "./metric-list.ts";

/** The counts and measurements of one process since its start. */
export interface Counters {
  /** Adds `by` (default 1) to a counter, in the series of `tag` when the counter has one. */
  count<Name extends CounterName>(name: Name, tag?: TagOf<Name> | "", by?: number): void;
  /** Adds a value to a histogram. What is no number or negative (a clock that was wrong) is left out. */
  observe(name: HistogramName, value: number): void;
  /**
   * Says where a gauge's value comes from; asked each time that somebody looks. With a tag: a value for each series. What
   * is undefined has no value now.
   */
  gauge<Name extends GaugeName>(name: Name, read: () => GaugeValue<Name>): void;
  /** One series of a counter; 0 when nothing was counted. Without a tag: the sum of all its series. */
  value<Name extends CounterName>(name: Name, tag?: TagOf<Name> | ""): number;
  /** All series of counters that are not 0, as `name` or `name{tag}`, sorted. */
  snapshot(): Record<string, number>;
  /** Every series that has a value, as it is now. */
  series(): Series[];
}

export type GaugeValue<Name extends GaugeName> =
  | ([TagOf<Name>] extends [never] ? number : Readonly<Partial<Record<TagOf<Name>, number>>>)
  | undefined;

/** One series as it is now. `tag` is empty for a metric without one. */
export type Series = { readonly name: MetricName; readonly tag: string } & (
  | { readonly kind: "counter" | "gauge"; readonly value: number }
  | ({ readonly kind: "histogram" } & Distribution)
);

/** How the values of a histogram are spread. */
export interface Distribution {
  /** How many fell into each bucket: up to and including each of `LATENCY_BUCKETS_MS`, and, last, beyond them. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Series of one counter beyond which tags are summed up as `other`, so that a bug cannot fill the memory. */
const MAX_TAGS = 64;

export function createCounters(): Counters {
  const seriesByName = new Map<CounterName, Map<string, number>>();
  const histograms = new Map<HistogramName, Histogram>();
  const gauges = new Map<GaugeName, () => unknown>();
  for (const [name, metric] of Object.entries(METRICS) as [MetricName, Metric][]) {
    // From the start, so that they are seen before the first value.
    if (metric.kind === "histogram") histograms.set(name as HistogramName, new Histogram());
  }

  function* readGauge(name: GaugeName, read: () => unknown): Generator<Series> {
    const value = read();
    if (typeof value === "number") yield { name, tag: "", kind: "gauge", value };
    if (typeof value !== "object" || value === null) return;
    for (const [tag, tagged] of Object.entries(value)) {
      if (typeof tagged === "number") yield { name, tag, kind: "gauge", value: tagged };
    }
  }

  return {
    count(name, tag = "", by = 1) {
      let series = seriesByName.get(name);
      if (series === undefined) {
        series = new Map();
        seriesByName.set(name, series);
      }
      const key = series.has(tag) || series.size < MAX_TAGS ? tag : "other";
      series.set(key, (series.get(key) ?? 0) + by);
    },
    observe(name, value) {
      histograms.get(name)?.add(value);
    },
    gauge(name, read) {
      gauges.set(name, read);
    },
    value(name, tag) {
      const series = seriesByName.get(name);
      if (series === undefined) return 0;
      if (tag !== undefined) return series.get(tag) ?? 0;
      let sum = 0;
      for (const count of series.values()) sum += count;
      return sum;
    },
    snapshot() {
      const lines: [string, number][] = [];
      for (const [name, series] of seriesByName) {
        for (const [tag, count] of series)
          lines.push([tag === "" ? name : `${name}{${tag}}`, count]);
      }
      return Object.fromEntries(lines.sort(([a], [b]) => (a < b ? -1 : 1)));
    },
    series() {
      const all: Series[] = [];
      for (const [name, series] of seriesByName) {
        for (const [tag, value] of series) all.push({ name, tag, kind: "counter", value });
      }
      for (const [name, read] of gauges) all.push(...readGauge(name, read));
      for (const [name, histogram] of histograms) {
        const { counts, sum } = histogram;
        all.push({ name, tag: "", kind: "histogram", counts: [...counts], sum });
      }
      return all;
    },
  };
}

class Histogram {
  readonly counts: number[] = new Array<number>(LATENCY_BUCKETS_MS.length + 1).fill(0);
  sum = 0;

  add(value: number): void {
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) return;
    // Most values fall into the first few buckets, so this is as fast as halving, and shorter.
    let bucket = 0;
    while (bucket < LATENCY_BUCKETS_MS.length && value > (LATENCY_BUCKETS_MS[bucket] ?? 0)) {
      bucket++;
    }
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }
}

/** How many values a distribution holds. */
export function countOf(distribution: Pick<Distribution, "counts">): number {
  return distribution.counts.reduce((sum, count) => sum + count, 0);
}

/** What came into a distribution since it was as `before`. */
export function since(now: Distribution, before: Distribution | undefined): Distribution {
  if (before === undefined) return now;
  return {
    counts: now.counts.map((count, bucket) => count - (before.counts[bucket] ?? 0)),
    sum: now.sum - before.sum,
  };
}

/**
 * The value that `share` (0 to 1) of the values do not exceed, taken as evenly spread within their bucket; 0 without
 * values. What is beyond the last bound counts as the bound.
 */
export function quantile(distribution: Pick<Distribution, "counts">, share: number): number {
  const wanted = countOf(distribution) * share;
  let seen = 0;
  for (const [bucket, count] of distribution.counts.entries()) {
    if (count > 0 && seen + count >= wanted) {
      const low = LATENCY_BUCKETS_MS[bucket - 1] ?? 0;
      const high = LATENCY_BUCKETS_MS[bucket] ?? low;
      return low + (high - low) * Math.max(0, (wanted - seen) / count);
    }
    seen += count;
  }
  return 0;
}
