/**
 * The lines sent to StatsD in one interval, computed from the series of a process. Pure.
 *
 * StatsD takes a gauge with a sign for a relative change, so negative values are never sent; neither are NaN and infinity.
 * Names contain no character with a meaning for StatsD, Graphite or a file system.
 */
import type { Metric, Scope } from "../metric.ts";
import { METRICS } from "../metric-list.ts";
import { labelsOf, localName, segment } from "../metric-names.ts";
import { countOf, type Distribution, quantile, type Series, since } from "../metrics.ts";

/** One line for StatsD; `tags` is used by the style `dogstatsd` only. */
export interface Line {
  readonly type: "gauge" | "count";
  readonly name: string;
  readonly value: number;
  readonly tags?: Readonly<Record<string, string>>;
}

/** `none`: dotted names only. `graphite`: `name;tag=value`. `dogstatsd`: `|#tag:value` after the value. */
export type TagStyle = "none" | "dogstatsd" | "graphite";

export interface Source {
  readonly role: "balancer" | "worker" | "edge";
  readonly id: string;
}

export function createBatches(options: {
  readonly prefix: string;
  readonly tags: TagStyle;
  readonly source: Source;
  readonly scopes: readonly Scope[];
}) {
  const sentCounts = new Map<string, number>();
  const sentDistributions = new Map<string, Distribution>();
  const lineOf = createLineFormat(options);

  return {
    /** The lines for `series`. Metrics of the cluster are sent without the source. */
    next(series: readonly Series[]) {
      const lines: Line[] = [];
      const invalid: string[] = [];
      const counts = new Map<string, number>();
      const distributions = new Map<string, Distribution>();

      const gauge = (one: Series, value: number, part?: string): void => {
        if (Number.isFinite(value) && value >= 0) lines.push(lineOf(one, "gauge", value, part));
        else invalid.push(one.name);
      };
      const count = (one: Series, by: number, part?: string): void => {
        if (by > 0 && Number.isFinite(by)) lines.push(lineOf(one, "count", by, part));
      };

      for (const one of series) {
        if (!options.scopes.includes(METRICS[one.name].scope)) continue;
        const key = `${one.name} ${one.tag}`;
        if (one.kind === "histogram") {
          distributions.set(key, one);
          const added = since(one, sentDistributions.get(key));
          const number = countOf(added);
          count(one, number, "count");
          gauge(one, number > 0 ? rounded(added.sum / number) : 0, "mean");
          gauge(one, rounded(quantile(added, 0.5)), "p50");
          gauge(one, rounded(quantile(added, 0.99)), "p99");
        } else if (one.kind === "gauge") gauge(one, one.value);
        else {
          counts.set(key, one.value);
          count(one, one.value - (sentCounts.get(key) ?? 0));
        }
      }
      return {
        lines,
        /** Names of gauges that were left out because their value is negative or not finite. */
        invalid,
        /** Call it after the lines were sent; until then the next batch includes their counts again. */
        commit(): void {
          for (const [key, sent] of counts) sentCounts.set(key, sent);
          for (const [key, sent] of distributions) sentDistributions.set(key, sent);
        },
      };
    },
  };
}

function createLineFormat(options: {
  readonly prefix: string;
  readonly tags: TagStyle;
  readonly source: Source;
}) {
  const { prefix, tags: style, source } = options;
  const id = segment(source.id);

  return (series: Series, type: Line["type"], value: number, part?: string): Line => {
    const metric: Metric = METRICS[series.name];
    const isShared = metric.scope === "cluster";
    const suffix = part === undefined ? "" : `.${part}`;
    const local = (isShared ? series.name : localName(series.name)) + suffix;
    const labels = series.tag === "" ? [] : segments(labelsOf(metric, series.tag));
    if (style === "none") {
      const owner = isShared ? "" : `${source.role}.${id}.`;
      const tag = labels.map(([, value]) => `.${value}`).join("");
      return { type, name: `${prefix}.${owner}${local}${tag}`, value };
    }
    const tags: Record<string, string> = isShared ? {} : { [source.role]: id };
    for (const [tag, tagValue] of labels) tags[tag] = tagValue;
    const name = `${prefix}.${isShared ? "" : `${source.role}.`}${local}`;
    if (style === "dogstatsd") return { type, name, value, tags };
    const tagTexts = Object.entries(tags).map(([tag, tagValue]) => `;${tag}=${tagValue}`);
    return { type, name: name + tagTexts.join(""), value };
  };
}

function segments(labels: Readonly<Record<string, string>>): (readonly [string, string])[] {
  return Object.entries(labels).map(([name, value]) => [name, segment(value)]);
}

/** Rounds ms to whole µs. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
