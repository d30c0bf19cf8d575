/** What the declaration of a metric consists of, and how its row is written. The metrics themselves: metric-list.ts. */

/** What a metric describes: one process of a role, any balancer or worker (`process`), or all of them together (`cluster`). */
export type Scope = "cluster" | "balancer" | "worker" | "process" | "edge";

export type Unit =
  | "ms"
  | "bytes"
  | "events"
  | "requests"
  | "connections"
  | "messages"
  | "frames"
  | "number";

export interface Metric {
  readonly scope: Scope;
  /**
   * `counter`: only rises, from the start of the process. `gauge`: the current value, never negative. `histogram`: how often
   * a value fell into each of the buckets of `LATENCY_BUCKETS_MS`.
   */
  readonly kind: "counter" | "gauge" | "histogram";
  readonly unit: Unit;
  readonly meaning: string;
  /** The name of its tag: a metric with a tag has one series per value of the tag. */
  readonly tag?: string;
  readonly values?: readonly string[];
  /** The name of a second tag. A series' tag then holds both values, separated by a slash. */
  readonly secondTag?: string;
  /** Its name in Prometheus without prefix and unit, where it differs. */
  readonly inPrometheus?: string;
  /** Repeats another metric in a form that only one kind of publishing needs. */
  readonly only?: "statsd";
}

/** One row of a table, whose scope is that of the table. `Tag`: the values of its tag, `never` without one. */
export interface Row<Kind extends Metric["kind"], Tag extends string>
  extends Omit<Metric, "scope"> {
  readonly kind: Kind;
  readonly values?: readonly Tag[];
}

/** Upper bounds: from an immediate response of a nearby worker to a request that its client gives up. */
export const LATENCY_BUCKETS_MS: readonly number[] = [
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
];

// --- a row is `counter(unit, by(tag, values)).meaning(text)` ---

export const counter = rowsOf("counter");
export const gauge = rowsOf("gauge");
export const histogram = rowsOf("histogram");

function rowsOf<Kind extends Metric["kind"]>(kind: Kind) {
  return <Tag extends string = never>(unit: Unit, more: More<Tag> = {}) => ({
    meaning: (meaning: string): Row<Kind, Tag> => ({ kind, unit, meaning, ...more }),
  });
}

interface More<Tag extends string>
  extends Pick<Metric, "tag" | "secondTag" | "inPrometheus" | "only"> {
  readonly values?: readonly Tag[];
}

/** Its tag; without `values` the code that counts has them. */
export function by<const Tag extends string = string>(
  tag: string,
  values?: readonly Tag[],
): More<Tag> {
  return { tag, ...(values !== undefined && { values }) };
}
