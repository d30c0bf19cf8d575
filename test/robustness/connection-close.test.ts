/**
 * Connections that end with their response: `Connection: close` and HTTP/1.0. All of the response arrives, also at a slow
 * reader, and the end is a FIN (over TLS a close_notify before it), never a RST, which discards what the client has not read.
 */
import { connect, createServer, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { SecureVersion } from "node:tls";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  type RawWorker,
  type Rig,
  startRawWorker,
  startRig,
  workerRecord,
} from "../balancer/rig.ts";
import { head } from "../conformance/case.ts";
import { makeCertificate } from "../support/certificates.ts";
import { listen } from "../support/servers.ts";
import { connectSocket } from "../support/sockets.ts";
import { StampChecker, stampedBytes } from "../support/stamps.ts";
import { until } from "../support/until.ts";

const SIZE = 5 * 1024 * 1024;
const STREAM = 7;

const certificate = await makeCertificate();
let worker: RawWorker;
let rig: Rig;

beforeEach(async () => {
  // Responds to each head at once, whether or not a body follows; for `/held` the test does.
  worker = await startRawWorker((socket) => {
    if (socket.text.includes("/held")) return;
    for (let got = socket.takeHead(); got !== undefined; got = socket.takeHead()) {
      const size = got.includes("/small") ? 5 : SIZE;
      socket.write(head("HTTP/1.1 200 OK", `Content-Length: ${size}`));
      socket.write(stampedBytes(STREAM, 0, size));
    }
  });
  rig = await startRig({
    certificate,
    workers: [workerRecord("w1", worker.port)],
    probe: { async ask() {} },
  });
});

afterEach(async () => {
  expect(rig.bugs).toEqual([]);
});

interface Client {
  readonly socket: Socket;
  /** How it ended: "end", or the error's code. */
  readonly log: string[];
}

/** Connects over TCP, or over TLS in this version. */
async function open(version?: SecureVersion): Promise<Client> {
  const { httpPort, tlsPort } = rig.path.listener;
  const at =
    version === undefined ? { port: httpPort } : { port: tlsPort, tls: { maxVersion: version } };
  const socket = await connectSocket({ ...at, allowHalfOpen: true });
  const log: string[] = [];
  socket.on("error", (error: NodeJS.ErrnoException) => log.push(String(error.code)));
  socket.on("end", () => log.push("end"));
  return { socket, log };
}

/** Closes it gracefully; its end must have come, and no error. */
async function closeCleanly({ socket, log }: Client): Promise<void> {
  socket.end();
  await until("the connection has closed", () => socket.closed);
  expect(log).toEqual(["end"]);
  await until("the balancer has closed it", () => rig.path.listener.connections === 0);
}

/** Reads a response to its end, with a pause before each read when it is `slow`. */
async function readAll(socket: Socket, slow: boolean): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let turn = 0; slow && turn < 500; turn++) await nextTurn();
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    if (slow) for (let turn = 0; turn < 10; turn++) await nextTurn();
  }
  return Buffer.concat(chunks);
}

function checkBody(response: Buffer, size: number): void {
  const body = response.subarray(response.indexOf("\r\n\r\n") + 4);
  expect(response.subarray(0, 12).toString()).toBe("HTTP/1.1 200");
  expect(body.length).toBe(size);
  const checker = new StampChecker(STREAM);
  checker.take(body);
  expect(checker.fault).toBeUndefined();
}

const REQUESTS = [
  ["Connection: close", head("GET / HTTP/1.1", "Host: h", "Connection: close")],
  ["HTTP/1.0", head("GET / HTTP/1.0", "Host: h")],
] as const;

const VERSIONS = [
  ["TCP", undefined],
  ["TLS 1.2", "TLSv1.2"],
  ["TLS 1.3", "TLSv1.3"],
] as const;

describe.each(REQUESTS)("a response to %s", (_name, request) => {
  test.each(VERSIONS)(
    "a response arrives complete at a slow reader and ends without a reset, over %s",
    async (_protocol, version) => {
      const client = await open(version);
      client.socket.write(request);
      checkBody(await readAll(client.socket, true), SIZE);
      await closeCleanly(client);
    },
  );

  test("a response arrives complete when the client has sent more requests behind it, which are not served", async () => {
    const client = await open();
    client.socket.write(request + request + request);
    checkBody(await readAll(client.socket, true), SIZE);
    await closeCleanly(client);
  });

  test("a response arrives complete when the client sends more requests while it reads", async () => {
    const client = await open();
    client.socket.write(request);
    const chunks: Buffer[] = [];
    for await (const chunk of client.socket.iterator({ destroyOnReturn: false })) {
      chunks.push(chunk);
      client.socket.write(request);
      await nextTurn();
    }
    checkBody(Buffer.concat(chunks), SIZE);
    await closeCleanly(client);
  });
});

