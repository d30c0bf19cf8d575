/**
 * Small chunks that come one after the other, as server-sent events and messages of a WebSocket do, are passed on at once.
 * Nagle's algorithm would hold each back until the one before is acknowledged, and a receiver that sends nothing itself
 * acknowledges after 40 ms. Compared with connections to the worker itself, at the same time.
 */
import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request as requestHttp } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Rig, startRig, workerRecord } from "../balancer/rig.ts";
import { WEBSOCKET_ACCEPT, WEBSOCKET_KEY } from "../conformance/case.ts";
import { makeCertificate } from "../support/certificates.ts";
import { listen } from "../support/servers.ts";
import { until } from "../support/until.ts";

/** Linux acknowledges at once again after some chunks, so a stream is short. */
const CHUNKS = 8;
/** The first chunk may wait for a connection to the worker. */
const MEASURED_FROM = 1;
const CONNECTIONS = 8;
const CHUNK_BYTES = 8;
/** Shorter than a delayed acknowledgement, so several chunks would wait for one. */
const PERIOD_MS = 5;
/** Far below the 40 ms of a delayed acknowledgement, of which a chunk would wait for half on average. */
const ADDED_MS = 10;
/** Chunks that are held back are so in each round; a busy machine delays some of one. */
const ROUNDS = 4;

/** The delays of the chunks of one stream, whose both ends are in this process. */
class Delays {
  readonly #sentMs: number[] = [];
  readonly #tookMs: number[] = [];
  #receivedBytes = 0;

  /** Sends all chunks, with a pause between them. */
  async send(write: (chunk: Buffer) => void): Promise<void> {
    for (let index = 0; index < CHUNKS; index++) {
      this.#sentMs.push(performance.now());
      write(Buffer.alloc(CHUNK_BYTES, index));
      await pause(PERIOD_MS);
    }
  }

  receive(bytes: Buffer): void {
    this.#receivedBytes += bytes.length;
    const nowMs = performance.now();
    while (this.#tookMs.length < Math.floor(this.#receivedBytes / CHUNK_BYTES)) {
      this.#tookMs.push(nowMs - (this.#sentMs[this.#tookMs.length] ?? Number.NaN));
    }
  }

