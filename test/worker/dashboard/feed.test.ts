/** The live feed: which events each page gets, over HTTP, with real log files. */
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../../shared/base/clock.ts";
import { createFeed } from "../../../worker/dashboard/feed.ts";
import type { LogLines, SessionsResponse } from "../../../worker/dashboard/responses.ts";
import type { Snapshot } from "../../../worker/dashboard/snapshot.ts";
import { silentLog } from "../../support/logs.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";
import { startWorker, type Worker } from "../api/fixture.ts";

let folder: string;
beforeEach(() => {
  folder = tempFolder();
});

interface Event {
  readonly name: string;
  readonly data: unknown;
}

/** A snapshot of an edge with these sessions and nothing else. */
function snapshotOf(sessions: readonly (readonly [string, string])[]): Snapshot {
  return {
    nowMs: 1,
    isCurrent: true,
    storeLatencyMs: 1,
    membership: { members: [], ignored: 0, booted: true },
    views: [],
    cluster: [],
    ownerById: new Map(sessions) as unknown as Snapshot["ownerById"],
  };
}

/** A feed without a worker; `newLines` are those that each look at a log finds. */
function feedOf(
  clock: Clock,
  snapshots: Parameters<typeof createFeed>[0]["snapshots"],
  newLines: () => string[] = () => [],
) {
  const next = { kind: "stream", after: undefined } as const;
  return createFeed({
    clock,
    log: silentLog(),
    storeHealth: () => ({ state: "up" }),
    snapshots,
    logs: {
      tail: async () => ({ lines: [], skipped: 0, next }),
      follow: async () => ({ lines: newLines(), skipped: 0, next }),
    },
  });
}

const OPERATOR = { authorization: `Basic ${Buffer.from("ops:operator").toString("base64")}` };

/** Opens the feed; resolves when its headers have arrived. */
async function follow(worker: Worker, query = "") {
  const stop = new AbortController();
  const answer = await request(`${worker.url}/dashboard/api/events${query}`, {
    headers: OPERATOR,
    signal: stop.signal,
  });
  const events: Event[] = [];
  let hasEnded = false;
  let text = "";
  answer.body.setEncoding("utf8");
  answer.body.on("data", (data: string) => {
    text += data;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const [, name = "", json = ""] = /^event: (\w+)\ndata: (.*)$/.exec(text.slice(0, end)) ?? [];
      events.push({ name, data: JSON.parse(json) });
      text = text.slice(end + 2);
    }
  });
  answer.body.on("error", () => {});
  answer.body.on("end", () => {
    hasEnded = true;
  });
  onTestFinished(() => stop.abort());
  const of = <T>(name: string): T[] =>
    events.filter((event) => event.name === name).map(({ data }) => data as T);
  return {
    status: answer.statusCode,
    headers: answer.headers,
    events,
    of,
    lines: () => of<LogLines>("log").flatMap(({ lines }) => lines),
    skipped: () => of<LogLines>("log").reduce((sum, { skipped }) => sum + skipped, 0),
    hasEnded: () => hasEnded,
    stop: () => stop.abort(),
  };
}

test("a new page gets all topics at once, and then each change", async () => {
  const worker = await startWorker();
  const { headers, of, events } = await follow(worker);
  expect(headers).toMatchObject({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  await until("all topics", () => new Set(events.map(({ name }) => name)).size === 3);
  expect(of<SessionsResponse>("sessions")[0]?.total).toBe(0);
  await worker.openSession();
  await until("the session", () => of<SessionsResponse>("sessions").at(-1)?.total === 1);
  await until("a second overview", () => of("overview").length > 1);
});

test("a page that asks for one topic gets that topic and the overview", async () => {
  const worker = await startWorker();
  const one = await follow(worker, "?topics=workers,nonsense");
  const none = await follow(worker, "?topics=");
  await until(
    "two overviews",
    () => one.of("overview").length > 1 && none.of("overview").length > 1,
  );
  expect(one.of("sessions")).toEqual([]);
  expect(one.of("workers")).not.toEqual([]);
  expect(new Set(none.events.map(({ name }) => name))).toEqual(new Set(["overview"]));
});

test("a new page gets the newest log lines once, and then each new line once, in order", async () => {
  const file = join(folder, "server.log");
  writeFileSync(file, Array.from({ length: 300 }, (_, i) => `old ${i}\n`).join(""));
  const worker = await startWorker({ logDir: folder });
  const first = await follow(worker, "?topics=&log=server");
  await until("the first lines", () => first.lines().length === 200);
  let written = 0;
  const followers = [];
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 40; i++) appendFileSync(file, `new ${written++}\n`);
    followers.push(await follow(worker, "?topics=&log=server"));
  }
  appendFileSync(file, "the last\n");
  const all = [
    ...Array.from({ length: 300 }, (_, i) => `old ${i}`),
    ...Array.from({ length: 200 }, (_, i) => `new ${i}`),
    "the last",
  ];
  for (const { lines } of [first, ...followers]) {
    await until("the last line", () => lines().at(-1) === "the last");
    expect(lines()).toEqual(all.slice(-lines().length));
    expect(lines().length).toBeGreaterThanOrEqual(200);
  }
});

