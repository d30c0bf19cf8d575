/**
 * Clients that send single bytes, a thousand requests at once, garbage, or reset in mid-body: each gets what belongs to it,
 * in order, and the others are served as if nothing happened.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Rig, startRig, workerRecord } from "../balancer/rig.ts";
import { head } from "../conformance/case.ts";
import { createRandom } from "../fuzz/random.ts";
import { makeCertificate } from "../support/certificates.ts";
import { listen } from "../support/servers.ts";
import { connectSocket } from "../support/sockets.ts";
import { StampChecker, stampedBytes } from "../support/stamps.ts";
import { until } from "../support/until.ts";
import { holdings } from "./memory.ts";

const certificate = await makeCertificate();
let rig: Rig;
const sockets = new Set<Socket>();
/** Bodies of requests that were complete and right, by stream. */
const uploads = new Map<number, number>();
/** What the worker got and should not have. */
const faults: string[] = [];

/** Responds to `/<stream>/<bytes>`; with `/drip` behind it, byte by byte. */
const worker = createServer((incoming, response) => void respond(incoming, response));
worker.keepAliveTimeout = 60_000;
worker.on("connection", keep);
worker.on("clientError", (error: NodeJS.ErrnoException, socket) => {
  // A request that was cut off is the only one that may be incomplete.
  if (error.code !== "HPE_INVALID_EOF_STATE" && error.code !== "ECONNRESET")
    faults.push(`${error.code}`);
  socket.destroy();
});

async function respond(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, stream, bytes, how] = (incoming.url ?? "").split("/");
  const checker = new StampChecker(Number(stream));
  try {
    for await (const chunk of incoming) checker.take(chunk as Buffer);
  } catch {
    // Reset by its client.
    return;
  }
  if (checker.fault !== undefined) faults.push(checker.fault);
  uploads.set(checker.id, checker.received);
  const body = stampedBytes(checker.id, 0, Number(bytes));
  if (how !== "drip") {
    response.end(body);
    return;
  }
  const { socket } = incoming;
  const text = head("HTTP/1.1 200 OK", `Content-Length: ${body.length}`, "Connection: close");
  await drip(socket, Buffer.concat([Buffer.from(text), body]));
  socket.end();
}

function keep(socket: Socket): void {
  sockets.add(socket);
  socket.once("close", () => sockets.delete(socket));
  socket.on("error", () => {});
}

async function drip(socket: Socket, bytes: Buffer): Promise<void> {
  socket.setNoDelay(true);
  for (const byte of bytes) {
    socket.write(Buffer.of(byte));
    await nextTurn();
  }
}

beforeAll(async () => {
  await listen(worker);
});

beforeEach(async () => {
  uploads.clear();
  rig = await startRig({
    certificate,
    workers: [workerRecord("w1", (worker.address() as AddressInfo).port)],
    limits: { bodyTimeoutMs: 20_000, upstreamTimeoutMs: 20_000, headerTimeoutMs: 20_000 },
    probe: { async ask() {} },
  });
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await rig.idle();
  expect(rig.bugs).toEqual([]);
  expect(faults.splice(0)).toEqual([]);
});

async function open(isSecure = false): Promise<Socket> {
  const { httpPort, tlsPort } = rig.path.listener;
  const at = isSecure ? { port: tlsPort, tls: {} } : { port: httpPort };
  const socket = await connectSocket({ ...at, allowHalfOpen: true });
  keep(socket);
  return socket;
}

// --- responses, one after the other ---

interface Response {
  readonly status: number;
  readonly body: Buffer;
}

/** Parses the responses on a connection; all have a Content-Length. */
class Responses {
  readonly all: Response[] = [];
  hasEnded = false;
  #bytes = Buffer.alloc(0);

  constructor(socket: Socket) {
    socket.on("data", (bytes: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, bytes]);
      while (this.#parse());
    });
    socket.once("end", () => {
      this.hasEnded = true;
    });
    socket.once("close", () => {
      this.hasEnded = true;
    });
  }

  #parse(): boolean {
    const end = this.#bytes.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const text = this.#bytes.subarray(0, end).toString("latin1");
    const length = Number(/^content-length: (\d+)$/im.exec(text)?.[1] ?? 0);
    if (this.#bytes.length < end + 4 + length) return false;
    const body = this.#bytes.subarray(end + 4, end + 4 + length);
    this.all.push({ status: Number(text.slice(9, 12)), body });
    this.#bytes = this.#bytes.subarray(end + 4 + length);
    return true;
  }

  async count(count: number): Promise<readonly Response[]> {
    await until(`${count} responses`, () => this.all.length >= count);
    return this.all;
  }
}

function checkResponse(response: Response | undefined, stream: number, bytes: number): void {
  expect(response?.status).toBe(200);
  const checker = new StampChecker(stream);
  checker.take(response?.body ?? Buffer.alloc(0));
  expect(checker.fault).toBeUndefined();
  expect(checker.received).toBe(bytes);
}

