/**
 * How fast is the browser client? A real edge with two workers and the system's Chromium, all on this machine. (1) The first
 * load: transferred bytes, and time until something and until the first page is shown. (2) From a host's approval until the
 * guest can type, once the guest's key exists; limit 1.5 s. (3) From a key in one page to the letter in the other; limit 60 ms.
 * (4) A text of 2 MB until it can be edited. (5) A folder of 5,000 entries; limit 200 ms for the longest task. (6) Memory.
 *
 * For comparison, in the same rounds: an almost empty page of the same edge, and two such pages that pass keys on by a
 * BroadcastChannel. What they take is the machine's and the browser's part.
 */
import type { Browser, Page } from "playwright-core";
import { launchChromium, openLooker } from "../test/support/browser.ts";
import { Client } from "../test/support/clients.ts";
import { startEdge } from "../test/support/edge-process.ts";
import { until } from "../test/support/until.ts";
import { serveFiles, WebPerson } from "../test/support/web-client.ts";
import { privateOf } from "./support/process.ts";
import { type Result, writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 1 });
const KEYS_PER_ROUND = 20;
const LARGE_BYTES = 2_000_000;
const ENTRIES = 5000;
/** Plain text of some bytes. */
const EMPTY_PAGE = "/api/meta";
/** In no text that the pages show before. */
const LETTER = "8";
const VIEWPORT = { width: 1440, height: 900 };

export async function run(): Promise<void> {
  const edge = await startEdge({ env: { CT_WARM_UP_MS: "1000" } });
  const browser = await launchChromium();
  try {
    const url = edge.httpUrl;
    const results = [
      ...(await measureFirstLoad(browser, url)),
      ...(await measureSession(browser, url)),
      ...(await measureFiles(browser, url)),
    ];
    for (const result of results) print(result);
    writeResults("web", results, { Chromium: browser.version() });
  } finally {
    await browser.close();
    await edge.dispose();
  }
}

function print({ question, unit, figures }: Result): void {
  process.stdout.write(`${question} (${unit})\n`);
  for (const [name, { median, min, max }] of Object.entries(figures)) {
    const numbers = [median, min, max].map((value) => value.toFixed(1).padStart(10));
    process.stdout.write(`  ${name.padEnd(44)}${numbers.join("")}\n`);
  }
}

// --- the first load ---

async function measureFirstLoad(browser: Browser, url: string): Promise<Result[]> {
  const loads: Load[] = [];
  const empty: Load[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    loads.push(await load(browser, `${url}/`, ".ways"));
    empty.push(await load(browser, url + EMPTY_PAGE, "pre"));
  }
  return [
    {
      question: "first load, transferred bytes (limit 350)",
      unit: "KiB",
      figures: {
        client: summarize(loads.map(({ bytes }) => bytes / 1024)),
        "empty page": summarize(empty.map(({ bytes }) => bytes / 1024)),
      },
    },
    {
      question: "first load, time since the start of the navigation",
      unit: "ms",
      figures: {
        "client, first paint": summarize(loads.map(({ paintMs }) => paintMs)),
        "client, first page is shown": summarize(loads.map(({ shownMs }) => shownMs)),
        "empty page, first paint": summarize(empty.map(({ paintMs }) => paintMs)),
      },
    },
    {
      question: "memory of the page's process, first page",
      unit: "MiB",
      figures: {
        client: summarize(loads.map(({ mebibytes }) => mebibytes)),
        "empty page": summarize(empty.map(({ mebibytes }) => mebibytes)),
      },
    },
  ];
}

interface Load {
  readonly bytes: number;
  readonly paintMs: number;
  readonly shownMs: number;
  readonly mebibytes: number;
}

/** In a new context, with an empty cache. */
async function load(browser: Browser, url: string, selector: string): Promise<Load> {
  const { context, page } = await openLooker(browser, { viewport: VIEWPORT });
  const devTools = await context.newCDPSession(page);
  let bytes = 0;
  devTools.on("Network.loadingFinished", ({ encodedDataLength }) => {
    bytes += encodedDataLength;
  });
  await devTools.send("Network.enable");
  await page.addInitScript(INSTRUMENTS);
  await page.goto(url);
  const shownAtMs = await shown(page, selector);
  const paintMs = await until("the page is painted", () =>
    page.evaluate<number | undefined>(
      "performance.getEntriesByName('first-contentful-paint')[0]?.startTime",
    ),
  );
  const shownMs = shownAtMs - (await page.evaluate<number>("performance.timeOrigin"));
  const mebibytes = await memoryOf(page);
  await context.close();
  return { bytes, paintMs, shownMs, mebibytes };
}