test("lines with markup, control bytes and invalid UTF-8, and long ones, arrive as text on one line", async () => {
  const file = join(folder, "server.log");
  writeFileSync(file, "");
  const worker = await startWorker({ logDir: folder });
  const { lines } = await follow(worker, "?topics=&log=server");
  const bytes = Buffer.concat([
    Buffer.from('<script>alert(1)</script>\r\n\u0000\u001b[2J\u2028data: x\n"\\\n'),
    Buffer.from([0xff, 0xc3, 0x28, 0x0a]),
    Buffer.alloc(500_000, "x"),
    Buffer.from("\nthe last\n"),
  ]);
  appendFileSync(file, bytes);
  await until("the last line", () => lines().at(-1) === "the last");
  expect(lines().map((line) => (line.length > 100 ? line.length : line))).toEqual([
    "<script>alert(1)</script>\\u000d",
    "\\u0000\\u001b[2J\\u2028data: x",
    '"\\',
    "\ufffd\ufffd(",
    4097,
    "the last",
  ]);
});

test("a missing log and an unknown log id have no lines", async () => {
  const worker = await startWorker({ logDir: folder });
  const missing = await follow(worker, "?topics=&log=access");
  const unknown = await follow(worker, "?topics=&log=../secret");
  await until("overviews", () => missing.of("overview")[0] && unknown.of("overview")[0]);
  expect([...missing.lines(), ...unknown.lines()]).toEqual([]);
});

test("a stopping worker closes all feeds and accepts no new ones", async () => {
  const worker = await startWorker();
  const { hasEnded } = await follow(worker);
  await worker.stop();
  await until("the end", hasEnded);
});

test("the 101st page gets 503, until another one closes", async () => {
  const worker = await startWorker();
  const all = await Promise.all(Array.from({ length: 100 }, () => follow(worker, "?topics=")));
  expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]));
  const late = await worker.ask("GET", "/dashboard/api/events", { headers: OPERATOR });
  expect(late.status).toBe(503);
  all[0]?.stop();
  await until("room", async () => (await follow(worker, "?topics=")).status === 200);
});

test("without a page nothing is read, and a slow page is sent the number of lines that it missed", async () => {
  const clock = createStepClock();
  let reads = 0;
  let batch = 0;
  const snapshots = {
    async read() {
      reads++;
      return snapshotOf([]);
    },
    readSessions: async () => [],
  };
  const feed = feedOf(clock, snapshots, () => {
    const length = batch++ < 4 ? 700 : 1;
    return Array.from({ length }, (_, i) => `${batch}.${i}`);
  });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) await Promise.resolve();
  };
  clock.advance(60_000);
  await settle();
  expect(reads).toBe(0);

  const written: string[] = [];
  const close: (() => void)[] = [];
  const res = {
    writableLength: 0,
    write: (text: string) => written.push(text),
    end() {},
    on: (event: string, listener: () => void) => event === "close" && close.push(listener),
  };
  expect(feed.open(res as never, { topics: [], log: "server" })).toBe(true);
  await settle();
  const sent = (): LogLines[] =>
    written.flatMap((text) => {
      const json = /^event: log\ndata: (.*)\n\n$/.exec(text)?.[1];
      return json === undefined ? [] : (JSON.parse(json) as LogLines);
    });
  clock.advance(400);
  await settle();
  expect(sent().map(({ lines, skipped }) => [lines.length, skipped])).toEqual([[500, 200]]);
  res.writableLength = 2 ** 20 + 1;
  for (let i = 0; i < 3; i++) {
    clock.advance(400);
    await settle();
  }
  res.writableLength = 0;
  clock.advance(400);
  await settle();
  expect(sent().map(({ lines, skipped }) => [lines.length, skipped])).toEqual([
    [500, 200],
    [1, 2100],
  ]);

  for (const listener of close) listener();
  const before = reads;
  clock.advance(60_000);
  await settle();
  expect([feed.watchers, reads]).toEqual([0, before]);
});

test.each([
  [10, 31],
  [1000, 11],
])("a list of %i sessions is sent %i times within a minute", async (size, expected) => {
  const clock = createStepClock();
  let reads = 0;
  const ids = Array.from({ length: size }, (_, i) => [`session-${i}`, "w1"] as const);
  const feed = feedOf(clock, {
    read: async () => snapshotOf(ids),
    async readSessions() {
      reads++;
      return [];
    },
  });
  const res = { writableLength: 0, write() {}, end() {}, on() {} };
  feed.open(res as never, { topics: ["sessions"], log: undefined });
  for (let second = 0; second < 61; second++) {
    for (let i = 0; i < 50; i++) await Promise.resolve();
    if (second < 60) clock.advance(1000);
  }
  expect(reads).toBe(expected);
  feed.close();
});
