/** Writes the list of metrics as a page for operators; `npm run docs` saves it as docs/metrics.md. Pure. */
import { LATENCY_BUCKETS_MS, type Metric, type Scope } from "./metric.ts";
import { METRICS, type MetricName } from "./metric-list.ts";
import { localName, prometheusName } from "./metric-names.ts";

const PARTS: readonly { readonly scope: Scope; readonly title: string; readonly about: string }[] =
  [
    {
      scope: "cluster",
      title: "The whole cluster",
      about:
        "Sent to StatsD by one elected worker, as `PREFIX.NAME`. In Prometheus every worker reports the same values: use the maximum, not the sum.",
    },
    {
      scope: "balancer",
      title: "A balancer",
      about:
        "In StatsD `PREFIX.balancer.ID.NAME`; the id is the host name, followed by `-PORT` if CT_PORT is not 1080.",
    },
    { scope: "worker", title: "A worker", about: "In StatsD `PREFIX.worker.ID.NAME`." },
    {
      scope: "process",
      title: "Every balancer and worker",
      about:
        "In StatsD under the name of the process: `PREFIX.worker.ID.NAME`, `PREFIX.balancer.ID.NAME`, or `PREFIX.edge.ID.NAME` for those that `ct-edge` itself counts.",
    },
    {
      scope: "edge",
      title: "The edge on one machine",
      about:
        "Metrics of the `ct-edge` process, in StatsD `PREFIX.edge.ID.NAME`. It has no status port, so Prometheus cannot read them.",
    },
  ];

export function metricsPage(): string {
  return [
    "# Metrics",
    "",
    "`npm run docs` generates this page from `shared/metrics/metric-list.ts`.",
    "",
    "**Prometheus** scrapes `GET /metrics` on the status port of each balancer and worker.",
    "",
    "**StatsD** receives metrics when `CT_METRICS_STATSD_HOST` is set. Each interval it gets the value of every gauge, the increase of every",
    "counter, and for a histogram the gauges `NAME.mean`, `.p50` and `.p99` of the interval and the counter `NAME.count`. The value of a tag",
    "is the last part of the name, or a StatsD tag with `CT_METRICS_STATSD_TAGS`. In each part of a name, characters other than letters,",
    "digits, `_` and `-` become `_`.",
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
