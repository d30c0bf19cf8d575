/**
 * What does the dashboard cost? (1) The first view: transferred bytes, and time until its numbers are shown; limits 150 KB and
 * 1 s. (2) 1,000 sessions and 50 workers that change constantly: long tasks of the page; limit 100 ms at p95. (3) CPU of the
 * worker with one page open and with none, interleaved; limit 1 % of a core. (4) A live tail of 1,000 lines per second: memory
 * of the page and of the worker after 15 s and after 50 s, which must not grow.
 *
 * For comparison: an almost empty page in the same browser, and the same worker without an open page.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Browser, CDPSession, Page } from "playwright-core";
import { launchChromium, openLooker } from "../test/support/browser.ts";
import { buildOnce } from "../test/support/build.ts";
import { until } from "../test/support/until.ts";
import { type Crowd, OPERATOR, startCrowd } from "./support/crowd.ts";
import { CORES } from "./support/process.ts";
import { type Result, writeResults } from "./support/results.ts";
import { isPart, selector, size } from "./support/sizes.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 1 });
const isMeasured = selector("BENCH_ONLY", { short: ["measureFirstView"] });
const WORKERS = 50;
const SESSIONS = 1000;
const WATCHED_MS = 16_000;
const LINES_PER_SECOND = 1000;
const WRITES_PER_SECOND = 20;
const VIEWS = ["overview", "workers", "sessions", "logs"] as const;
type View = (typeof VIEWS)[number];

export async function run(): Promise<void> {
  await buildOnce();
  const crowd = await startCrowd({
    workers: WORKERS,
    sessions: SESSIONS,
    ...(CORES !== null && { core: CORES.measured }),
  });
  const browser = await launchChromium();
  try {
    const results: Result[] = [];
    for (const measure of MEASURES) {
      if (!isMeasured(measure.name)) continue;
      const measured = await measure(browser, crowd);
      for (const result of measured) print(result);
      results.push(...measured);
    }
    if (!isPart("BENCH_ONLY")) writeResults("dashboard", results);
  } finally {
    await browser.close();
    await crowd.close();
  }
}

function print({ question, unit, figures }: Result): void {
  process.stdout.write(`${question} (${unit})\n`);
  for (const [name, { median, min, max }] of Object.entries(figures)) {
    const numbers = [median, min, max].map((value) => value.toFixed(2).padStart(10));
    process.stdout.write(`  ${name.padEnd(26)}${numbers.join("")}\n`);
  }
}

const MEASURES = [measureFirstView, measureLongTasks, measureCpu, measureTail];

interface Opened {
  readonly page: Page;
  readonly devTools: CDPSession;
  readonly close: () => Promise<void>;
}

async function openPage(browser: Browser): Promise<Opened> {
  const { context, page } = await openLooker(browser, {
    httpCredentials: OPERATOR,
    viewport: { width: 1440, height: 900 },
  });
  const devTools = await context.newCDPSession(page);
  return { page, devTools, close: () => context.close() };
}

async function openView(browser: Browser, crowd: Crowd, view: View): Promise<Opened> {
  const opened = await openPage(browser);
  await opened.page.goto(`${crowd.url}/dashboard/#${view}`);
  await opened.page.waitForSelector(SHOWN[view]);
  return opened;
}

/** An element that appears once the view shows its data. */
const SHOWN: Record<View, string> = {
  overview: '[data-tile="usersOnline"]:not(:text("–"))',
  workers: "#worker-table tbody tr",
  sessions: "#session-table tbody tr",
  logs: "#log-lines div",
};

// --- the first view ---

/** Records when the page shows its numbers, in ms since the start of the navigation. */
const NOTE_SHOWN = `
  window.shownMs = undefined;
  const check = () => {
    const tile = document.querySelector('[data-tile="usersOnline"]');
    if (tile !== null && /\\\\d/.test(tile.textContent)) window.shownMs = performance.now();
    else requestAnimationFrame(check);
  };
  check();
`.replaceAll("\\\\", "\\");

async function measureFirstView(browser: Browser, crowd: Crowd): Promise<Result[]> {
  const bytes: number[] = [];
  const ms: number[] = [];
  const emptyMs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { page, devTools, close } = await openPage(browser);
    let received = 0;
    await devTools.send("Network.enable");
    devTools.on("Network.dataReceived", ({ encodedDataLength }) => {
      received += encodedDataLength;
    });
    await page.addInitScript(NOTE_SHOWN);
    await page.goto(`${crowd.url}/dashboard/`);
    // Polled from outside, because the page's content security policy forbids evaluating strings.
    await until("the numbers are shown", () => page.evaluate("window.shownMs !== undefined"));
    await page.waitForSelector("#charts canvas");
    ms.push(await page.evaluate<number>("window.shownMs"));
    bytes.push(received / 1000);
    await page.goto(`${crowd.url}/logs/`);
    emptyMs.push(
      await page.evaluate<number>("performance.getEntriesByType('navigation')[0].duration"),
    );
    await close();
  }
  return [
    {
      question: "first view, transferred bytes (limit 150)",
      unit: "KB",
      figures: { dashboard: summarize(bytes) },
    },
    {
      question: "first view, until the numbers are shown (limit 1,000)",
      unit: "ms",
      figures: { dashboard: summarize(ms), "a page of three links": summarize(emptyMs) },
    },
  ];
}

