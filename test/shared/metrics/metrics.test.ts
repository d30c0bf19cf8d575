import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Metric } from "../../../shared/metrics/metric.ts";
import { metricsPage } from "../../../shared/metrics/metric-docs.ts";
import { METRICS, type MetricName } from "../../../shared/metrics/metric-list.ts";
import { prometheusName, segment } from "../../../shared/metrics/metric-names.ts";
import { createCounters, quantile, type Series, since } from "../../../shared/metrics/metrics.ts";
import { writeExposition } from "../../../shared/metrics/prometheus.ts";

test("counts add up per series and over all series of a counter", () => {
  const counters = createCounters();
  counters.count("worker.joins", "accepted");
  counters.count("worker.joins", "accepted", 2);
  counters.count("worker.joins", "rejected");
  expect(counters.value("worker.joins", "accepted")).toBe(3);
  expect(counters.value("worker.joins")).toBe(4);
  expect(counters.snapshot()).toEqual({ "worker.joins{accepted}": 3, "worker.joins{rejected}": 1 });
});

test("tags beyond the limit are counted together, so that memory is bounded", () => {
  const counters = createCounters();
  for (let i = 0; i < 10_000; i++) counters.count("worker.joins", `tag-${i}`);
  expect(Object.keys(counters.snapshot()).length).toBeLessThanOrEqual(65);
  expect(counters.value("worker.joins")).toBe(10_000);
});

test("a gauge is read on demand, with a value for each tag, and has none while it is undefined", () => {
  const counters = createCounters();
  let up: number | undefined = 1;
  counters.gauge("store.up", () => up);
  counters.gauge("balancer.workers", () => ({ up: 2, suspect: 1 }));
  const gauges = () => counters.series().filter(({ kind }) => kind === "gauge");
  expect(gauges()).toEqual([
    { name: "store.up", tag: "", kind: "gauge", value: 1 },
    { name: "balancer.workers", tag: "up", kind: "gauge", value: 2 },
    { name: "balancer.workers", tag: "suspect", kind: "gauge", value: 1 },
  ]);
  up = undefined;
  expect(gauges().map(({ name }) => name)).toEqual(["balancer.workers", "balancer.workers"]);
});