  /** Resolves with the median when all have arrived. */
  async medianMs(): Promise<number> {
    await until("all chunks have arrived", () => this.#tookMs.length === CHUNKS);
    return quantile(this.#tookMs.slice(MEASURED_FROM), 0.5);
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

/** What is measured: which side sends, and in which kind of message. */
type Stream = "response" | "request" | "tunnel down" | "tunnel up";

const measured = new Map<number, Delays>();
let rig: Rig;
let workerPort: number;
const open = new Set<Socket>();

const worker = createServer((incoming, response) => {
  const delays = delaysOf(incoming);
  if (incoming.method === "POST") {
    incoming.on("data", (bytes: Buffer) => delays.receive(bytes));
    incoming.on("end", () => response.end());
    return;
  }
  response.setHeader("Content-Type", "text/event-stream").flushHeaders();
  void delays.send((chunk) => response.write(chunk)).then(() => response.end());
});
worker.on("upgrade", (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
  const delays = delaysOf(incoming);
  socket.on("error", () => {});
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${WEBSOCKET_ACCEPT}\r\n\r\n`,
  );
  if (incoming.url?.endsWith("/down")) void delays.send((chunk) => socket.write(chunk));
  delays.receive(head);
  socket.on("data", (bytes: Buffer) => delays.receive(bytes));
});
worker.on("connection", (socket) => {
  open.add(socket);
  socket.once("close", () => open.delete(socket));
});

function delaysOf({ url = "" }: IncomingMessage): Delays {
  const delays = measured.get(Number.parseInt(url.slice(1), 10));
  if (delays === undefined) throw new Error(`nothing is measured at ${url}`);
  return delays;
}

beforeAll(async () => {
  workerPort = await listen(worker);
  rig = await startRig({
    certificate: await makeCertificate(),
    workers: [workerRecord("w1", workerPort)],
    probe: { async ask() {} },
  });
});

afterAll(async () => {
  expect(rig.bugs).toEqual([]);
});

interface Target {
  readonly port: number;
  readonly isSecure: boolean;
}

/** Resolves with the median delay of a stream over a connection of `agent`. */
async function measure(stream: Stream, agent: Agent): Promise<number> {
  const id = measured.size;
  const delays = new Delays();
  measured.set(id, delays);
  const request = requestHttp({
    host: "127.0.0.1",
    path: `/${id}${stream === "tunnel down" ? "/down" : ""}`,
    agent,
    method: stream === "request" ? "POST" : "GET",
    ...(stream.startsWith("tunnel") && { headers: UPGRADE }),
  });
  if (stream === "request") {
    const responded = once(request, "response") as Promise<[IncomingMessage]>;
    await delays.send((chunk) => request.write(chunk));
    request.end();
    await readToEnd((await responded)[0]);
  } else if (stream === "response") {
    request.end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.on("data", (bytes: Buffer) => delays.receive(bytes));
    await once(response, "end");
  } else {
    request.end();
    const [, socket, head] = (await once(request, "upgrade")) as [unknown, Socket, Buffer];
    socket.on("error", () => {});
    if (stream === "tunnel up") {
      await delays.send((chunk) => socket.write(chunk));
    } else {
      delays.receive(head);
      socket.on("data", (bytes: Buffer) => delays.receive(bytes));
    }
    await delays.medianMs();
    socket.destroy();
  }
  return delays.medianMs();
}

const UPGRADE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": WEBSOCKET_KEY,
};

/** An open connection, over which requests are sent one after the other. */
async function openAgent({ port, isSecure }: Target): Promise<Agent> {
  const at = { host: "127.0.0.1", port };
  const socket = isSecure ? connectTls({ ...at, rejectUnauthorized: false }) : connect(at);
  await once(socket, isSecure ? "secureConnect" : "connect");
  socket.setNoDelay(true);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return Object.assign(agent, { createConnection: () => socket });
}

async function readToEnd(response: IncomingMessage): Promise<void> {
  response.resume();
  await once(response, "end");
}

/** The medians of the first and of the second stream over each of several connections; a tunnel is the only one. */
async function measureConnections(
  stream: Stream,
  agents: readonly Agent[],
): Promise<readonly (readonly number[])[]> {
  const medians: number[][] = [];
  for (let index = 0; index < (stream.startsWith("tunnel") ? 1 : 2); index++) {
    medians.push(await Promise.all(agents.map((agent) => measure(stream, agent))));
  }
  return medians;
}

/** What the balancer adds for three quarters of new connections, at their first request and at the next. */
async function addedMs(stream: Stream, target: Target): Promise<readonly number[]> {
  const agents = await openAgents(target);
  const directAgents = await openAgents({ port: workerPort, isSecure: false });
  const [through, direct] = await Promise.all([
    measureConnections(stream, agents),
    measureConnections(stream, directAgents),
  ]);
  for (const agent of [...agents, ...directAgents]) agent.destroy();
  // Not every connection acknowledges late.
  return through.map(
    (medians, index) => quantile(medians, 0.75) - quantile(direct[index] ?? [], 0.75),
  );
}

function openAgents(to: Target): Promise<readonly Agent[]> {
  return Promise.all(Array.from({ length: CONNECTIONS }, () => openAgent(to)));
}

describe.each([
  ["TCP", false],
  ["TLS", true],
])("over %s", (_, isSecure) => {
  test.each<[string, Stream]>([
    ["a response", "response"],
    ["a request's body", "request"],
    ["a tunnel in which only the worker sends", "tunnel down"],
    ["a tunnel in which only the client sends", "tunnel up"],
  ])(
    "small chunks of %s are not held back, from the first request of a connection on",
    async (_name, stream) => {
      const { httpPort, tlsPort = 0 } = rig.path.listener;
      const target = { port: isSecure ? tlsPort : httpPort, isSecure };
      const least: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        for (const [index, ms] of (await addedMs(stream, target)).entries()) {
          least[index] = Math.min(ms, least[index] ?? Number.POSITIVE_INFINITY);
        }
        if (Math.max(...least) < ADDED_MS) break;
      }
      expect(Math.max(...least)).toBeLessThan(ADDED_MS);
    },
  );
});
