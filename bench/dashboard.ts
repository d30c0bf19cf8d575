/**
 * What does the dashboard cost? (1) The first view: bytes as they come, and time until the numbers are there; limits 150 KB
 * and 1 s. (2) 1,000 sessions and 50 workers, as they move: long tasks of the page, limit 100 ms for 95 of 100. (3) The
 * worker's CPU with one page open against none, interleaved; limit 1 % of a core. (4) A live tail of 1,000 lines a second:
 * memory of the page and of the worker after 15 s and after 50 s; it must not grow.
 *
 * The peer is what can be had without the page: an empty page in the same browser, the same worker that nobody looks at.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Browser, CDPSession, Page } from "playwright-core";
import { launchChromium, openLooker } from "../test/support/browser.ts";
import { buildOnce } from "../test/support/build.ts";
import { until } from "../test/support/until.ts";
import { type Crowd, OPERATOR, startCrowd } from "./support/crowd.ts";
import { CORES } from "./support/process.ts";
import { type Result, writeResults } from "./support/results.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
/** A part of the name of what is measured. */
const ONLY = process.env["BENCH_ONLY"] ?? "";
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
      if (!measure.name.includes(ONLY)) continue;
      const measured = await measure(browser, crowd);
      for (const result of measured) print(result);
      results.push(...measured);
    }
    if (ONLY === "") writeResults("dashboard", results);
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

async function look(browser: Browser, crowd: Crowd, view: View): Promise<Opened> {
  const opened = await openPage(browser);
  await opened.page.goto(`${crowd.url}/dashboard/#${view}`);
  await opened.page.waitForSelector(SHOWN[view]);
  return opened;
}

/** There when the view has what it is for. */
const SHOWN: Record<View, string> = {
  overview: '[data-tile="usersOnline"]:not(:text("–"))',
  workers: "#worker-table tbody tr",
  sessions: "#session-table tbody tr",
  logs: "#log-lines div",
};

// --- the first view ---

/** As soon as the page has its numbers, it notes when that was: ms since the navigation began. */
const NOTE_SHOWN = `
  window.shownMs = undefined;
  const look = () => {
    const tile = document.querySelector('[data-tile="usersOnline"]');
    if (tile !== null && /\\\\d/.test(tile.textContent)) window.shownMs = performance.now();
    else requestAnimationFrame(look);
  };
  look();
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
    // Asked from outside: the page's policy lets nobody evaluate text in it.
    await until("the numbers are there", () => page.evaluate("window.shownMs !== undefined"));
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
      question: "first view, bytes as they come (limit 150)",
      unit: "KB",
      figures: { dashboard: summarize(bytes) },
    },
    {
      question: "first view, until the numbers are there (limit 1,000)",
      unit: "ms",
      figures: { dashboard: summarize(ms), "a list of three links": summarize(emptyMs) },
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

/** Tasks below 50 ms are not told by a browser: they count as 0. */
async function measureLongTasks(browser: Browser, crowd: Crowd): Promise<Result[]> {
  const figures: Record<string, Summary> = {};
  for (const view of ["workers", "sessions"] as const) {
    const { page, close } = await look(browser, crowd, view);
    const [table, least] = view === "workers" ? ["worker", WORKERS] : ["session", SESSIONS];
    await until("all rows are there", async () => {
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
  const question = `${SESSIONS} sessions and ${WORKERS} workers that move (limit: p95 100)`;
  return [{ question, unit: "ms", figures }];
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

// --- the worker ---

async function measureCpu(browser: Browser, crowd: Crowd): Promise<Result[]> {
  const shares: Record<string, number[]> = { "nobody looks": [] };
  const share = async (): Promise<number> => {
    const [before, sinceMs] = [crowd.worker.cpuNs(), performance.now()];
    await delay(WATCHED_MS / 2);
    return (crowd.worker.cpuNs() - before) / 1e4 / (performance.now() - sinceMs);
  };
  // The first round runs code that was never run before: it warms up.
  for (let round = 0; round <= Math.min(3, ROUNDS); round++) {
    const nobody = await share();
    if (round > 0) shares["nobody looks"]?.push(nobody);
    for (const view of ["overview", "workers", "sessions"] as const) {
      const { close } = await look(browser, crowd, view);
      await delay(2000);
      const open = await share();
      await close();
      if (round === 0) continue;
      shares[`${view} is open, more`] = [...(shares[`${view} is open, more`] ?? []), open - nobody];
    }
  }
  const figures = Object.fromEntries(
    Object.entries(shares).map(([name, rounds]) => [name, summarize(rounds)]),
  );
  return [{ question: "CPU of the worker (limit: 1 more)", unit: "% of a core", figures }];
}

// --- the tail ---

async function measureTail(browser: Browser, crowd: Crowd): Promise<Result[]> {
  crowd.writeLines(["the first line"]);
  const { page, devTools, close } = await look(browser, crowd, "logs");
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
    // Garbage shall not be taken for growth.
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
  process.stdout.write(`tail: ${written} lines were written; the last one shown: ${shown}\n`);
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
