/**
 * What is sent to StatsD in one interval, from the series of a process: pure.
 *
 * Traps that are kept out here: a gauge with a sign is a change to StatsD, so a negative one is never sent; what is no
 * number is not sent; names hold nothing that StatsD, Graphite or a file system reads as something else.
 */
import type { Metric, Scope } from "../metric.ts";
import { METRICS } from "../metric-list.ts";
import { labelsOf, localName, segment } from "../metric-names.ts";
import { countOf, type Distribution, quantile, type Series, since } from "../metrics.ts";

/** One line for StatsD. `tags` only in the style `dogstatsd`. */
export interface Line {
  readonly type: "gauge" | "count";
  readonly name: string;
  readonly value: number;
  readonly tags?: Readonly<Record<string, string>>;
}

/** `none`: dotted names only. `graphite`: `name;tag=value`. `dogstatsd`: `|#tag:value` behind the line. */
export type TagStyle = "none" | "dogstatsd" | "graphite";

/** Whose series they are. */
export interface Source {
  readonly role: "balancer" | "worker" | "edge";
  readonly id: string;
}

export interface Batch {
  readonly lines: readonly Line[];
  /** Names of gauges that were left out, because their value makes no sense. */
  readonly refused: readonly string[];
  /** Call it when the lines were sent: what they counted is not sent again. */
  commit(): void;
}

export interface Batches {
  /** The lines for `series`; those of the cluster go under no source. */
  next(series: readonly Series[]): Batch;
}

export function createBatches(needs: {
  readonly prefix: string;
  readonly tags: TagStyle;
  readonly source: Source;
  readonly scopes: readonly Scope[];
}): Batches {
  const sentCounts = new Map<string, number>();
  const sentSpreads = new Map<string, Distribution>();
  const name = createNames(needs);

  return {
    next(series) {
      const lines: Line[] = [];
      const refused: string[] = [];
      const counts = new Map<string, number>();
      const spreads = new Map<string, Distribution>();

      const gauge = (one: Series, value: number, part?: string): void => {
        if (Number.isFinite(value) && value >= 0) lines.push(name(one, "gauge", value, part));
        else refused.push(one.name);
      };
      const count = (one: Series, by: number, part?: string): void => {
        if (by > 0 && Number.isFinite(by)) lines.push(name(one, "count", by, part));
      };

      for (const one of series) {
        if (!needs.scopes.includes(METRICS[one.name].scope)) continue;
        const key = `${one.name} ${one.tag}`;
        if (one.kind === "histogram") {
          spreads.set(key, one);
          const fresh = since(one, sentSpreads.get(key));
          const number = countOf(fresh);
          count(one, number, "count");
          gauge(one, number > 0 ? rounded(fresh.sum / number) : 0, "mean");
          gauge(one, rounded(quantile(fresh, 0.5)), "p50");
          gauge(one, rounded(quantile(fresh, 0.99)), "p99");
        } else if (one.kind === "gauge") gauge(one, one.value);
        else {
          counts.set(key, one.value);
          count(one, one.value - (sentCounts.get(key) ?? 0));
        }
      }
      return {
        lines,
        refused,
        commit() {
          for (const [key, sent] of counts) sentCounts.set(key, sent);
          for (const [key, sent] of spreads) sentSpreads.set(key, sent);
        },
      };
    },
  };
}

function createNames(needs: {
  readonly prefix: string;
  readonly tags: TagStyle;
  readonly source: Source;
}) {
  const { prefix, tags: style, source } = needs;
  const id = segment(source.id);

  return (series: Series, type: Line["type"], value: number, part?: string): Line => {
    const metric: Metric = METRICS[series.name];
    const isShared = metric.scope === "cluster";
    const ending = part === undefined ? "" : `.${part}`;
    const local = (isShared ? series.name : localName(series.name)) + ending;
    const labels = series.tag === "" ? [] : segments(labelsOf(metric, series.tag));
    if (style === "none") {
      const from = isShared ? "" : `${source.role}.${id}.`;
      const tag = labels.map(([, value]) => `.${value}`).join("");
      return { type, name: `${prefix}.${from}${local}${tag}`, value };
    }
    const tags: Record<string, string> = isShared ? {} : { [source.role]: id };
    for (const [tag, tagged] of labels) tags[tag] = tagged;
    const name = `${prefix}.${isShared ? "" : `${source.role}.`}${local}`;
    if (style === "dogstatsd") return { type, name, value, tags };
    const suffix = Object.entries(tags).map(([tag, tagged]) => `;${tag}=${tagged}`);
    return { type, name: name + suffix.join(""), value };
  };
}

function segments(labels: Readonly<Record<string, string>>): (readonly [string, string])[] {
  return Object.entries(labels).map(([name, value]) => [name, segment(value)]);
}

/** Three decimals: microseconds of a millisecond. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
