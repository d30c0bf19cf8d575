/**
 * Does each fault raise its alert within a minute, does the alert end after the fault, and does none fire without a fault? A
 * real Prometheus with the rules of deploy/prometheus scrapes two balancers and three workers that people use.
 *
 * `BENCH_CALM_SECONDS` (600) is the time without a fault, `BENCH_SCRAPE` (5s) the interval of scrapes, and `BENCH_ONLY` selects
 * faults by parts of their names.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ROWS } from "../deploy/prometheus/source/dashboard/panels.ts";
import { ALERT_PREFIX } from "../deploy/prometheus/source/rules/alert.ts";
import { buildOnce } from "../test/support/build.ts";
import { hasProgram } from "../test/support/debian.ts";
import { until } from "../test/support/until.ts";
import { type AlertsEdge, startAlertsEdge } from "./support/alerts/edge.ts";
import { ALERT_FAULTS, type AlertFault } from "./support/alerts/faults.ts";
import {
  type AlertWatch,
  checkRules,
  type Prometheus,
  startPrometheus,
  watchAlerts,
} from "./support/alerts/prometheus.ts";
import { type Result, writeResults } from "./support/results.ts";
import { isPart, selector, size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const SCRAPE = process.env["BENCH_SCRAPE"] ?? "5s";
const CALM_S = size("BENCH_CALM_SECONDS", { long: 600, short: 5 });
const isAsked = selector("BENCH_ONLY", { short: ["Redis hangs (SIGSTOP)"] });
/** The limit, and how long to wait for an alert that misses it. */
const LIMIT_S = 60;
const PATIENCE_MS = 120_000;
const SOON_MS = 15_000;
/** The longest window of an expected alert is 2 minutes. */
const END_PATIENCE_MS = 240_000;

interface Outcome {
  readonly fault: AlertFault;
  readonly begunMs: number;
  /** Undefined: its alert did not fire. */
  readonly firedMs: number | undefined;
  readonly endedMs: number;
  /** When the edge worked as before. */
  readonly settledMs: number;
}