// --- a full edge ---

const NOTE_LONG_TASKS = `
  window.tasks = [];
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) window.tasks.push(duration);
  }).observe({ entryTypes: ["longtask"] });
`;

/** Browsers report only tasks of 50 ms and more; shorter ones count as 0. */
async function measureLongTasks(browser: Browser, crowd: Crowd): Promise<Result[]> {
  const figures: Record<string, Summary> = {};
  for (const view of ["workers", "sessions"] as const) {
    const { page, close } = await openView(browser, crowd, view);
    const [table, least] = view === "workers" ? ["worker", WORKERS] : ["session", SESSIONS];
    await until("all rows are shown", async () => {
      return (await page.locator(`#${table}-table tbody tr`).count()) >= least;
    });
    await page.evaluate(NOTE_LONG_TASKS);
    await delay(WATCHED_MS);
    const tasks = await page.evaluate<number[]>("window.tasks");
    figures[`${view}: p95 of long tasks`] = summarize([quantile(tasks, 0.95)]);
    figures[`${view}: longest`] = summarize([Math.max(0, ...tasks)]);
    figures[`${view}: how many in ${WATCHED_MS / 1000} s`] = summarize([tasks.length]);
    await close();
  }
  const question = `${SESSIONS} sessions and ${WORKERS} workers that change constantly (limit: p95 100)`;
  return [{ question, unit: "ms", figures }];
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

// --- the worker ---

async function measureCpu(browser: Browser, crowd: Crowd): Promise<Result[]> {
  const shares: Record<string, number[]> = { "no page is open": [] };
  const share = async (): Promise<number> => {
    const [before, sinceMs] = [crowd.worker.cpuNs(), performance.now()];
    await delay(WATCHED_MS / 2);
    return (crowd.worker.cpuNs() - before) / 1e4 / (performance.now() - sinceMs);
  };
  // The first round is a warm-up.
  for (let round = 0; round <= Math.min(3, ROUNDS); round++) {
    const idle = await share();
    if (round > 0) shares["no page is open"]?.push(idle);
    for (const view of ["overview", "workers", "sessions"] as const) {
      const { close } = await openView(browser, crowd, view);
      await delay(2000);
      const open = await share();
      await close();
      if (round === 0) continue;
      shares[`${view} is open, in addition`] = [
        ...(shares[`${view} is open, in addition`] ?? []),
        open - idle,
      ];
    }
  }
  const figures = Object.fromEntries(
    Object.entries(shares).map(([name, rounds]) => [name, summarize(rounds)]),
  );
  return [{ question: "CPU of the worker (limit: 1 in addition)", unit: "% of a core", figures }];
}

// --- the tail ---

async function measureTail(browser: Browser, crowd: Crowd): Promise<Result[]> {
  crowd.writeLines(["the first line"]);
  const { page, devTools, close } = await openView(browser, crowd, "logs");
  let written = 0;
  const writing = setInterval(() => {
    const lines = Array.from({ length: LINES_PER_SECOND / WRITES_PER_SECOND }, () => {
      const at = new Date().toISOString();
      return `${at} worker-1 INFO guest joined line=${written++} session=abcdef… user=Somebody client=vscode`;
    });
    crowd.writeLines(lines);
  }, 1000 / WRITES_PER_SECOND);
  const memory = async () => {
    await devTools.send("HeapProfiler.enable");
    await devTools.send("HeapProfiler.collectGarbage");
    // Collects garbage, which is not growth.
    process.kill(crowd.worker.pid, "SIGUSR2");
    await delay(2000);
    const { usedSize } = await devTools.send("Runtime.getHeapUsage");
    return {
      page: usedSize / 2 ** 20,
      nodes: (await devTools.send("Memory.getDOMCounters")).nodes,
      worker: crowd.worker.privateBytes() / 2 ** 20,
      lines: await page.locator("#log-lines div").count(),
    };
  };
  await delay(15_000);
  const early = await memory();
  await delay(35_000);
  const late = await memory();
  clearInterval(writing);
  const shown = await page.textContent("#log-lines div:last-child");
  await close();
  process.stdout.write(`tail: ${written} lines written; last line shown: ${shown}\n`);
  const one = (value: number): Summary => summarize([value]);
  return [
    {
      question: `live tail of ${LINES_PER_SECOND} lines a second (limit: no growth)`,
      unit: "MiB",
      figures: {
        "page after 15 s": one(early.page),
        "page after 50 s": one(late.page),
        "worker after 15 s": one(early.worker),
        "worker after 50 s": one(late.worker),
        "DOM nodes after 15 s": one(early.nodes),
        "DOM nodes after 50 s": one(late.nodes),
        "lines on the page": one(late.lines),
      },
    },
  ];
}
