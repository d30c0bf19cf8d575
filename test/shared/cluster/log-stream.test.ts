/** Log lines copied to the store: in order, bounded, and counted when they are left out. */
import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import {
  createLogStream,
  createProgramSink,
  type LogStream,
  parseLogText,
} from "../../../shared/cluster/log-stream.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import type { Store } from "../../../shared/store/store.ts";
import { atEnd } from "../../support/at-end.ts";
import { openEmbeddedStore } from "../../support/embedded-store.ts";
import { openStore, startRedis } from "../../support/redis.ts";
import { createStepClock } from "../../support/step-clock.ts";

async function openRedis() {
  const redis = await startRedis();
  const { store } = openStore(redis.url);
  await store.timeMs();
  return { redis, store };
}

const counters = createCounters();
const leftOut = (): number => counters.value("log.lines_left_out", "access");

function openStream(store: Pick<Store, "appendToStream">, source: string): LogStream {
  return createLogStream({ store, stream: "log-access", source, clock: systemClock, counters });
}

describe.each([
  ["Redis", async () => (await openRedis()).store],
  ["embedded", openEmbeddedStore],
] as const)("in the %s store", (_name, open) => {
  test("log lines of several processes arrive in order, with their source", async () => {
    const store = await open();
    const one = openStream(store, "balancer-1");
    const two = openStream(store, "balancer-2");
    for (let i = 0; i < 100; i++) {
      one.write(`line ${i}\n`);
      two.write(`line ${i}\n`);
    }
    await Promise.all([one.close(), two.close()]);
    const entries = await store.readStream("log-access", { limit: 1000 });
    const read = entries.map(({ text }) => parseLogText(text));
    for (const source of ["balancer-1", "balancer-2"]) {
      expect(read.filter((line) => line.source === source).map(({ line }) => line)).toEqual(
        Array.from({ length: 100 }, (_, i) => `line ${i}`),
      );
    }
  });

  test("a flood of log lines is cut to a bounded rate, and a note names the number of lines left out", async () => {
    const store = await open();
    const before = leftOut();
    const stream = openStream(store, "balancer-1");
    for (let i = 0; i < 10_000; i++) if (stream.hasRoom()) stream.write(`line ${i}\n`);
    expect(leftOut() - before).toBe(9500);
    await stream.close();
    const entries = await store.readStream("log-access", { limit: 1000 });
    expect(entries).toHaveLength(501);
    expect(entries.at(-1)?.text).toBe(
      "balancer-1\t… 9500 lines are left out here: they came too fast, or the store was away",
    );
  });

  test("a log line of a megabyte is cut", async () => {
    const store = await open();
    const stream = openStream(store, "balancer-1");
    stream.write(`${"ä".repeat(1024 * 1024)}\n`);
    await stream.close();
    const [entry] = await store.readStream("log-access", { limit: 10 });
    expect(entry?.text.slice(0, 12)).toBe("balancer-1\tä");
    expect(entry?.text.length).toBe(4096);
  });
});

test("a hanging store does not block the log; lost lines are counted, and later lines arrive", {
  timeout: 60_000,
}, async () => {
  const { redis, store } = await openRedis();
  const before = leftOut();
  const stream = openStream(store, "balancer-1");
  redis.pause();
  atEnd(() => redis.resume());
  let written = 0;
  const gone = (): number => leftOut() - before;
  // Until the first operations have failed.
  await expect
    .poll(
      () => {
        for (let i = 0; i < 100; i++) stream.write(`line ${written++}\n`);
        return gone();
      },
      { timeout: 30_000 },
    )
    .toBeGreaterThan(0);
  redis.resume();
  await expect.poll(() => store.health.state, { timeout: 30_000 }).toBe("up");
  const read = async (): Promise<string> => {
    if (stream.hasRoom()) stream.write("back\n");
    const entries = await store.readStream("log-access", { limit: 1000 });
    return entries.map(({ text }) => text).join("\n");
  };
  await expect.poll(read, { timeout: 30_000 }).toMatch(/\d+ lines are left out here.*\tback\n/s);
  await stream.close();
});

test("a slow store gets one operation at a time, however many lines come", async () => {
  const clock = createStepClock();
  const asked: number[] = [];
  let answer = (): void => {};
  const store = {
    appendToStream: (_stream: string, texts: readonly string[]) => {
      asked.push(texts.length);
      return new Promise<void>((resolve) => {
        answer = resolve;
      });
    },
  };
  const stream = createLogStream({ store, stream: "log-access", source: "b", clock, counters });
  stream.write("first\n");
  for (let second = 0; second < 10; second++) {
    clock.advance(1000);
    for (let i = 0; i < 1000; i++) stream.write("line\n");
  }
  expect(asked).toEqual([1]);
  answer();
  await expect
    .poll(() => {
      clock.advance(500);
      return asked;
    })
    .toEqual([1, 501]);
  answer();
});

test("a text of unknown origin has no source", () => {
  expect(parseLogText("no source")).toEqual({ source: "", line: "no source" });
  expect(parseLogText("b\tline\twith tabs")).toEqual({ source: "b", line: "line\twith tabs" });
});

test("a program buffers 8 MiB of unread lines, and drops and counts further ones", () => {
  const output = new Writable({ write() {} });
  const counted = createCounters();
  const sink = createProgramSink(output, counted);
  const line = `${"x".repeat(1023)}\n`;
  for (let i = 0; i < 10 * 1024; i++) sink.write(line);
  expect(output.writableLength).toBe(8 * 1024 * 1024);
  expect(counted.value("log.lines_dropped")).toBe(2 * 1024);
});
