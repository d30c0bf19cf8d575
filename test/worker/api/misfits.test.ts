/**
 * `/api/meta`, and the responses to unknown paths, wrong methods and malformed requests.
 */
import { once } from "node:events";
import { expect, test } from "vitest";
import { connectRaw, connectSocket } from "../../support/sockets.ts";
import { refusal, startWorker, type Worker } from "./fixture.ts";

test("/api/meta names the server's owner, the protocol version and the transports", async () => {
  const worker = await startWorker();

  const answer = await worker.ask("GET", "/api/meta");

  expect(answer.status).toBe(200);
  expect(answer.body).toEqual({
    owner: "Test Inc.",
    version: "0.3.1",
    transports: ["socket.io"],
  });
  expect(answer.headers).toMatchObject({
    "content-type": "application/json; charset=utf-8",
    "access-control-allow-origin": "*",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  expect((await worker.ask("HEAD", "/api/meta")).status).toBe(200);
});

test("/api/meta names the protocol version that the operator has set", async () => {
  const worker = await startWorker({ protocolVersion: "0.4.0" });
  expect((await worker.ask("GET", "/api/meta")).body).toMatchObject({ version: "0.4.0" });
});

test.each([
  { method: "PUT", path: "/api/meta", allow: "GET, HEAD, OPTIONS" },
  { method: "GET", path: "/api/login/initial", allow: "POST, OPTIONS" },
  { method: "GET", path: "/api/session/create", allow: "POST, OPTIONS" },
  { method: "DELETE", path: "/api/session/join/abcdefghijklmnopqrstuvwx", allow: "POST, OPTIONS" },
  { method: "PROPFIND", path: "/api/login/poll/x", allow: "POST, OPTIONS" },
  { method: "HEAD", path: "/api/logout", allow: "GET, OPTIONS" },
  { method: "PATCH", path: "/socket.io/", allow: "GET, POST, OPTIONS" },
])("$method $path gets a 405 that lists the allowed methods", async ({ method, path, allow }) => {
  const worker = await startWorker();
  const refused = await refusal(worker, () => worker.ask(method, path));
  expect(refused).toMatchObject({ status: 405, counted: 1, headers: { allow } });
});

test.each([
  "/api",
  "/api/",
  "/api/no-such-thing",
  "/api/meta/x",
  "/api%2fmeta",
  "/%2fapi/meta",
  "/api/meta%2f",
  "/api/%2e/meta",
  "/x/../api/meta",
  "/\\api/meta",
  "/api/session/poll/",
  "/api/login/poll/a/b",
  "/../../package.json",
  "/web/login.html",
])("the unknown path %s gets a 404", async (path) => {
  const worker = await startWorker();
  const head = `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
  expect(await sendBytes(worker, head)).toMatch(/^HTTP\/1.1 404 /);
  expect(worker.counters.value("worker.requests_refused", "path")).toBe(1);
});

test("the path of a sign-in method that is off gets a 404", async () => {
  const worker = await startWorker({ loginSimple: false, loginApiKey: undefined });
  for (const path of ["/api/login/simple", "/api/login/apikey"]) {
    const refused = await refusal(worker, () => worker.send(path, {}));
    expect(refused).toMatchObject({ status: 404, counted: 1 });
  }
});

test("a malformed token or session id gets the same response as an unknown one", async () => {
  const worker = await startWorker();
  const headers = { "x-oct-jwt": await worker.signIn() };
  for (const text of ["x", "a".repeat(5000), "..%2f..%2f", "%00", "\u00e9"].map(encodeURI)) {
    const login = await worker.ask("POST", `/api/login/poll/${text}`);
    expect(login).toMatchObject({ status: 400, body: { code: "AuthTimeout" } });
    const join = await worker.ask("POST", `/api/session/join/${text}`, { headers });
    expect(join).toMatchObject({ status: 404, body: { code: "RoomNotFound" } });
    const poll = await worker.ask("POST", `/api/session/poll/${text}`, { headers });
    expect(poll).toMatchObject({ status: 404, body: { code: "JoinRequestNotFound" } });
  }
});

test("a malformed escape in a path gets a 400", async () => {
  const worker = await startWorker();
  const refused = await refusal(worker, () => worker.ask("POST", "/api/login/poll/%zz"));
  expect(refused).toMatchObject({ status: 400, counted: 1 });
});

// --- bodies ---

test.each([
  "{ token: ",
  '{"a":1}}',
  "",
  "null",
  "[]",
  '"text"',
  "42",
  '{"token":{"a":1},"user":["x"]}',
])("the body %j is refused as a form", async (body) => {
  const worker = await startWorker();
  const refused = await refusal(worker, () =>
    worker.ask("POST", "/api/login/simple", {
      headers: { "content-type": "application/json" },
      body,
    }),
  );
  expect(refused).toMatchObject({ status: 400, counted: 1 });
});

test.each(["__proto__", "constructor"])("a body cannot reach a prototype by %s", async (name) => {
  const worker = await startWorker();
  const token = await worker.begin();
  const body = `{"${name}":{"prototype":{"polluted":1}},"token":"${token}","user":"Mallory"}`;
  const answer = await worker.ask("POST", "/api/login/simple", {
    headers: { "content-type": "application/json" },
    body,
  });
  expect(answer.status).toBe(400);
  expect({}).not.toHaveProperty("polluted");
});

test("a body of more than 100 kB is refused, with and without Content-Length", async () => {
  const worker = await startWorker();
  const user = "x".repeat(150_000);

  const announced = await refusal(worker, () => worker.send("/api/login/simple", { user }));
  expect(announced).toMatchObject({ status: 413, counted: 1 });

  const chunk = `${(40_000).toString(16)}\r\n${"x".repeat(40_000)}\r\n`;
  const streamed = await sendBytes(
    worker,
    "POST /api/login/simple HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" +
      `Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(3)}0\r\n\r\n`,
  );
  expect(streamed).toMatch(/^HTTP\/1.1 413 /);
  // Closing the connection while the body arrives would reset it, and the response would be lost.
  expect(streamed).not.toMatch(/^connection: close/im);
});

test("a form that is not JSON is refused", async () => {
  const worker = await startWorker();
  const token = await worker.begin();
  for (const type of ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]) {
    const answer = await worker.ask("POST", "/api/login/simple", {
      headers: { "content-type": type },
      body: `token=${token}&user=Somebody`,
    });
    expect(answer.status).toBe(400);
  }
});

test("routes that take no body do not wait for one", async () => {
  const worker = await startWorker();
  const raw = await connectRaw(worker.port);
  raw.write(
    "POST /api/login/initial HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" +
      "Content-Length: 50000\r\n\r\n{",
  );
  expect(await raw.head()).toMatch(/^HTTP\/1.1 200 /);
});

// --- malformed requests ---

test.each([
  { what: "garbage", bytes: "\x16\x03\x01\x02\x00\x01\x00", status: 400 },
  {
    what: "an absolute target",
    bytes: "GET http://b/api/meta HTTP/1.1\r\nHost: a\r\n\r\n",
    status: 400,
  },
  { what: "an asterisk", bytes: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", status: 400 },
  { what: "no host", bytes: "GET /api/meta HTTP/1.1\r\n\r\n", status: 400 },
  {
    what: "two lengths",
    bytes:
      "POST /api/meta HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    status: 400,
  },
  {
    what: "a huge head",
    bytes: `GET /api/meta HTTP/1.1\r\nHost: a\r\nX-Fill: ${"x".repeat(60_000)}\r\n\r\n`,
    status: 431,
  },
])("$what is refused with $status, and the worker keeps serving", async ({ bytes, status }) => {
  const worker = await startWorker();
  expect(await sendBytes(worker, bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect((await worker.ask("GET", "/api/meta")).status).toBe(200);
});

test.each([
  { maxHeadBytes: 32_768, keyBytes: 8192 },
  { maxHeadBytes: 262_144, keyBytes: 100 },
])(
  "a head of $maxHeadBytes bytes that a balancer accepted is accepted",
  async ({ maxHeadBytes, keyBytes }) => {
    const worker = await startWorker({ maxHeadBytes });
    const answer = await worker.ask("GET", "/api/meta", {
      headers: {
        ctstickiness: "k".repeat(keyBytes),
        // Headers that the balancer adds.
        "x-ct-key": "k".repeat(keyBytes),
        cookie: "c".repeat(maxHeadBytes - keyBytes - 150),
      },
    });
    expect(answer.status).toBe(200);
  },
);

test("a head that does not end is cut off after the head timeout", async () => {
  const worker = await startWorker({ headTimeoutMs: 100 });
  const answer = await sendBytes(worker, "GET /api/meta HTTP/1.1\r\nHost: a\r\n", false);
  expect(answer).toMatch(/^HTTP\/1.1 408 /);
  expect(worker.counters.value("worker.requests_refused", "http")).toBe(1);
});

test.each([
  { when: "in the head", sent: "GET /api/meta HTTP/1.1\r\nHo", refused: 0 },
  {
    when: "in a body that is not read to its end",
    sent: `POST /api/login/simple HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 200000\r\n\r\n{`,
    refused: 1,
  },
])("a disconnect $when is not a refusal", async ({ sent, refused }) => {
  const worker = await startWorker();
  const answer = await sendBytes(worker, sent, true);
  expect(answer.match(/^HTTP\/1.1 \d+/gm) ?? []).toEqual(refused === 0 ? [] : ["HTTP/1.1 413"]);
  expect(worker.counters.value("worker.requests_refused")).toBe(refused);
});

test("a client that disconnects at any point of a request does not affect other clients", async () => {
  const worker = await startWorker();
  const starts = [
    "GET",
    "POST /api/login/simple HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    "POST /api/login/poll/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n" +
      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
  ];
  for (const start of starts) {
    const socket = await connectSocket(worker.port);
    socket.write(start);
    socket.resetAndDestroy();
    await once(socket, "close");
  }
  expect((await worker.ask("GET", "/api/meta")).status).toBe(200);
});

/** Sends bytes and resolves with all bytes received until the connection closes. */
async function sendBytes(worker: Worker, bytes: string, end = true): Promise<string> {
  const raw = await connectRaw(worker.port);
  raw.write(bytes);
  if (end) raw.socket.end();
  return raw.all();
}