export async function run(): Promise<void> {
  if (!hasProgram("prometheus", ["prometheus"], "the alerts")) return;
  checkRules();
  await buildOnce();
  const folder = mkdtempSync(join(tmpdir(), "edge-alerts-"));
  let edge: AlertsEdge | undefined;
  let prometheus: Prometheus | undefined;
  let watch: AlertWatch | undefined;
  try {
    edge = await startAlertsEdge(folder);
    prometheus = await startPrometheus(edge.targets, { folder, scrape: SCRAPE });
    watch = watchAlerts(prometheus);
    await allScraped(prometheus, edge);
    const calm = await stayCalm(watch);
    await checkDashboard(prometheus);
    const outcomes: Outcome[] = [];
    for (const fault of ALERT_FAULTS) {
      if (!isAsked(fault.name)) continue;
      outcomes.push(await inject(fault, edge, watch));
    }
    await allEnded(outcomes, watch);
    const late = report(calm, outcomes, watch);
    if (!isPart("BENCH_ONLY", "BENCH_SCRAPE")) save(calm, outcomes, watch, prometheus);
    if (calm.length + late.length > 0) {
      const names = late.map(({ fault }) => fault.name).join(", ") || "none";
      throw new Error(`limits not kept: late or missing: ${names}; ${calm.length} without a fault`);
    }
  } finally {
    watch?.close();
    await prometheus?.close();
    await edge?.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function allScraped(prometheus: Prometheus, { targets }: AlertsEdge): Promise<boolean> {
  const isScraped = async () => (await prometheus.targetsUp()) === targets.length;
  return until("Prometheus has scraped all targets", isScraped, 60_000);
}

/** The alerts that fire although nothing is wrong. */
async function stayCalm(watch: AlertWatch): Promise<string[]> {
  process.stdout.write(`${CALM_S} s without a fault …\n`);
  await delay(CALM_S * 1000);
  return watch.firings.map(({ alert }) => alert);
}

/** Prometheus accepts each query of the dashboard; prints how many have data. */
async function checkDashboard(prometheus: Prometheus): Promise<void> {
  const variables = { $namespace: ".*", $job: ".*", $__rate_interval: "1m" };
  const queries = ROWS.flatMap(({ panels }) => panels).flatMap((panel) => panel.queries);
  let shown = 0;
  for (const { expr } of queries) {
    const filled = Object.entries(variables).reduce(
      (text, [name, value]) => text.replaceAll(name, value),
      expr,
    );
    if ((await prometheus.count(filled)) > 0) shown++;
  }
  process.stdout.write(`${shown} of ${queries.length} queries of the dashboard have data\n`);
}

async function inject(fault: AlertFault, edge: AlertsEdge, watch: AlertWatch): Promise<Outcome> {
  const alert = ALERT_PREFIX + fault.alert;
  await until(`${alert} has ended`, () => !watch.fires(alert), END_PATIENCE_MS);
  const begunMs = performance.now();
  const end = await fault.begin(edge);
  await until(`${alert} fires`, () => watch.fires(alert), PATIENCE_MS).catch(() => {});
  const firedMs = watch.firings.find(
    (firing) => firing.alert === alert && firing.sinceMs > begunMs,
  )?.sinceMs;
  await end();
  const endedMs = performance.now();
  await edge.settled();
  const settledMs = performance.now();
  // Those with a window of minutes end during the next faults, which raise other alerts.
  await until(`${alert} has ended`, () => !watch.fires(alert), SOON_MS).catch(() => {});
  const fired = firedMs === undefined ? "NOT FIRED" : `${seconds(firedMs - begunMs)} s`;
  process.stdout.write(`${fault.name}: ${alert} ${fired}\n`);
  return { fault, begunMs, firedMs, endedMs, settledMs };
}

async function allEnded(outcomes: readonly Outcome[], watch: AlertWatch): Promise<void> {
  const alerts = outcomes.map(({ fault }) => ALERT_PREFIX + fault.alert);
  const areOver = () => !alerts.some((alert) => watch.fires(alert));
  // What has not ended is in the table.
  await until("all alerts have ended", areOver, END_PATIENCE_MS).catch(() => {});
}

// --- results ---

/** From the end of the fault to the end of its alert; undefined if it did not end. */
function resolvedAfterMs({ fault, firedMs, endedMs }: Outcome, watch: AlertWatch) {
  const firing = watch.firings.find(
    ({ alert, sinceMs }) => alert === ALERT_PREFIX + fault.alert && sinceMs === firedMs,
  );
  return firing?.untilMs === undefined ? undefined : Math.max(0, firing.untilMs - endedMs);
}

/** Other alerts that began to fire between the fault's begin and the recovery of the edge. */
function alsoFired({ fault, begunMs, settledMs }: Outcome, watch: AlertWatch): string[] {
  const others = watch.firings.filter(
    ({ alert, sinceMs }) =>
      alert !== ALERT_PREFIX + fault.alert && sinceMs >= begunMs && sinceMs <= settledMs,
  );
  return [...new Set(others.map(({ alert }) => alert.slice(ALERT_PREFIX.length)))];
}

/** Prints the table. Returns what did not fire in time. */
function report(
  calm: readonly string[],
  outcomes: readonly Outcome[],
  watch: AlertWatch,
): readonly Outcome[] {
  const calmly = calm.length === 0 ? "none" : calm.join(", ");
  process.stdout.write(`\nalerts in ${CALM_S} s without a fault: ${calmly}\n\n`);
  process.stdout.write("| fault | alert | fires after | ends after | also |\n");
  process.stdout.write("| --- | --- | --- | --- | --- |\n");
  for (const outcome of outcomes) {
    const { fault, begunMs, firedMs } = outcome;
    const fires = firedMs === undefined ? "NEVER" : `${seconds(firedMs - begunMs)} s`;
    const afterMs = resolvedAfterMs(outcome, watch);
    const ends = afterMs === undefined ? "NOT" : `${seconds(afterMs)} s`;
    const also = alsoFired(outcome, watch).join(", ");
    process.stdout.write(`| ${fault.name} | ${fault.alert} | ${fires} | ${ends} | ${also} |\n`);
  }
  const late = outcomes.filter(
    ({ begunMs, firedMs }) => firedMs === undefined || firedMs - begunMs > LIMIT_S * 1000,
  );
  process.stdout.write(
    `\n${outcomes.length - late.length} of ${outcomes.length} faults within ${LIMIT_S} s\n`,
  );
  return late;
}

function save(
  calm: readonly string[],
  outcomes: readonly Outcome[],
  watch: AlertWatch,
  { version }: Prometheus,
): void {
  const results: Result[] = outcomes.map((outcome) => {
    const { fault, begunMs, firedMs } = outcome;
    const fires = firedMs === undefined ? [] : [(firedMs - begunMs) / 1000];
    const afterMs = resolvedAfterMs(outcome, watch);
    const ends = afterMs === undefined ? [] : [afterMs / 1000];
    const figures = { fires: summarize(fires), ends: summarize(ends) };
    return { question: `${fault.name}: ${fault.alert}`, unit: "s", figures };
  });
  const fired = { fired: summarize([calm.length]) };
  const question = `alerts in ${CALM_S} s without a fault`;
  writeResults("alerts", [{ question, unit: "alerts", figures: fired }, ...results], {
    prometheus: version,
  });
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
