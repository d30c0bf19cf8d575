/**
 * deploy/prometheus and docs/operators/alerts.md: generated from their source, about metrics that exist, and accepted by
 * promtool where it is installed (the benchmark `alerts` installs it, and measures that the alerts fire).
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { ALERTS } from "../../deploy/prometheus/source/alerts.ts";
import { generatedFiles } from "../../deploy/prometheus/source/generated-files.ts";
import { annotationsOf } from "../../deploy/prometheus/source/rule-file.ts";
import { alertName } from "../../deploy/prometheus/source/rules/alert.ts";
import { BALANCERS, WORKERS } from "../../deploy/prometheus/source/rules/metric.ts";
import { RECORDING_RULES } from "../../deploy/prometheus/source/rules/recording-rules.ts";
import type { Metric } from "../../shared/metrics/metric.ts";
import { METRICS, type MetricName } from "../../shared/metrics/metric-list.ts";
import { prometheusName } from "../../shared/metrics/metric-names.ts";
import { isInstalled } from "../support/helm/installed.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = "docs/operators/alerts.md";
const FILES = generatedFiles();
/** Labels that Prometheus adds, and that of buckets. */
const TARGET_LABELS = ["namespace", "job", "instance", "le"];

const byPrometheusName = new Map(
  (Object.entries(METRICS) as [MetricName, Metric][]).map(([name, metric]) => [
    prometheusName(name),
    metric,
  ]),
);

/** The declaration behind a name in PromQL; those of a histogram have a suffix. */
function metricOf(name: string): Metric | undefined {
  const plain = byPrometheusName.get(name);
  if (plain !== undefined && plain.kind !== "histogram") return plain;
  const histogram = byPrometheusName.get(name.replace(/_(bucket|count|sum)$/, ""));
  return histogram?.kind === "histogram" ? histogram : undefined;
}

/** The text with the escaped quotes of JSON and YAML as in PromQL. */
function promql(text: string): string {
  return text.replaceAll('\\"', '"');
}

const generated = Object.entries(FILES);

test.each(generated)("%s is what its source generates; `npm run docs` writes it", (path, text) => {
  expect(readFileSync(join(ROOT, path), "utf8")).toBe(text);
});

test.each(generated)("%s names only metrics that exist", (_path, text) => {
  const names = new Set(text.match(/\bcodetogether_\w+/g));
  const unknown = [...names].filter((name) => metricOf(name) === undefined);
  expect(unknown).toEqual([]);
  const recorded = RECORDING_RULES.map(({ record }) => record);
  for (const name of text.match(/\bcodetogether:[\w:]+/g) ?? []) expect(recorded).toContain(name);
});

test.each(generated)("%s selects series only by labels and values that exist", (_path, text) => {
  for (const [, name = "", labels = ""] of promql(text).matchAll(
    /\b(codetogether_\w+)\{(.*?)\}/g,
  )) {
    const metric = metricOf(name);
    if (metric === undefined) continue;
    for (const [, label = "", value = ""] of labels.matchAll(/(\w+)!?=~?"([^"]*)"/g)) {
      if (TARGET_LABELS.includes(label)) continue;
      expect([metric.tag, metric.secondTag], `${name}{${label}}`).toContain(label);
      const values: readonly string[] | undefined = metric.values;
      if (values !== undefined) expect(values).toEqual(expect.arrayContaining(value.split("|")));
    }
  }
});

test("each alert has a case that fires and one that does not, and names what to do", () => {
  const tests = FILES["deploy/prometheus/rules.test.yaml"] ?? "";
  const names = ALERTS.map(alertName);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) {
    expect(tests).toContain(`name: ${name} fires\n`);
    expect(tests).toContain(`name: ${name} stays quiet\n`);
  }
  for (const { summary, description, runbook } of ALERTS) {
    expect(summary).not.toMatch(/\.$/);
    expect(description).toMatch(/\.$/);
    expect(runbook.length).toBeGreaterThan(0);
  }
});

test("the runbook of each alert is a section of the page about alerts", () => {
  const page = FILES[PAGE] ?? "";
  for (const alert of ALERTS) {
    const [path, anchor] = (annotationsOf(alert)["runbook_url"] ?? "").split("#");
    expect(path).toBe(PAGE);
    expect(anchorsOf(page)).toContain(anchor);
    expect(page).toContain(`\n### ${alertName(alert)}\n`);
  }
});

test("all links of the page about alerts lead somewhere", () => {
  for (const [, link = ""] of (FILES[PAGE] ?? "").matchAll(/\]\(([^)]+)\)/g)) {
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? PAGE : normalize(join(dirname(PAGE), path));
    expect(existsSync(join(ROOT, target)), link).toBe(true);
    if (anchor !== undefined) {
      expect(anchorsOf(readFileSync(join(ROOT, target), "utf8")), link).toContain(anchor);
    }
  }
});

test("each panel of the dashboard has queries that follow its variables", () => {
  const { panels } = JSON.parse(FILES["deploy/prometheus/grafana-dashboard.json"] ?? "") as {
    panels: { id: number; type: string; title: string; targets?: { expr: string }[] }[];
  };
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const charts = panels.filter(({ type }) => type === "timeseries");
  expect(charts.length).toBeGreaterThan(25);
  for (const { title, targets = [] } of charts) {
    expect(targets.length, title).toBeGreaterThan(0);
    for (const { expr } of targets) {
      expect(expr).toContain('namespace=~"$namespace",job=~"$job"');
    }
  }
});

test("both ways of scraping use the jobs that the rules expect", () => {
  const config = readFileSync(join(ROOT, "deploy/prometheus/prometheus.yml"), "utf8");
  const jobs = [...config.matchAll(/job_name: ([\w-]+)/g)].map(([, job]) => job);
  expect(jobs.map((job) => `job="${job}"`)).toEqual([BALANCERS, WORKERS]);
  const monitor = "deploy/kubernetes/components/pod-monitor/pod-monitor.yaml";
  const { spec } = parse(readFileSync(join(ROOT, monitor), "utf8")) as {
    spec: { podMetricsEndpoints: { relabelings: unknown[] }[] };
  };
  // By the label that tells balancers from workers.
  expect(spec.podMetricsEndpoints[0]?.relabelings).toContainEqual({
    sourceLabels: ["__meta_kubernetes_pod_label_app_kubernetes_io_component"],
    targetLabel: "job",
    replacement: "codetogether-$1",
  });
  expect(jobs).toEqual(["balancer", "worker"].map((component) => `codetogether-${component}`));
});

test.runIf(isInstalled("promtool"))("promtool accepts the rules, and their tests pass", () => {
  const folder = join(ROOT, "deploy/prometheus");
  for (const args of [
    ["check", "config", "prometheus.yml"],
    ["check", "rules", "rules.yaml"],
    ["test", "rules", "rules.test.yaml"],
  ]) {
    const { status, stdout, stderr } = spawnSync("promtool", args, {
      cwd: folder,
      encoding: "utf8",
    });
    expect(status, stdout + stderr).toBe(0);
  }
});

/** As GitHub derives them from headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}