// --- a session ---

async function measureSession(browser: Browser, url: string): Promise<Result[]> {
  const host = await openPerson(browser, "Anna");
  const link = await host.startSession(url);
  await shown(host.page, EDITABLE);
  const approvals: number[] = [];
  const echoes: number[] = [];
  const control: number[] = [];
  const memory: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const guest = await openPerson(browser, `Ben ${round}`);
    await guest.knock(link);
    await until("the guest's key exists", () => guest.page.evaluate("bench.keyMs !== undefined"));
    const editable = shown(guest.page, EDITABLE);
    await host.allow(guest.name);
    const clickedMs = await host.page.evaluate<number>("bench.clickedMs");
    approvals.push((await editable) - clickedMs);
    memory.push(await memoryOf(guest.page));
    await guest.editor.click();
    echoes.push(...(await echo(guest.page, host.page, ".cm-content")));
    await guest.close();
    control.push(...(await echoOfEmptyPages(browser, url)));
  }
  await host.close();
  return [
    {
      question: "from the host's approval until the guest can type (limit 1,500)",
      unit: "ms",
      figures: { client: summarize(approvals) },
    },
    {
      question: `from a key to the letter in the other page, ${ROUNDS * KEYS_PER_ROUND} keys (limit 60)`,
      unit: "ms",
      figures: { client: summarize(echoes), "empty pages": summarize(control) },
    },
    {
      question: "memory of the page's process, in a session with a small file",
      unit: "MiB",
      figures: { client: summarize(memory) },
    },
  ];
}

/** Types a letter at a time, the next when the one before has been seen. */
async function echo(from: Page, to: Page, selector: string): Promise<number[]> {
  const times: number[] = [];
  await to.evaluate(`bench.watch(${JSON.stringify(selector)})`);
  for (let key = 0; key < KEYS_PER_ROUND; key++) {
    const seen = to.evaluate<number>("bench.nextLetter()");
    await from.keyboard.press(LETTER);
    times.push((await seen) - (await from.evaluate<number>("bench.keydownMs")));
  }
  return times;
}

async function echoOfEmptyPages(browser: Browser, url: string): Promise<number[]> {
  const context = await browser.newContext();
  const [from, to] = [await context.newPage(), await context.newPage()];
  for (const page of [from, to]) {
    await page.addInitScript(INSTRUMENTS);
    await page.goto(url + EMPTY_PAGE);
  }
  await to.evaluate(`
    new BroadcastChannel("keys").onmessage = ({ data }) => document.body.append(data);
  `);
  await from.evaluate(`
    const channel = new BroadcastChannel("keys");
    addEventListener("keydown", ({ key }) => channel.postMessage(key));
  `);
  await from.bringToFront();
  const times = await echo(from, to, "body");
  await context.close();
  return times;
}

// --- files ---

/** Of an IDE's client, so that only the guest is a browser. Each round has a folder and a text of its own. */
async function measureFiles(browser: Browser, url: string): Promise<Result[]> {
  const host = new Client({ baseUrl: url, name: "Ida" });
  const room = await host.host();
  serveFiles(host, filesOf(ROUNDS));
  const guest = await openPerson(browser, "Ben");
  await guest.knock(`${url}/join/${room}`);
  await guest.entered();
  const { page } = guest;
  const folders: Opened[] = [];
  const texts: Opened[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    folders.push(await open(guest, `many-${round}`, row(`entry-${round}-1.txt`)));
    await guest.choose(`many-${round}`);
    texts.push(await open(guest, `large-${round}.txt`, editableText(`src/large-${round}.txt`)));
    if ((await guest.text()).length !== LARGE_BYTES) throw new Error("the text is incomplete");
    await guest.button(`Close large-${round}.txt`).click();
  }
  const mebibytes = await memoryOf(page);
  await guest.close();
  await host.close();
  return [
    {
      question: "a folder of 5,000 entries is listed (limit 200 for the longest task)",
      unit: "ms",
      figures: {
        "until its first entries are shown": summarize(folders.map(({ ms }) => ms)),
        "longest task (0: below 50)": summarize(folders.map(({ longestTaskMs }) => longestTaskMs)),
      },
    },
    {
      question: "a text of 2 MB",
      unit: "ms",
      figures: {
        "until it can be edited": summarize(texts.map(({ ms }) => ms)),
        "longest task (0: below 50)": summarize(texts.map(({ longestTaskMs }) => longestTaskMs)),
      },
    },
    {
      question: `memory of the page's process, after ${ROUNDS} texts of 2 MB were opened`,
      unit: "MiB",
      figures: { client: summarize([mebibytes]) },
    },
  ];
}

