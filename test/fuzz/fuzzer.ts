/**
 * Plays random traffic of clients and workers against the data path in this process. A well-behaved concurrent client must
 * always get its own response, no handler may throw, and every connection must end.
 */
import { connect } from "node:tls";
import { generate } from "selfsigned";
import {
  type RawWorker,
  type Rig,
  startRawWorker,
  startRig,
  workerRecord,
} from "../balancer/rig.ts";
import { ok } from "../conformance/case.ts";
import { type Message, readRequests } from "../conformance/messages.ts";
import { reset } from "../conformance/stage.ts";
import { RawSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";
import { createRandom, type Random } from "./random.ts";
import { clientSpeech, type Speech, workerSpeech } from "./traffic.ts";

export interface FuzzOptions {
  readonly seed: number;
  /** Number of the first case; the seed and the number determine its bytes. */
  readonly from: number;
  /** Whether to play this case. */
  readonly mayContinue: (index: number) => boolean;
}

export interface FuzzResult {
  readonly played: number;
  /** Failures, with the seed and the case. */
  readonly wrong: readonly string[];
}

/** Concurrent cases; many of them wait for a timeout. */
const LANES = 24;
/** All timeouts; short, because many cases reach one. */
const LIMIT_MS = 1500;
/** Longest duration of a case: two consecutive timeouts, on a loaded machine. */
const CASE_MS = 20_000;

export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const wrong: string[] = [];
  const stage = await startStage();
  let index = options.from;
  async function lane(): Promise<void> {
    while (wrong.length === 0 && options.mayContinue(index)) {
      const one = index++;
      try {
        await playCase(stage, createRandom(options.seed, one), one);
      } catch (error) {
        wrong.push(`seed ${options.seed}, case ${one}: ${String(error)}`);
      }
      if (stage.rig.bugs.length > 0) {
        wrong.push(
          `seed ${options.seed}, case ${one} or a concurrent one: ${describe(stage.rig.bugs[0])}`,
        );
      }
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane));
  try {
    await allEnds(stage.rig);
  } catch (error) {
    wrong.push(`seed ${options.seed}, after case ${index - 1}: ${String(error)}`);
  }
  await stage.close();
  return { played: index - options.from, wrong };
}

interface FuzzStage {
  readonly rig: Rig;
  /** Scripts of the first worker for its next requests. */
  speeches: Speech[];
  /** A key that is routed to the second worker, which always behaves. */
  readonly goodKey: string;
  close(): Promise<void>;
}

async function startStage(): Promise<FuzzStage> {
  const rude = await startRawWorker((socket) => {
    const [request] = readRequests(socket.text);
    if (request === undefined) return;
    socket.text = "";
    const number = neighbourOf(request);
    const speech = number === undefined ? stage.speeches.shift() : undefined;
    if (number !== undefined) socket.write(ok(`neighbour ${number}`));
    else if (speech !== undefined) void send(socket, speech);
  });
  const well = await startRawWorker((socket) => {
    for (;;) {
      const [request] = readRequests(socket.text);
      if (request?.complete !== true) return;
      socket.text = socket.text.slice(request.length);
      const number = neighbourOf(request);
      socket.write(ok(number === undefined ? "well" : `neighbour ${number}`));
    }
  });
  const workers: RawWorker[] = [rude, well];
  const made = await generate([{ name: "commonName", value: "localhost" }], { keySize: 2048 });
  const rig = await startRig({
    workers: workers.map(({ port }, index) => workerRecord(`w${index + 1}`, port)),
    certificate: { cert: made.cert, key: made.private },
    limits: {
      headerTimeoutMs: LIMIT_MS,
      bodyTimeoutMs: LIMIT_MS,
      keepaliveTimeoutMs: LIMIT_MS,
      upstreamTimeoutMs: LIMIT_MS,
    },
    probe: { async ask() {} },
  });
  let key = 0;
  while (rig.view.ring.first(`well-${key}` as never) !== "w2") key++;
  const stage: FuzzStage = {
    rig,
    speeches: [],
    goodKey: `well-${key}`,
    async close() {
      await rig.close();
      for (const worker of workers) await worker.close();
    },
  };
  return stage;
}

/** The number of a request of the well-behaved client, to which both workers respond correctly. */
function neighbourOf(request: Message): string | undefined {
  return /^GET \/neighbour\/(\d+) /.exec(request.line)?.[1];
}

async function playCase(stage: FuzzStage, random: Random, index: number): Promise<void> {
  const speech = clientSpeech(random);
  stage.speeches.push(workerSpeech(random));
  const client = await connectSomehow(stage.rig, random);
  await send(client, speech);
  await checkNeighbour(stage, index);
  // Every case ends by itself or by a timeout.
  await until("the client's connection ends", () => client.ended || client.closed, CASE_MS);
  client.socket.destroy();
}

/** Most cases use HTTP, some HTTPS, and a few send plain bytes to the HTTPS port. */
async function connectSomehow(rig: Rig, random: Random): Promise<RawSocket> {
  const port = rig.path.listener.tlsPort ?? 0;
  if (random.chance(0.8)) return rig.client();
  if (random.chance(0.2)) return rig.client(port);
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  const client = new RawSocket(socket);
  await until("a TLS handshake", () => client.closed || socket.authorizationError !== null);
  return client;
}

async function send(socket: RawSocket, { parts, ends }: Speech): Promise<void> {
  for (const part of parts) {
    if (socket.closed) return;
    socket.write(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (ends === "end") socket.socket.end();
  if (ends === "reset") reset(socket);
}

async function checkNeighbour(stage: FuzzStage, index: number): Promise<void> {
  const text = await stage.rig.ask(
    `GET /neighbour/${index} HTTP/1.1\r\nHost: h\r\nctstickiness: ${stage.goodKey}\r\nConnection: close\r\n\r\n`,
  );
  if (!/^HTTP\/1\.1 200 /.test(text) || !text.endsWith(`\r\n\r\nneighbour ${index}`)) {
    throw new Error(`a concurrent client got ${JSON.stringify(text.slice(0, 300))}`);
  }
}

/** Waits until all connections and requests have ended by themselves. */
async function allEnds(rig: Rig): Promise<void> {
  await until("the end of all connections of clients", () => rig.path.listener.connections === 0);
  await until("the end of all requests", () =>
    rig.path.router.upstreams.every(({ inFlight }) => inFlight === 0),
  );
}

function describe(bug: unknown): string {
  return bug instanceof Error ? (bug.stack ?? bug.message) : String(bug);
}