test("a histogram counts values at a bound and beyond the last one, and ignores invalid values", () => {
  const counters = createCounters();
  for (const value of [0, 1, 1.5, 30_000, 30_001, Number.NaN, -1, Number.POSITIVE_INFINITY]) {
    counters.observe("balancer.latency_ms", value);
  }
  expect(histogram(counters, "balancer.latency_ms")).toEqual({
    name: "balancer.latency_ms",
    tag: "",
    kind: "histogram",
    //       1  2.5 5  10 25 50 100 250 500 1s 2.5 5 10 30 s, more
    counts: [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    sum: 60_003.5,
  });
});

test("quantiles lie within the bucket of their value, and values since an earlier state can be separated", () => {
  const counters = createCounters();
  expect(quantile(histogram(counters, "store.latency_ms"), 0.5)).toBe(0);
  for (let i = 0; i < 98; i++) counters.observe("store.latency_ms", 0.4);
  counters.observe("store.latency_ms", 40);
  counters.observe("store.latency_ms", 99_999);
  const first = histogram(counters, "store.latency_ms");
  expect(quantile(first, 0.5)).toBeLessThanOrEqual(1);
  expect(quantile(first, 0.99)).toBe(50);
  expect(quantile(first, 1)).toBe(30_000);
  counters.observe("store.latency_ms", 7);
  const more = since(histogram(counters, "store.latency_ms"), first);
  expect(more.sum).toBeCloseTo(7);
  expect(quantile(more, 0.5)).toBe(7.5);
});

test("names are valid in Prometheus and StatsD, have base units and are unique", () => {
  const names = Object.keys(METRICS) as MetricName[];
  const shown = names
    .filter((name) => !("only" in METRICS[name]))
    .map((name) => prometheusName(name));
  expect(new Set(shown).size).toBe(shown.length);
  for (const name of shown) expect(name).toMatch(/^codetogether_[a-z][a-z0-9_]*$/);
  expect(prometheusName("users.online")).toBe("codetogether_users_online");
  expect(prometheusName("lag.average")).toBe("codetogether_lag_seconds");
  expect(prometheusName("sessions.hosted")).toBe("codetogether_sessions_hosted_total");
  expect(prometheusName("process.rss_bytes")).toBe("codetogether_process_rss_bytes");
  expect(segment("host 1.example.com:80|g/ä")).toBe("host_1_example_com_80_g_");
});

test("every metric has a meaning, and a name with a unit has that unit", () => {
  for (const [name, metric] of Object.entries(METRICS) as [string, Metric][]) {
    expect(metric.meaning, name).toMatch(/^[a-z1].{10,}$/);
    if (metric.kind === "histogram") expect(name).toMatch(/_ms$/);
    if (/_ms$/.test(name)) expect(metric.unit, name).toBe("ms");
    if (/_bytes$/.test(name)) expect(metric.unit, name).toBe("bytes");
    if (metric.values !== undefined) expect(metric.values.length, name).toBeLessThanOrEqual(10);
  }
});

test("every declared metric is used somewhere", () => {
  const sources = ["balancer", "worker", "shared", "edge"].flatMap((folder) =>
    readdirSync(new URL(`../../../${folder}`, import.meta.url), {
      recursive: true,
      encoding: "utf8",
    })
      .filter((file) => file.endsWith(".ts"))
      .filter((file) => !/metrics\/(balancer|worker|common)-metrics\.ts$/.test(file))
      .map((file) => readFileSync(new URL(`../../../${folder}/${file}`, import.meta.url), "utf8")),
  );
  const code = sources.join("\n");
  expect(Object.keys(METRICS).filter((name) => !code.includes(`"${name}"`))).toEqual([]);
});

test("docs/metrics.md is what `npm run docs` writes", () => {
  const page = readFileSync(new URL("../../../docs/metrics.md", import.meta.url), "utf8");
  expect(page).toBe(metricsPage());
});

test("Prometheus's page has base units, cumulative buckets, and counters that have not counted yet", async () => {
  const counters = createCounters();
  counters.count("balancer.requests", "header", 3);
  counters.observe("store.latency_ms", 0.5);
  counters.observe("store.latency_ms", 7);
  counters.gauge("process.lag.average", () => 12.5);
  counters.gauge("process.elu", () => Number.NaN);
  const lines = (await writeExposition(counters.series(), ["balancer", "process"])).split("\n");
  expect(lines).toContain("# TYPE codetogether_balancer_requests_total counter");
  expect(lines).toContain('codetogether_balancer_requests_total{rule="header"} 3');
  expect(lines).toContain('codetogether_balancer_requests_total{rule="cookie"} 0');
  expect(lines).toContain("codetogether_balancer_retries_total 0");
  expect(lines).toContain("codetogether_process_lag_seconds 0.0125");
  expect(lines).toContain('codetogether_store_latency_seconds_bucket{le="0.001"} 1');
  expect(lines).toContain('codetogether_store_latency_seconds_bucket{le="0.01"} 2');
  expect(lines).toContain('codetogether_store_latency_seconds_bucket{le="+Inf"} 2');
  expect(lines).toContain("codetogether_store_latency_seconds_sum 0.0075");
  expect(lines).toContain("codetogether_store_latency_seconds_count 2");
  expect(lines.join("\n")).not.toMatch(/NaN|elu|_worker_/);
});

test("downloads have IDE and version as labels in Prometheus, without a second metric of their sum", async () => {
  const page = await writeExposition(
    [
      { name: "downloads", tag: "", kind: "counter", value: 5 },
      { name: "downloads_by", tag: "vscode/1.2.0", kind: "counter", value: 3 },
      { name: "downloads_by", tag: 'eclipse/a"b/c', kind: "counter", value: 2 },
    ],
    ["cluster"],
  );
  expect(page.split("\n").filter((line) => line.startsWith("codetogether_downloads"))).toEqual([
    'codetogether_downloads_total{ide="vscode",version="1.2.0"} 3',
    'codetogether_downloads_total{ide="eclipse",version="a\\"b/c"} 2',
  ]);
});

function histogram(
  counters: ReturnType<typeof createCounters>,
  name: MetricName,
): Extract<Series, { kind: "histogram" }> {
  const found = counters.series().find((series) => series.name === name);
  if (found?.kind !== "histogram") throw new Error(`${name} is no histogram`);
  return found;
}
