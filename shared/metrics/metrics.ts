/**
 * The metrics of one process, in memory: counters, histograms, and gauges that are read on demand. Their declaration:
 * metric-list.ts. Publishing: statsd/, prometheus.ts, and the status port.
 */
import { LATENCY_BUCKETS_MS, type Metric } from "./metric.ts";
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  METRICS,
  type MetricName,
  type TagOf,
} from "./metric-list.ts";

/** The counts and measurements of one process since its start. */
export interface Counters {
  /** Adds `by` (default 1) to a counter, in the series of `tag` when the counter has one. */
  count<Name extends CounterName>(name: Name, tag?: TagOf<Name> | "", by?: number): void;
  /** The counter itself, for what is counted on every request: its look-up by name is done once. */
  counter<Name extends CounterName>(name: Name): Counter<TagOf<Name>>;
  /** As `counter`. */
  histogram(name: HistogramName): Histogram;
  /** Adds a value to a histogram. Negative values (from a clock that was set back) and NaN are ignored. */
  observe(name: HistogramName, value: number): void;
  /**
   * Registers `read`, which is called whenever the gauge is published. For a metric with a tag it returns one value per
   * series. A series whose value is undefined is not published.
   */
  gauge<Name extends GaugeName>(name: Name, read: () => GaugeValue<Name>): void;
  /** Calls `collect` before each read of the values, to count what is kept elsewhere as plain numbers. */
  beforeRead(collect: () => void): void;
  /** The value of one series of a counter; 0 if it was not counted yet. Without `tag`: the sum of all its series. */
  value<Name extends CounterName>(name: Name, tag?: TagOf<Name> | ""): number;
  /** All counters that have counted, as `name` or `name{tag}`, sorted. */
  snapshot(): Record<string, number>;
  series(): Series[];
}

/** A counter of one name. */
export interface Counter<Tag extends string> {
  count(tag?: Tag | "", by?: number): void;
}

export interface Histogram {
  add(value: number): void;
}

export type GaugeValue<Name extends GaugeName> =
  | ([TagOf<Name>] extends [never] ? number : Readonly<Partial<Record<TagOf<Name>, number>>>)
  | undefined;

/** The current value of one series. `tag` is empty for a metric without a tag. */
export type Series = { readonly name: MetricName; readonly tag: string } & (
  | { readonly kind: "counter" | "gauge"; readonly value: number }
  | ({ readonly kind: "histogram" } & Distribution)
);

export interface Distribution {
  /** Number of values per bucket: up to and including each of `LATENCY_BUCKETS_MS`; the last one counts those above. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Most series of one counter; further tags are counted as `other`, so that a bug cannot fill the memory. */
const MAX_TAGS = 64;

export function createCounters(): Counters {
  const tallies = new Map<CounterName, Tally>();
  const histograms = new Map<HistogramName, Buckets>();
  const gauges = new Map<GaugeName, () => unknown>();
  const collectors: (() => void)[] = [];
  for (const [name, metric] of Object.entries(METRICS) as [MetricName, Metric][]) {
    // Histograms exist from the start, so that they are published before their first value.
    if (metric.kind === "histogram") histograms.set(name as HistogramName, new Buckets());
  }

  function tallyOf(name: CounterName): Tally {
    let tally = tallies.get(name);
    if (tally === undefined) {
      tally = new Tally();
      tallies.set(name, tally);
    }
    return tally;
  }

  function histogramOf(name: HistogramName): Buckets {
    const histogram = histograms.get(name);
    if (histogram === undefined) throw new TypeError(`${name} is not a histogram`);
    return histogram;
  }

  function collectAll(): void {
    for (const collect of collectors) collect();
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
    count(name, tag, by) {
      tallyOf(name).count(tag, by);
    },
    counter: tallyOf,
    histogram: histogramOf,
    observe(name, value) {
      histogramOf(name).add(value);
    },
    gauge(name, read) {
      gauges.set(name, read);
    },
    beforeRead(collect) {
      collectors.push(collect);
    },
    value(name, tag) {
      collectAll();
      const tally = tallies.get(name);
      if (tally === undefined) return 0;
      let sum = 0;
      for (const [counted, value] of tally.series()) {
        if (tag === undefined || counted === tag) sum += value;
      }
      return sum;
    },
    snapshot() {
      collectAll();
      const lines: [string, number][] = [];
      for (const [name, tally] of tallies) {
        for (const [tag, count] of tally.series()) {
          if (count > 0) lines.push([tag === "" ? name : `${name}{${tag}}`, count]);
        }
      }
      return Object.fromEntries(lines.sort(([a], [b]) => (a < b ? -1 : 1)));
    },
    series() {
      collectAll();
      const all: Series[] = [];
      for (const [name, tally] of tallies) {
        for (const [tag, value] of tally.series()) all.push({ name, tag, kind: "counter", value });
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

/** The series of one counter: a slot for each tag. */
class Tally implements Counter<string> {
  readonly #slots = new Map<string, { value: number }>();

  count(tag = "", by = 1): void {
    const slot = this.#slots.get(tag) ?? this.#add(tag);
    slot.value += by;
  }

  #add(tag: string): { value: number } {
    const key = this.#slots.size < MAX_TAGS ? tag : "other";
    const slot = this.#slots.get(key) ?? { value: 0 };
    this.#slots.set(key, slot);
    return slot;
  }

  *series(): Generator<readonly [tag: string, value: number]> {
    for (const [tag, { value }] of this.#slots) yield [tag, value];
  }
}

class Buckets implements Histogram {
  readonly counts: number[] = new Array<number>(LATENCY_BUCKETS_MS.length + 1).fill(0);
  sum = 0;

  add(value: number): void {
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) return;
    // Most values fall into the first few buckets, so a binary search would not be faster.
    let bucket = 0;
    while (bucket < LATENCY_BUCKETS_MS.length && value > (LATENCY_BUCKETS_MS[bucket] ?? 0)) {
      bucket++;
    }
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }
}

export function countOf(distribution: Pick<Distribution, "counts">): number {
  return distribution.counts.reduce((sum, count) => sum + count, 0);
}

/** The values added to a distribution since `before`. */
export function since(now: Distribution, before: Distribution | undefined): Distribution {
  if (before === undefined) return now;
  return {
    counts: now.counts.map((count, bucket) => count - (before.counts[bucket] ?? 0)),
    sum: now.sum - before.sum,
  };
}

/**
 * The value that a `share` (0 to 1) of the values does not exceed, assuming that they are spread evenly within their bucket;
 * 0 without values. Values above the last bound count as that bound.
 */
export function quantile(distribution: Pick<Distribution, "counts">, share: number): number {
  const rank = countOf(distribution) * share;
  let seen = 0;
  for (const [bucket, count] of distribution.counts.entries()) {
    if (count > 0 && seen + count >= rank) {
      const low = LATENCY_BUCKETS_MS[bucket - 1] ?? 0;
      const high = LATENCY_BUCKETS_MS[bucket] ?? low;
      return low + (high - low) * Math.max(0, (rank - seen) / count);
    }
    seen += count;
  }
  return 0;
}