function filesOf(rounds: number): Record<string, string> {
  const files: Record<string, string> = {};
  const line = "A line of a large text, which is as long as lines of code often are.\n";
  const large = line.repeat(Math.ceil(LARGE_BYTES / line.length)).slice(0, LARGE_BYTES);
  for (let round = 1; round <= rounds; round++) {
    files[`src/large-${round}.txt`] = large;
    for (let entry = 1; entry <= ENTRIES; entry++) {
      files[`src/many-${round}/entry-${round}-${entry}.txt`] = "";
    }
  }
  return files;
}

interface Opened {
  readonly ms: number;
  readonly longestTaskMs: number;
}

/** Clicks an entry of the tree; measures until `selector` is shown. */
async function open(guest: WebPerson, name: string, selector: string): Promise<Opened> {
  const { page } = guest;
  await page.evaluate("bench.longestTaskMs = 0");
  const appears = shown(page, selector);
  await guest.choose(name);
  const shownAtMs = await appears;
  const clickedMs = await page.evaluate<number>("bench.clickedMs");
  // The browser reports a task after its end.
  await page.evaluate("new Promise((resolve) => requestIdleCallback(() => setTimeout(resolve)))");
  const longestTaskMs = await page.evaluate<number>("bench.longestTaskMs");
  return { ms: shownAtMs - clickedMs, longestTaskMs };
}

// --- pages ---

/** Times are in ms of the system's clock, so that those of two pages can be compared. */
const INSTRUMENTS = `
  globalThis.bench = {
    longestTaskMs: 0,
    /** Resolves with the time at which an element is there. */
    shown: (selector) => new Promise((resolve) => {
      const check = () => {
        if (document.querySelector(selector) === null) requestAnimationFrame(check);
        else resolve(performance.timeOrigin + performance.now());
      };
      check();
    }),
    watch(selector) {
      const element = document.querySelector(selector);
      const count = () => element.textContent.split(${JSON.stringify(LETTER)}).length;
      let known = count();
      let onLetter = () => {};
      new MutationObserver(() => {
        if (count() === known) return;
        known = count();
        onLetter(performance.timeOrigin + performance.now());
      }).observe(element, { childList: true, subtree: true, characterData: true });
      bench.nextLetter = () => new Promise((resolve) => { onLetter = resolve; });
    },
  };
  addEventListener("keydown", ({ timeStamp }) => {
    bench.keydownMs = performance.timeOrigin + timeStamp;
  }, true);
  addEventListener("click", ({ timeStamp }) => {
    bench.clickedMs = performance.timeOrigin + timeStamp;
  }, true);
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      bench.longestTaskMs = Math.max(bench.longestTaskMs, duration);
    }
  }).observe({ entryTypes: ["longtask"] });
  // Of the object, because the people of tests have a generateKey of their own.
  const subtle = globalThis.crypto.subtle;
  if (subtle !== undefined) {
    const generateKey = subtle.generateKey.bind(subtle);
    subtle.generateKey = async (...options) => {
      const made = await generateKey(...options);
      bench.keyMs = performance.timeOrigin + performance.now();
      return made;
    };
  }
`;

const EDITABLE = '.cm-content[aria-readonly="false"]';

function editableText(path: string): string {
  return `${EDITABLE}[aria-label="Text of ${path}"]`;
}

function row(name: string): string {
  return `[role="treeitem"][aria-label="${name}"]`;
}

/** Resolves with the time at which an element is there. */
function shown(page: Page, selector: string): Promise<number> {
  return page.evaluate<number>(`bench.shown(${JSON.stringify(selector)})`);
}

async function openPerson(browser: Browser, name: string): Promise<WebPerson> {
  const person = await WebPerson.open(browser, name, { viewport: VIEWPORT });
  await person.page.addInitScript(INSTRUMENTS);
  return person;
}

/**
 * Private memory of a page's process after a garbage collection: that of the largest one, because the browser does not say
 * whose they are.
 */
async function memoryOf(page: Page): Promise<number> {
  const devTools = await page.context().newCDPSession(page);
  await devTools.send("HeapProfiler.collectGarbage");
  await devTools.detach();
  const ofBrowser = await page.context().browser()?.newBrowserCDPSession();
  const processes = (await ofBrowser?.send("SystemInfo.getProcessInfo"))?.processInfo ?? [];
  await ofBrowser?.detach();
  const bytes = processes.filter(({ type }) => type === "renderer").map(({ id }) => privateOf(id));
  return Math.max(...bytes) / 2 ** 20;
}
