/** The list of metrics as a page for operators: `npm run docs` writes it to docs/metrics.md. Pure. */
import {
  LATENCY_BUCKETS_MS,
  METRICS,
  type Metric,
  type MetricName,
  type Scope,
} from "./metric-list.ts";
import { localName, prometheusName } from "./metric-names.ts";

const PARTS: readonly { readonly scope: Scope; readonly title: string; readonly about: string }[] =
  [
    {
      scope: "cluster",
      title: "The whole cluster",
      about:
        "Sent to StatsD by one elected worker, as `PREFIX.NAME`. In Prometheus every worker shows the same values: take the maximum, not the sum.",
    },
    {
      scope: "balancer",
      title: "A balancer",
      about:
        "In StatsD `PREFIX.balancer.ID.NAME`; the id is the host name, and `-PORT` where CT_PORT is not 1080.",
    },
    { scope: "worker", title: "A worker", about: "In StatsD `PREFIX.worker.ID.NAME`." },
    {
      scope: "process",
      title: "Every balancer and worker",
      about:
        "In StatsD beside the process's own: `PREFIX.worker.ID.NAME`, `PREFIX.balancer.ID.NAME`, and `PREFIX.edge.ID.NAME` for what `ct-edge` counts of them.",
    },
    {
      scope: "edge",
      title: "The edge on one machine",
      about: "Of the `ct-edge` process, in StatsD `PREFIX.edge.ID.NAME`; it has no status port.",
    },
  ];

export function metricsPage(): string {
  return [
    "# Metrics",
    "",
    "This page is made by `npm run docs` from `shared/metrics/metric-list.ts`.",
    "",
    "**Prometheus** reads `GET /metrics` on the status port of each balancer and worker. **StatsD** is sent to when",
    "`CT_METRICS_STATSD_HOST` is set: gauges as they are, again each interval; counters as what came since; of a histogram the",
    "gauges `NAME.mean`, `.p50`, `.p99` of the interval and the counter `NAME.count`. A series with a tag has its value as the last part of",
    "its name, or as a tag with `CT_METRICS_STATSD_TAGS`. What is not a letter, a digit, `_` or `-` in a part of a name is sent as `_`.",
    "",
    `Buckets of histograms, in ms: ${LATENCY_BUCKETS_MS.join(", ")}.`,
    ...PARTS.flatMap(({ scope, title, about }) => [
      "",
      `## ${title}`,
      "",
      about,
      "",
      ...tableOf(scope),
    ]),
    "",
  ].join("\n");
}

function tableOf(scope: Scope): string[] {
  const names = (Object.keys(METRICS) as MetricName[]).filter(
    (name) => METRICS[name].scope === scope,
  );
  return [
    "| name | in Prometheus | kind | unit | meaning | tag |",
    "| --- | --- | --- | --- | --- | --- |",
    ...names.map((name) => {
      const metric: Metric = METRICS[name];
      const inPrometheus =
        scope === "edge" || metric.only === "statsd" ? "" : `\`${prometheusName(name)}\``;
      return `| \`${localName(name)}\` | ${inPrometheus} | ${metric.kind} | ${metric.unit} | ${metric.meaning} | ${describeTag(metric)} |`;
    }),
  ];
}

function describeTag({ tag, values, secondTag }: Metric): string {
  if (tag === undefined) return "";
  if (secondTag !== undefined) return `\`${tag}\` and \`${secondTag}\``;
  return values === undefined ? `\`${tag}\`` : `\`${tag}\`: ${values.join(", ")}`;
}
