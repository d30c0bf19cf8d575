/**
 * Clients and workers that read slowly, over HTTP and HTTPS: timeouts only affect those that stop reading. The system's buffers
 * take megabytes at once, so for seconds the balancer cannot distinguish a slow reader from one that has stopped.
 */
import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { ok, type RawWorker, type Rig, startRawRig } from "../balancer/rig.ts";
import { makeCertificate } from "../support/certificates.ts";
import { connectSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

const LIMIT_MS = 1000;
const SIZE = 8 * 1024 * 1024;
/** Size and period of one read: the buffers of both systems then last for more than five timeouts. */
const STEP_BYTES = 64 * 1024;
const STEP_MS = 100;
/** More than the system receives for a worker that does not read it: the third number of net.ipv4.tcp_rmem. */
const UNSEEN_BYTES = 40 * 1024 * 1024;

const certificate = await makeCertificate();

/** A test with a balancer and a worker of its own. The tests wait most of the time, so they run concurrently. */
function testBalancer(title: string, run: (worker: RawWorker, rig: Rig) => Promise<void>): void {
  test.concurrent(title, { timeout: 60_000 }, async () => {
    const { worker, rig } = await startRawRig(undefined, {
      certificate,
      limits: { bodyTimeoutMs: LIMIT_MS, upstreamTimeoutMs: LIMIT_MS },
      probe: { async ask() {} },
      isLinked: false,
    });
    try {
      await run(worker, rig);
    } finally {
      await rig.close();
      await worker.close();
    }
    expect(rig.bugs).toEqual([]);
  });
}

/** A connection that is not read yet. */
async function open(scheme: string, rig: Rig): Promise<Socket> {
  const { httpPort, tlsPort } = rig.path.listener;
  const socket = await connectSocket(
    scheme === "http" ? { port: httpPort } : { port: tlsPort, tls: {} },
  );
  socket.pause();
  return socket;
}

/** Reads `socket` slowly but steadily until its end or until `bytes` have arrived; resolves with the number of bytes. */
async function readSlowly(socket: Socket, bytes: number): Promise<number> {
  let got = 0;
  let untilMs = performance.now();
  while (got < bytes) {
    const chunk = socket.read(STEP_BYTES) ?? socket.read();
    if (chunk === null) {
      if (socket.readableEnded || socket.destroyed) break;
    } else {
      got += chunk.length;
      untilMs += (STEP_MS * chunk.length) / STEP_BYTES;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, untilMs - performance.now())));
  }
  return got;
}

/** Reads the next `bytes` as they come; resolves with their number. */
async function readRest(socket: Socket, bytes: number): Promise<number> {
  let got = 0;
  while (got < bytes) {
    const chunk = socket.read();
    if (chunk !== null) got += chunk.length;
    else if (socket.readableEnded || socket.destroyed) break;
    else await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return got;
}

describe.concurrent.each(["http", "https"])("over %s", (scheme) => {
  testBalancer(
    "a download is not cut while its client keeps reading, however slowly",
    async (worker, rig) => {
      const client = await open(scheme, rig);
      client.write("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
      const upstream = await worker.withHead(0);
      upstream.write(ok("x".repeat(SIZE)));
      expect(await readSlowly(client, SIZE)).toBeGreaterThanOrEqual(SIZE);
      client.destroy();
    },
  );

  testBalancer("a download whose client stops reading is cut", async (worker, rig) => {
    const client = await open(scheme, rig);
    client.write("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    const upstream = await worker.withHead(0);
    upstream.write(ok("x".repeat(4 * SIZE)));
    await upstream.close();
    await until("the end of the client's connection", () => rig.path.listener.connections === 0);
    client.destroy();
  });
});

testBalancer(
  "an upload is not aborted while the worker keeps reading, however slowly",
  async (worker, rig) => {
    const client = await rig.client();
    const size = SIZE + UNSEEN_BYTES;
    client.write(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`);
    const upstream = await worker.withHead(0);
    upstream.socket.removeAllListeners("data");
    upstream.socket.pause();
    client.write(Buffer.alloc(size));
    const got = await readSlowly(upstream.socket, SIZE);
    // The rest fits into the worker's own buffers, where nobody sees how slowly it is read.
    expect(got + (await readRest(upstream.socket, size - got))).toBe(size);
    upstream.write(ok("thanks"));
    await client.has("thanks");
  },
);

testBalancer("an upload is aborted when the worker stops reading", async (worker, rig) => {
  const client = await rig.send(
    `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${4 * SIZE}\r\n\r\n`,
  );
  const upstream = await worker.withHead(0);
  upstream.socket.pause();
  client.write(Buffer.alloc(4 * SIZE));
  await client.has("HTTP/1.1 504 ");
});
