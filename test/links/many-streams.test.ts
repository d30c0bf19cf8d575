/** Streams over real connections: what one does to the others, and what many leave behind. */

import { createServer, type Server } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { createNetTransport } from "../../balancer/transport/net.ts";
import { openLinks, type WorkerLinks } from "../../balancer/upstreams/worker-links.ts";
import { systemClock } from "../../shared/base/clock.ts";
import type { LinkStream, StreamHandler } from "../../shared/link/stream.ts";
import { bufferBytes, holdings } from "../robustness/memory.ts";
import { silentLog } from "../support/logs.ts";
import { closed, listen } from "../support/servers.ts";
import { until } from "../support/until.ts";
import { type AcceptedLinks, acceptLinks, linkTargets } from "./accept-links.ts";

const MIB = 1024 * 1024;

interface Setup {
  readonly accepted: AcceptedLinks;
  /** Another link to the worker. */
  open(this: void): Promise<WorkerLinks>;
}

/**
 * A worker without HTTP whose streams do what their first byte says: `e` sends back what comes, `f` floods, `s` never reads.
 */
async function start(): Promise<Setup> {
  const server: Server = createServer();
  const accepted = acceptLinks(server);
  server.removeAllListeners("connection");
  const plain = createServer();
  plain.on("upgrade", (...upgrade) => server.emit("upgrade", ...upgrade));
  server.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.once("data", (first: Buffer) => {
      if (first.toString() === "f") flood(socket);
      else if (first.toString() === "s") socket.pause();
      else {
        socket.write(first);
        socket.pipe(socket);
      }
    });
  });
  const record = accepted.record(await listen(plain));
  const bugs: unknown[] = [];
  const all: WorkerLinks[] = [];
  onTestFinished(async () => {
    for (const links of all) links.close();
    accepted.links.close();
    await closed(plain);
    expect([...bugs, ...accepted.bugs]).toEqual([]);
  });
  return {
    accepted,
    async open() {
      const reportBug = (error: unknown): void => void bugs.push(error);
      const target = linkTargets()(record, {
        host: "127.0.0.1",
        port: Number(new URL(record.url).port),
      });
      if (typeof target === "string") throw new Error(target);
      const transport = createNetTransport({ reportBug });
      const links = openLinks(target, {
        transport,
        clock: systemClock,
        log: silentLog(),
        reportBug,
        random: Math.random,
      });
      all.push(links);
      await until("the link is open", () => links.state === "open");
      return links;
    },
  };
}

function flood(socket: {
  write(bytes: Buffer): boolean;
  on(event: "drain", go: () => void): unknown;
}): void {
  const bytes = Buffer.alloc(16_384, "f");
  const go = (): void => {
    while (socket.write(bytes));
  };
  socket.on("drain", go);
  go();
}

function openStream(links: WorkerLinks, handler: Partial<StreamHandler> = {}): LinkStream {
  const stream = links.open();
  if (stream === undefined) throw new Error("no link");
  stream.handler = { onData() {}, onEnd() {}, onDrain() {}, onClose() {}, ...handler };
  return stream;
}

// --- one stream and the others ---

const ROUND_TRIPS = 400;
const CLIENTS = 8;
const ROUNDS = 7;

/** Durations of round trips of a few clients at a time over one link, in ms, sorted. */
async function roundTrips(links: WorkerLinks): Promise<number[]> {
  const durations: number[] = [];
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      let onEcho: () => void = () => {};
      const stream = openStream(links, { onData: () => onEcho() });
      for (let count = 0; count < ROUND_TRIPS; count++) {
        const echo = new Promise<void>((resolve) => {
          onEcho = resolve;
        });
        const sentMs = performance.now();
        stream.write(["echo"]);
        await echo;
        durations.push(performance.now() - sentMs);
      }
      stream.destroy();
    }),
  );
  return durations.sort((a, b) => a - b);
}

const p99 = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length * 0.99)] ?? 0;
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

test("a stream that never reads, beside one that floods, does not slow the others of its link", async () => {
  const { open } = await start();
  const [shared, apart] = [await open(), await open()];
  let flooded = 0;
  const flooding = openStream(shared, {
    onData(bytes) {
      flooded += bytes.length;
    },
  });
  flooding.write(["f"]);
  const stuck = openStream(shared);
  stuck.write(["s"]);
  while (stuck.write([Buffer.alloc(16_384)]));
  const neverRead = openStream(shared);
  neverRead.pause();
  neverRead.write(["f"]);
  await until("the flood flows", () => flooded > MIB);
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = flooded;
    // At the same time, so that whatever else this machine does delays both.
    const [loaded, control] = await Promise.all([roundTrips(shared), roundTrips(apart)]);
    ratios.push(p99(loaded) / p99(control));
    expect(flooded - before).toBeGreaterThan(MIB);
  }

  expect(median(ratios), ratios.join()).toBeLessThan(1.5);
  for (const stream of [flooding, stuck, neverRead]) stream.reset();
});

// --- what many leave behind ---

test("10,000 streams that are opened and reset over real connections leave nothing behind", async () => {
  const { open, accepted } = await start();
  const links = await open();
  const closed = { streams: 0 };
  async function openAndReset(count: number): Promise<void> {
    const opened = Array.from({ length: count }, () =>
      openStream(links, {
        onClose() {
          closed.streams++;
        },
      }),
    );
    for (const [index, stream] of opened.entries()) {
      if (index % 3 !== 0) stream.write(["e and more"]);
      if (index % 12 === 1) stream.write([Buffer.alloc(100_000)]);
    }
    const haveArrived = (): boolean =>
      accepted.links.counts.streamsOpened === links.counts.streamsOpened;
    if (count % 2 === 0) await until("the worker has them", haveArrived);
    for (const stream of opened) stream.reset();
    await until("all are over", () => haveArrived() && accepted.links.streams === 0);
  }
  const round = async (): Promise<void> => {
    for (let count = 0; count < 6; count++) await openAndReset(count % 2 === 0 ? 400 : 399);
  };
  await round();
  const before = { heap: holdings().heap, buffers: bufferBytes() };
  for (let count = 0; count < 5; count++) await round();
  expect(links.counts.streamsOpened).toBeGreaterThan(10_000);
  expect(accepted.links.counts.streamsOpened).toBe(links.counts.streamsOpened);
  expect(closed.streams).toBe(links.counts.streamsOpened);
  expect(links.streams).toBe(0);
  expect(links.counts.errors + accepted.links.counts.errors).toBe(0);
  // A kept stream would be some hundred bytes of each of 10,000.
  expect(holdings().heap - before.heap).toBeLessThan(MIB);
  expect(bufferBytes() - before.buffers).toBeLessThan(2 * MIB);
});

test("streams that nobody reads hold no more than their windows", async () => {
  const { open, accepted } = await start();
  const links = await open();
  const before = bufferBytes();
  const streams = Array.from({ length: 100 }, () => {
    const stream = openStream(links);
    stream.pause();
    stream.write(["f"]);
    return stream;
  });
  await until("all have stalled", () => accepted.links.counts.stalls >= streams.length);
  // The window, what the worker's stream and its socket queue, and room for what the collector has not freed.
  expect(bufferBytes() - before).toBeLessThan(streams.length * 6 * 65_536);
  for (const stream of streams) stream.reset();
  await until("all are over", () => accepted.links.streams === 0);
  await until("the memory is free again", () => bufferBytes() - before < 4 * MIB);
});
