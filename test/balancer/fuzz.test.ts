import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ok, type RawWorker, type Rig, startRawWorker, startRig, workerRecord } from "./rig.ts";

/** The same cases at every run; a new seed is a deliberate change. */
const SEED = 20_260_101;

let worker: RawWorker;
let rig: Rig;
/** What the worker answers next. */
let answer = ok("fine");

beforeAll(async () => {
  worker = await startRawWorker((socket) => {
    if (socket.takeHead() === undefined) return;
    socket.text = "";
    socket.write(answer);
  });
  rig = await startRig({
    workers: [workerRecord("w1", worker.port)],
    limits: {
      headerTimeoutMs: 300,
      bodyTimeoutMs: 300,
      upstreamTimeoutMs: 300,
      keepaliveTimeoutMs: 300,
    },
  });
});

afterAll(async () => {
  await rig.close();
  await worker.close();
});

const PIECES = [
  "GET / HTTP/1.1\r\n",
  "POST /k/a/x?y HTTP/1.1\r\n",
  "GET /socket.io/?sid=0123456789abcdef HTTP/1.0\r\n",
  "Host: h\r\n",
  "Content-Length: 3\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Connection: upgrade, close\r\n",
  "Upgrade: websocket\r\n",
  "Sec-WebSocket-Version: 13\r\n",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
  "Expect: 100-continue\r\n",
  "__proto__: x\r\n",
  "Trailer: x\r\n",
  "x-oct-jwt: a.b.c\r\n",
  'Cookie: ctstickiness="\r\n',
  "\r\n",
  "3\r\nabc\r\n",
  "0\r\n\r\n",
  "abc",
  "\n",
  "\r",
  "\0",
  " ",
  ":",
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.1 101 Switching Protocols\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 204 No Content\r\n",
  "x-ct-owner: w1\r\n",
  "HTTP/1.1 421 Misdirected Request\r\n",
  "x-ct-epoch: 1\r\n",
];

const bytes = fc
  .array(
    fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...PIECES) }, fc.string({ maxLength: 8 })),
    { maxLength: 14 },
  )
  .map((pieces) => pieces.join(""));

test("whatever clients and workers send, the balancer lives and no handler throws", async () => {
  await fc.assert(
    fc.asyncProperty(bytes, bytes, fc.boolean(), async (sent, answered, split) => {
      answer = `HTTP/1.1 200 OK\r\n${answered}`.slice(answered.startsWith("HTTP") ? 17 : 0);
      const client = await rig.client();
      if (split) for (const byte of sent) client.write(byte);
      else client.write(sent);
      client.socket.end();
      await client.end();
      client.socket.destroy();
      expect(rig.bugs).toEqual([]);
    }),
    { seed: SEED, numRuns: 200 },
  );
  answer = ok("fine");
  expect(await rig.ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).toContain("fine");
  await expect.poll(() => rig.path.listener.connections, { timeout: 5000 }).toBe(0);
});