function get(stream: number, bytes: number, more = ""): string {
  return head(`GET /${stream}/${bytes}${more} HTTP/1.1`, "Host: h");
}

function post(stream: number, bytes: number, more = ""): string {
  return head(`POST /${stream}/10${more} HTTP/1.1`, "Host: h", `Content-Length: ${bytes}`);
}

describe.each([
  ["TCP", false],
  ["TLS", true],
])("over %s", (_, isSecure) => {
  test("heads and bodies that come byte by byte, from 20 clients and the worker at once, arrive unchanged", async () => {
    const bytes = 150;
    await Promise.all(
      Array.from({ length: 20 }, async (_none, stream) => {
        const socket = await open(isSecure);
        const responses = new Responses(socket);
        await drip(
          socket,
          Buffer.concat([
            Buffer.from(post(stream, bytes, "/drip")),
            stampedBytes(stream, 0, bytes),
            Buffer.from(get(100 + stream, bytes, "/drip")),
          ]),
        );
        const [first, second] = await responses.count(2);
        checkResponse(first, stream, 10);
        checkResponse(second, 100 + stream, bytes);
        expect(uploads.get(stream)).toBe(bytes);
      }),
    );
  });

  test.each([
    ["reads all the time", false],
    ["reads nothing until it has sent all", true],
  ])(
    "1,000 pipelined requests of a client that %s are answered in order",
    async (_name, isLate) => {
      const seed = randomInt(2 ** 31);
      const random = createRandom(seed, 0);
      // Together more than the buffers on the way hold.
      const sizes = Array.from({ length: 1000 }, () =>
        random.pick([0, 1, 100, random.below(16_384)]),
      );
      const socket = await open(isSecure);
      if (isLate) socket.pause();
      const text = sizes.map((bytes, stream) => get(stream, bytes)).join("");
      socket.write(text);
      if (isLate) {
        await until(
          "the balancer takes no more",
          () => uploads.size > 0 && socket.writableLength === 0,
        );
      }
      const responses = new Responses(socket);
      socket.resume();
      const all = await responses.count(sizes.length);
      for (const [stream, bytes] of sizes.entries()) checkResponse(all[stream], stream, bytes);
      expect(all).toHaveLength(sizes.length);
    },
  );

  test("garbage behind a request ends only its own connection, after the response to the request", async () => {
    const seed = randomInt(2 ** 31);
    let isOver = false;
    const good = Array.from({ length: 10 }, async (_none, client) => {
      const socket = await open(isSecure);
      const responses = new Responses(socket);
      let served = 0;
      for (; !isOver || served < 3; served++) {
        socket.write(get(10_000 + client, 3000));
        const all = await responses.count(served + 1);
        checkResponse(all[served], 10_000 + client, 3000);
      }
    });
    await Promise.all(
      Array.from({ length: 60 }, async (_none, stream) => {
        const random = createRandom(seed, stream);
        const garbage = Buffer.from(
          Array.from({ length: 1 + random.below(3000) }, () => random.below(256)),
        );
        // Never the beginning of a request.
        garbage[0] = random.pick([0, 0x20, 0x7f, 0x80, 0xff]);
        const socket = await open(isSecure);
        const responses = new Responses(socket);
        socket.write(get(stream, 2000));
        if (random.chance(0.5)) await responses.count(1);
        socket.write(garbage);
        // What is garbage may only show at the end of a line.
        socket.write("\r\n\r\n");
        await until("the end of the connection", () => responses.hasEnded);
        checkResponse(responses.all[0], stream, 2000);
        expect(
          responses.all.slice(1).map(({ status }) => status),
          `seed ${seed}`,
        ).toEqual([400]);
        socket.destroy();
      }),
    );
    isOver = true;
    await Promise.all(good);
  });
});

test("1,000 resets in mid-body leave nothing behind, and the next requests are served", async () => {
  const BYTES = 200_000;
  async function resetOne(index: number): Promise<void> {
    const socket = await open();
    if (index % 2 === 0) {
      socket.write(get(index, BYTES));
      await once(socket, "data");
    } else {
      socket.write(post(index, BYTES));
      socket.write(stampedBytes(index, 0, BYTES / 2));
      await nextTurn();
    }
    const closed = once(socket, "close");
    socket.resetAndDestroy();
    await closed;
  }
  async function resetMany(count: number): Promise<void> {
    for (let done = 0; done < count; done += 20) {
      await Promise.all(Array.from({ length: 20 }, (_none, index) => resetOne(done + index)));
    }
    await rig.idle();
  }
  await resetMany(100);
  const before = holdings();
  await resetMany(1000);
  const socket = await open();
  const responses = new Responses(socket);
  socket.write(get(5000, BYTES) + get(5001, BYTES));
  const [first, second] = await responses.count(2);
  checkResponse(first, 5000, BYTES);
  checkResponse(second, 5001, BYTES);
  const after = holdings();
  // Idle connections to the worker vary.
  expect(after.descriptors - before.descriptors).toBeLessThanOrEqual(40);
  expect(after.handles - before.handles).toBeLessThanOrEqual(40);
});