test.each([
  ["with a length", "Content-Length: 1000\r\n", "half"],
  ["in chunks", "Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"],
  ["without a length", "", "half"],
])(
  "a response to HTTP/1.0 that its worker resets, %s, ends by a reset",
  async (_name, framing, body) => {
    const client = await open();
    client.socket.write(head("GET /held HTTP/1.0", "Host: h"));
    const upstream = await worker.connection(0);
    await until("the request", () => upstream.text.includes("/held"));
    upstream.write(`HTTP/1.1 200 OK\r\n${framing}\r\n${body}`);
    // Node reports a reset that comes together with data as an end.
    let text = "";
    client.socket.on("data", (bytes: Buffer) => {
      text += bytes.toString();
    });
    await until("half of the response", () => text.endsWith("half"));
    upstream.socket.resetAndDestroy();
    await until("the connection has closed", () => client.socket.closed);
    expect(client.log).toEqual(["ECONNRESET"]);
  },
);

describe("a response that is complete before the request's body", () => {
  const BODY_BYTES = 300_000;
  const request = head(
    "POST /small HTTP/1.1",
    "Host: h",
    "Connection: close",
    `Content-Length: ${BODY_BYTES}`,
  );

  test("a response that is complete before the request's body arrives, and the body that is sent behind it causes no reset", async () => {
    const client = await open();
    client.socket.write(request);
    checkBody(await readAll(client.socket, false), 5);
    for (let sent = 0; sent < BODY_BYTES; sent += 30_000) {
      client.socket.write(Buffer.alloc(30_000));
      await nextTurn();
    }
    await closeCleanly(client);
  });

  test("a response that is complete before the request's body arrives when the body is sent while it comes", async () => {
    const client = await open();
    client.socket.write(request);
    client.socket.end(Buffer.alloc(BODY_BYTES));
    checkBody(await readAll(client.socket, false), 5);
    await closeCleanly(client);
  });
});

describe("over TLS", () => {
  /** The types of the TLS records in `bytes`, and the length of the last one (RFC 8446 §5.1). */
  function recordsOf(bytes: Buffer): {
    readonly types: readonly number[];
    readonly lastLength: number;
  } {
    const types: number[] = [];
    let lastLength = 0;
    for (let at = 0; at + 5 <= bytes.length; at += 5 + lastLength) {
      types.push(bytes.readUInt8(at));
      lastLength = bytes.readUInt16BE(at + 3);
    }
    return { types, lastLength };
  }

  /** Relays one connection to the HTTPS port, and records what that sends. */
  async function startRecorder() {
    const received: Buffer[] = [];
    let hasEnded = false;
    const server = createServer({ allowHalfOpen: true }, (client) => {
      const port = rig.path.listener.tlsPort ?? 0;
      const balancer = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      onTestFinished(() => void balancer.destroy());
      client.on("error", () => {});
      balancer.on("error", () => {});
      client.pipe(balancer);
      balancer.pipe(client);
      balancer.on("data", (bytes: Buffer) => received.push(bytes));
      balancer.on("end", () => {
        hasEnded = true;
      });
    });
    return {
      port: await listen(server),
      async all() {
        await until("the balancer has ended the connection", () => hasEnded);
        return Buffer.concat(received);
      },
    };
  }

  test.each([
    // Since TLS 1.3 an alert looks like data: two bytes, the type and a tag of 16.
    ["TLSv1.3", 23, 19],
    // An alert of two bytes, a nonce of eight and a tag of 16.
    ["TLSv1.2", 21, 26],
  ] as const)(
    "the last record of a response that ends the connection is a close_notify (%s)",
    async (version, type, length) => {
      const recorder = await startRecorder();
      const ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256";
      const socket = await connectSocket({
        port: recorder.port,
        tls: { maxVersion: version, ciphers },
      });
      socket.write(head("GET /small HTTP/1.1", "Host: h", "Connection: close"));
      checkBody(await readAll(socket, false), 5);
      const { types, lastLength } = recordsOf(await recorder.all());
      expect(types.at(-1)).toBe(type);
      expect(lastLength).toBe(length);
    },
  );
});
