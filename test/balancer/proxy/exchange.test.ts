import { describe, expect, test } from "vitest";
import { UpstreamError } from "../../../balancer/upstreams/connection.ts";
import {
  newIncarnation,
  type SessionId,
  type SessionKey,
  type WorkerId,
} from "../../../shared/base/ids.ts";
import { taggedId, workerTag } from "../../../shared/base/worker-tag.ts";
import { edgeProof } from "../../../shared/net/edge-headers.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { request } from "../../conformance/case.ts";
import { usedBytes } from "../../robustness/memory.ts";
import { watchMachine } from "../../support/machine.ts";
import { freePort } from "../../support/ports.ts";
import type { RawSocket } from "../../support/sockets.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";
import {
  EDGE_KEY,
  keyFor,
  ok,
  type RawWorker,
  type Rig,
  type RigOptions,
  standsStill,
  startExchange,
  startLiveStatus,
  startRawRig,
  startRawWorker,
  startRig,
  startSimpleRig,
  startSimpleWorker,
  statusOf,
  workerRecord,
} from "../rig.ts";
import { FREE } from "../router-rig.ts";

const machine = watchMachine();

function rigWith(workers: readonly WorkerRecord[], options: RigOptions = {}): Promise<Rig> {
  return startRig({ ...options, workers });
}

const GET = request("GET /");
const GET_AND_CLOSE = request("GET /", "Connection: close");

function post(body: string, more = ""): string {
  return `POST / HTTP/1.1\r\nHost: h\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`;
}

describe("what the worker sees", () => {
  test("a worker gets one checked head with the headers of the hop", async () => {
    const { worker, rig, record } = await startRawRig();
    await rig.send(
      "GET //a/../b?c HTTP/1.1\r\nHOST: h:1\r\nx-ct-edge: forged\r\nAccept:  */*  \r\nKeep-Alive: 1\r\n\r\n",
    );
    const head = (await (await worker.connection(0)).head()).split("\r\n");
    expect(head[0]).toBe("GET //a/../b?c HTTP/1.1");
    expect(head[1]).toBe("Host: h:1");
    expect(head[2]).toBe("Accept: */*");
    expect(head).toContain("X-Forwarded-For: 127.0.0.1");
    expect(head).toContain(`x-ct-edge: ${edgeProof(EDGE_KEY, record.id, record.incarnation)}`);
    expect(head.filter((line) => /^(x-ct-edge|keep-alive|connection)/i.test(line))).toHaveLength(1);
  });

  test("a worker gets HTTP/1.1 with a Host also for an HTTP/1.0 client", async () => {
    const { worker, rig } = await startRawRig();
    await rig.send("GET /x HTTP/1.0\r\n\r\n");
    const head = await (await worker.connection(0)).head();
    expect(head).toContain("GET /x HTTP/1.1\r\n");
    expect(head).toContain(`Host: 127.0.0.1:${worker.port}\r\n`);
  });

  test("a worker gets the key that the client chose, and the path without it", async () => {
    const { worker, rig } = await startRawRig();
    await rig.send(request("POST /k/my%20key/api/session/create?x", "Content-Length: 0"));
    const head = await (await worker.connection(0)).head();
    expect(head).toContain("POST /api/session/create?x HTTP/1.1\r\n");
    expect(head).toContain("x-ct-key: my key");
  });

  test.each([
    ["a bad request", request("GET /", "Transfer-Encoding: gzip, chunked"), 400],
    ["a request without Host", "GET / HTTP/1.1\r\n\r\n", 400],
    ["HTTP/0.9", "GET /\r\n\r\n", 400],
    ["bare line feeds", "GET / HTTP/1.1\nHost: h\n\n", 400],
    ["too long a target", `GET /${"a".repeat(9000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
    ["too long a head", `GET / HTTP/1.1\r\nHost: h\r\nA: ${"b".repeat(40_000)}\r\n\r\n`, 431],
    ["too many fields", `GET / HTTP/1.1\r\nHost: h\r\n${"A: b\r\n".repeat(201)}\r\n`, 431],
  ])("a worker gets nothing of %s", async (_name, bytes, status) => {
    const { worker, rig } = await startRawRig();
    const response = await rig.ask(bytes);
    expect(statusOf(response)).toBe(status);
    expect(response).toContain("Connection: close\r\n");
    expect(response).toMatch(/"code":"EDGE_HTTP_SYNTAX".*"requestId":"[^"]+"/);
    expect(worker.connections).toHaveLength(0);
  });

  test("a worker gets nothing of what a client hid behind a bad chunk", async () => {
    const { worker, rig } = await startRawRig();
    const response = await rig.ask(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    expect(statusOf(response)).toBe(400);
    await until("the worker's connection ends", () =>
      worker.connections.every((connection) => connection.closed),
    );
    expect(worker.connections.map((connection) => connection.text).join("")).not.toContain(
      "hidden",
    );
  });
});

describe("a connection to the worker", () => {
  test("a connection to a worker is reused, also for other clients", async () => {
    const { worker, rig } = await startSimpleRig((_head, index) => ok(`response ${index}`));
    for (let i = 0; i < 5; i++) expect(await rig.ask(GET_AND_CLOSE)).toContain(`response ${i}`);
    expect(worker.connections).toHaveLength(1);
  });

  test("a connection to a worker is not reused after Connection: close", async () => {
    const { worker, rig } = await startSimpleRig(() => ok("x", "Connection: close\r\n"));
    await rig.ask(GET_AND_CLOSE);
    await rig.ask(GET_AND_CLOSE);
    expect(worker.connections).toHaveLength(2);
  });

  test("an idle connection to a worker is closed when unexpected bytes come", async () => {
    const { worker, rig } = await startSimpleRig((_head, index) => ok(`response ${index}`));
    await rig.ask(GET_AND_CLOSE);
    const first = await worker.connection(0);
    first.write(ok("poison"));
    await first.end();
    expect(await rig.ask(GET_AND_CLOSE)).toContain("response 1");
    expect(worker.connections).toHaveLength(2);
  });

  test("a connection to a worker is closed when more than the response came", async () => {
    const { rig } = await startSimpleRig(
      (_head, index) => ok(`response ${index}`) + (index === 0 ? ok("poison") : ""),
    );
    const first = await rig.ask(GET_AND_CLOSE);
    expect(first).toContain("response 0");
    expect(first).not.toContain("poison");
    expect(await rig.ask(GET_AND_CLOSE)).toContain("response 1");
  });

  test("clients do not notice that a worker closed an idle connection", async () => {
    const { worker, rig } = await startSimpleRig((_head, index) => ok(`response ${index}`));
    await rig.ask(GET_AND_CLOSE);
    const first = await worker.connection(0);
    first.socket.end();
    await first.close();
    expect(await rig.ask(post("x", "Connection: close\r\n"))).toContain("response 1");
  });

  test("a connection to a worker is not reused after the idle time that the worker announced, whatever the request", async () => {
    const clock = createStepClock();
    const { worker, rig } = await startSimpleRig(
      (_head, index) => ok(`response ${index}`, "Keep-Alive: timeout=5\r\n"),
      { clock },
    );
    const ask = () => rig.ask(post("x", "Connection: close\r\n"));
    expect(await ask()).toContain("response 0");
    clock.advance(3900);
    expect(await ask()).toContain("response 1");
    expect(worker.connections).toHaveLength(1);
    // The time restarts with each request.
    clock.advance(4000);
    expect(await ask()).toContain("response 2");
    expect(worker.connections).toHaveLength(2);
    await (await worker.connection(0)).end();
    expect(await rig.ask(GET_AND_CLOSE)).toContain("response 3");
    clock.advance(4000);
    expect(await rig.ask(GET_AND_CLOSE)).toContain("response 4");
    expect(worker.connections).toHaveLength(3);
  });

  test("a connection to a worker is closed when it is not reused within the announced time", async () => {
    const clock = createStepClock();
    const { worker, rig } = await startSimpleRig(() => ok("fine", "Keep-Alive: timeout=5\r\n"), {
      clock,
    });
    await rig.ask(GET_AND_CLOSE);
    clock.advance(20_000);
    await (await worker.connection(0)).end();
  });

  test("a connection to a worker is not kept when the worker announces no idle time or no further request", async () => {
    const hints = ["timeout=0", "timeout=5, max=0", "timeout=5, max=1"];
    const { worker, rig } = await startSimpleRig((_head, index) =>
      ok("fine", `Keep-Alive: ${hints[index]}\r\n`),
    );
    for (let i = 0; i < 3; i++) await rig.ask(GET_AND_CLOSE);
    expect(worker.connections).toHaveLength(3);
    expect(worker.connections[2]?.ended).toBe(false);
  });

  test("a connection to a worker is not kept when the worker became unhealthy before the response came", async () => {
    const { client, upstream: slow, worker, rig } = await startExchange(GET);
    const failing = rig.ask(post("x", "Connection: close\r\n"));
    (await worker.connection(1)).socket.destroy();
    expect(statusOf(await failing)).toBe(502);
    expect(rig.path.router.upstreams[0]?.health.state).toBe("unhealthy");
    slow.write(ok("late"));
    await client.has("late");
    await slow.end();
    client.write(request("GET /next"));
    const fresh = await worker.withHead(2);
    fresh.write(ok("fresh"));
    await client.has("fresh");
  });

  test("a connection that a worker closes as a request arrives costs a GET a retry and a POST a 502", async () => {
    // Responds to the first request of each connection and closes at the second.
    const served = new Set<RawSocket>();
    const { rig } = await startRawRig((socket) => {
      if (socket.takeHead() === undefined) return;
      if (served.has(socket)) socket.socket.destroy();
      else socket.write(ok("fine"));
      served.add(socket);
    });
    await rig.ask(GET_AND_CLOSE);
    expect(await rig.ask(GET_AND_CLOSE)).toContain("fine");
    expect(rig.counters.value("balancer.retries")).toBe(1);
    expect(statusOf(await rig.ask(post("", "Connection: close\r\n")))).toBe(502);
    expect(rig.path.router.upstreams[0]?.health.state).toBe("healthy");
  });
});

describe("bodies", () => {
  test("bodies are forwarded in both directions as they come", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.send(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    const upstream = await worker.connection(0);
    await upstream.has("\r\n\r\n3\r\nabc\r\n");
    // The worker responds before it has the whole body.
    upstream.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    await client.has("2\r\nhi\r\n");
    client.write("1;ext\r\nd\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n");
    await upstream.has("1\r\nd\r\n0\r\nX-Sum: 1\r\n\r\n");
    upstream.write("0\r\nX-Out: 2\r\nSet-Cookie: a=b\r\n\r\n");
    await client.has("0\r\nX-Out: 2\r\n\r\n");
    client.text = "";
    client.write(GET);
    await upstream.has("GET / HTTP/1.1");
    expect(worker.connections).toHaveLength(1);
  });

  test("bodies of many MiB arrive complete in both directions", async () => {
    const size = 20 * 1024 * 1024;
    const block = Buffer.alloc(size, "0123456789abcdefghijklmnopqrstuvwxyz");
    const { rig } = await startRawRig((socket) => {
      // Searching the text at each chunk would copy all of it each time.
      if (socket.socket.bytesRead < size) return;
      const at = socket.text.indexOf("\r\n\r\n");
      if (socket.text.length < at + 4 + size) return;
      const same = Buffer.from(socket.text.slice(at + 4), "latin1").equals(block);
      socket.text = "";
      socket.write(`HTTP/1.1 200 OK\r\nX-Same: ${same}\r\nContent-Length: ${size}\r\n\r\n`);
      socket.socket.write(block);
    });
    const client = await rig.send(request("PUT /", "Connection: close", `Content-Length: ${size}`));
    client.socket.write(block);
    await until("the end of the response", () => client.ended);
    const at = client.text.indexOf("\r\n\r\n");
    expect(client.text.slice(0, at)).toContain("X-Same: true");
    expect(Buffer.from(client.text.slice(at + 4), "latin1").equals(block)).toBe(true);
  });

  test("bodies in one-byte chunks are buffered at no more than a few times their size", async () => {
    const { worker, rig } = await startRawRig();
    const chunks = "1\r\nx\r\n".repeat(8000);
    const before = usedBytes();
    const count = 50;
    for (let i = 0; i < count; i++) {
      await rig.send(`POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`);
      const upstream = await worker.connection(i);
      await until("the chunks", () => upstream.text.length > chunks.length);
    }
    expect(usedBytes() - before).toBeLessThan(count * chunks.length * 6);
  });

  test("a response body pauses at the worker while the client does not read", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.client();
    client.socket.pause();
    client.write(GET_AND_CLOSE);
    const upstream = await worker.withHead(0);
    const size = 64 * 1024 * 1024;
    upstream.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    upstream.socket.write(Buffer.alloc(size, "x"));
    // It stops long before the end: socket buffers hold some MiB.
    await standsStill(
      "the worker is held back",
      () => upstream.socket.bytesWritten - upstream.socket.writableLength,
    );
    expect(upstream.socket.writableLength).toBeGreaterThan(size / 4);
    client.socket.resume();
    await until("all of it", () => client.ended);
    expect(client.text.length - client.text.indexOf("\r\n\r\n") - 4).toBe(size);
  }, 20_000);

  test("a request body pauses at the client while the worker does not read", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.client();
    const size = 64 * 1024 * 1024;
    client.write(request("PUT /", `Content-Length: ${size}`));
    const upstream = await worker.withHead(0);
    upstream.socket.pause();
    client.socket.write(Buffer.alloc(size, "x"));
    await standsStill("the client is held back", () => client.socket.writableLength);
    expect(client.socket.writableLength).toBeGreaterThan(size / 4);
    upstream.socket.resume();
    await until("all of it", () => upstream.text.length >= size);
  }, 20_000);
});

describe("a response", () => {
  test("a response without a body is complete at its head", async () => {
    const { worker, rig } = await startSimpleRig((head) => {
      if (head.startsWith("HEAD")) return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
      if (head.startsWith("GET /204")) return "HTTP/1.1 204 No Content\r\n\r\n";
      return 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: "a"\r\n\r\n';
    });
    const client = await rig.send(
      "HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /204 HTTP/1.1\r\nHost: h\r\n\r\nGET /304 HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    expect(await client.head()).toMatch(/200 OK\r\nContent-Length: 5/);
    expect(await client.head()).toMatch(/^HTTP\/1.1 204 No Content\r\nx-request-id/);
    expect(await client.head()).toContain("Content-Length: 9");
    expect(worker.connections).toHaveLength(1);
  });

  test("an HTTP/1.0 client gets a chunked response without chunks, ended by the connection", async () => {
    const { rig } = await startSimpleRig(
      () =>
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n",
    );
    const response = await rig.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(response).not.toMatch(/transfer-encoding/i);
    expect(response).toContain("Connection: close\r\n");
    expect(response.endsWith("\r\n\r\nabcde")).toBe(true);
  });

  test("a response with a length keeps the connection of an HTTP/1.0 client that asks for it", async () => {
    const { rig } = await startSimpleRig((_head, index) => ok(`response ${index}`));
    const client = await rig.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    await client.has("response 0");
    expect(client.text).toContain("Connection: keep-alive\r\n");
    client.write("GET / HTTP/1.0\r\n\r\n");
    await client.has("response 1");
    await client.end();
  });

  test("an HTTP/1.0 response without a length ends when the worker closes", async () => {
    const { rig } = await startRawRig((socket) => {
      if (socket.takeHead() === undefined) return;
      socket.socket.end("HTTP/1.0 200 OK\r\nTrailer: x\r\n\r\nall of it");
    });
    const response = await rig.ask(GET);
    expect(response).toContain("HTTP/1.1 200 OK\r\n");
    expect(response).toContain("Connection: close\r\n");
    expect(response.endsWith("\r\n\r\nall of it")).toBe(true);
  });

  test("interim responses (1xx) are relayed, but not to HTTP/1.0 clients", async () => {
    const { rig } = await startSimpleRig(
      () => `HTTP/1.1 103 Early Hints\r\nLink: a\r\nx-ct-epoch: 1\r\n\r\n${ok("done")}`,
    );
    expect(await rig.ask(GET_AND_CLOSE)).toMatch(
      /^HTTP\/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP\/1.1 200 OK/,
    );
    expect(await rig.ask("GET / HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1.1 200 OK/);
  });

  test("a 100 reaches a client that waits for it, and its body the worker", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.send(request("POST /", "Expect: 100-continue", "Content-Length: 4"));
    const upstream = await worker.connection(0);
    expect(await upstream.head()).toContain("Expect: 100-continue");
    upstream.write("HTTP/1.1 100 Continue\r\n\r\n");
    expect(await client.head()).toBe("HTTP/1.1 100 Continue");
    client.write("body");
    await upstream.has("body");
    upstream.write(ok("thanks"));
    await client.has("thanks");
  });

  test("an early error response ends the connection without a reset", async () => {
    const { worker, rig } = await startRawRig((socket) => {
      if (socket.takeHead() !== undefined)
        socket.write("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig");
    });
    const client = await rig.send(
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome",
    );
    await client.has("big");
    await client.end();
    // What the client still sends does not damage the response.
    client.write("more".repeat(1000));
    expect(statusOf(client.text)).toBe(413);
    await (await worker.connection(0)).close();
  });

  test.each([
    ["is not HTTP", "hello\r\n\r\n"],
    ["has two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"],
    [
      "has a length and chunks",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["has a folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"],
    ["has too long a head", `HTTP/1.1 200 OK\r\nA: ${"b".repeat(40_000)}\r\n\r\n`],
    [
      "switches protocols without being asked",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
  ])("a response that %s becomes a 502", async (_name, bytes) => {
    const { worker, rig } = await startRawRig((socket) => {
      if (socket.takeHead() !== undefined) socket.write(bytes);
    });
    const response = await rig.ask(GET_AND_CLOSE);
    expect(statusOf(response)).toBe(502);
    expect(response).toContain('"code":"EDGE_UPSTREAM"');
    await (await worker.connection(0)).end();
  });
});

describe("a response that is cut", () => {
  test.each([
    ["with a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
    ["in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
    ["within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf"],
  ])("a response cut %s is cut for the client too", async (_name, bytes) => {
    const { rig } = await startRawRig((socket) => {
      if (socket.takeHead() !== undefined) socket.socket.end(bytes);
    });
    const client = await rig.send(GET);
    await client.close();
    expect(client.text).toContain("half");
    expect(client.error).toBe("ECONNRESET");
  });

  test("a response without a length is reset for the client when the worker reset it", async () => {
    const { client, upstream } = await startExchange(GET);
    upstream.write("HTTP/1.0 200 OK\r\n\r\nhalf");
    await client.has("half");
    upstream.socket.resetAndDestroy();
    await client.close();
    expect(client.error).toBe("ECONNRESET");
  });

  test("a response with an invalid chunk is cut for the client", async () => {
    const { rig, worker } = await startRawRig((socket) => {
      if (socket.takeHead() === undefined) return;
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    const client = await rig.send(GET);
    await client.has("half");
    (await worker.connection(0)).write("zz\r\n");
    await client.close();
    expect(client.text).toContain("half");
    expect(client.error).toBe("ECONNRESET");
  });
});

describe("a client that gives up", () => {
  test("a client that gives up while it waits ends the request at the worker within two seconds", async () => {
    const { client, upstream } = await startExchange(GET);
    client.socket.destroy();
    await upstream.close();
  });

  test("a client that resets its connection ends the request at the worker at once", async () => {
    const { client, upstream } = await startExchange(GET);
    const startedMs = performance.now();
    client.socket.resetAndDestroy();
    await upstream.close();
    expect(performance.now() - startedMs).toBeLessThan(
      machine.limitMs(startedMs, { promisedMs: 500 }),
    );
  });

  test("a client that gives up within its body ends the request at the worker", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    const upstream = await worker.connection(0);
    await upstream.has("half");
    client.socket.end();
    await upstream.close();
    expect(upstream.error).toBe("ECONNRESET");
  });

  test("a client that gives up within a long response ends it at the worker", async () => {
    const { client, upstream } = await startExchange(GET);
    upstream.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const ticking = setInterval(() => upstream.write("1\r\nx\r\n"), 10);
    await client.has("1\r\nx");
    client.socket.destroy();
    await upstream.close().finally(() => clearInterval(ticking));
  });

  test("a client that only ends its side still gets its response", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.client();
    client.socket.end(GET);
    const upstream = await worker.withHead(0);
    upstream.write(ok("still there"));
    await client.has("still there");
    await client.end();
  });
});

describe("a worker that fails", () => {
  async function withRefused(): Promise<{ rig: Rig; good: RawWorker; key: SessionKey }> {
    const good = await startSimpleWorker(() => ok("from the good one"));
    const workers = [workerRecord("bad", await freePort()), workerRecord("good", good.port)];
    // What refuses is the worker, not the far end of a link.
    const rig = await rigWith(workers, { isLinked: false });
    return { rig, good, key: keyFor(rig, "bad") };
  }

  test("a worker that refuses the connection is left for another one, whatever the method", async () => {
    const { rig, key } = await withRefused();
    expect(await rig.ask(post("body", `ctstickiness: ${key}\r\nConnection: close\r\n`))).toContain(
      "from the good one",
    );
    expect(rig.counters.value("balancer.retries")).toBe(1);
  });

  test("a worker that refuses the connection is unhealthy and gets no new requests", async () => {
    const { rig, key } = await withRefused();
    for (let i = 0; i < 5; i++)
      await rig.ask(request("GET /", `ctstickiness: ${key}`, "Connection: close"));
    expect(rig.counters.value("balancer.retries")).toBe(1);
    expect(rig.path.router.usable).toBe(1);
  });

  test("a failed worker gets requests again after it passes a probe", async () => {
    const rig = await rigWith([
      workerRecord("w1", await freePort(), { statusUrl: await startLiveStatus() }),
    ]);
    expect(statusOf(await rig.ask(GET_AND_CLOSE))).toBe(502);
    expect(rig.path.router.usable).toBe(0);
    await expect.poll(() => rig.path.router.usable).toBe(1);
  });

  test("a worker that closes instead of responding costs a POST a 502, and a GET goes to another worker", async () => {
    const bad = await startRawWorker((socket) => socket.socket.destroy());
    const good = await startSimpleWorker(() => ok("good"));
    const rig = await rigWith([workerRecord("bad", bad.port), workerRecord("good", good.port)]);
    const key = keyFor(rig, "bad");
    expect(
      statusOf(await rig.ask(post("x", `ctstickiness: ${key}\r\nConnection: close\r\n`))),
    ).toBe(502);
    await rig.close();

    const again = await rigWith([workerRecord("bad", bad.port), workerRecord("good", good.port)]);
    expect(
      await again.ask(request("GET /", `ctstickiness: ${key}`, "Connection: close")),
    ).toContain("good");
  });

  test("a request is not retried after the first byte of a response", async () => {
    const bad = await startRawWorker((socket) => socket.socket.end("HTTP/1.1 2"));
    const good = await startSimpleWorker(() => ok("good"));
    const rig = await rigWith([workerRecord("bad", bad.port), workerRecord("good", good.port)]);
    const response = await rig.ask(
      `GET / HTTP/1.1\r\nHost: h\r\nctstickiness: ${keyFor(rig, "bad")}\r\nConnection: close\r\n\r\n`,
    );
    expect(statusOf(response)).toBe(502);
    expect(good.connections).toHaveLength(0);
  });

  test("a request gets 502 at once when its only worker fails", async () => {
    const rig = await rigWith([workerRecord("w1", await freePort())]);
    const startedMs = performance.now();
    expect(statusOf(await rig.ask(GET_AND_CLOSE))).toBe(502);
    expect(performance.now() - startedMs).toBeLessThan(
      machine.limitMs(startedMs, { promisedMs: 100 }),
    );
  });

  test("a request gets 503 and keeps its connection when there are no workers", async () => {
    const rig = await rigWith([]);
    const client = await rig.send(GET);
    await client.has("EDGE_NO_UPSTREAM");
    expect(client.text).toContain("Retry-After: 1\r\n");
    client.text = "";
    client.write(GET);
    await client.has("EDGE_NO_UPSTREAM");
  });

  test("a worker that does not respond in time costs a 504", async () => {
    const { worker, rig } = await startRawRig(undefined, { limits: { upstreamTimeoutMs: 200 } });
    const response = await rig.ask(GET_AND_CLOSE);
    expect(statusOf(response)).toBe(504);
    await (await worker.connection(0)).close();
  });

  test("a response that stops half way is cut after the time limit", async () => {
    const { rig } = await startRawRig(
      (socket) => {
        if (socket.takeHead() !== undefined)
          socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      },
      { limits: { upstreamTimeoutMs: 200 } },
    );
    const client = await rig.send(GET);
    await client.close();
    expect(client.error).toBe("ECONNRESET");
  });
});

describe("421", () => {
  const ROOM = "R".repeat(24) as SessionId;

  function misdirected(owner: string, more = ""): string {
    return `HTTP/1.1 421 Misdirected Request\r\nx-ct-owner: ${owner}\r\nx-ct-epoch: 7\r\n${more}Content-Length: 0\r\n\r\n`;
  }

  /** Worker `a` sends everything to `b`, which echoes what it got. */
  async function pair(options: { fromA?: string; fromB?: string | (() => string) } = {}) {
    const a = await startSimpleWorker(() => options.fromA ?? misdirected("b"));
    const b = await startRawWorker((socket) => {
      const at = socket.text.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(socket.text)?.[1] ?? 0);
      if (at < 0 || socket.text.length < at + 4 + length) return;
      const body = socket.text.slice(at + 4);
      socket.text = "";
      const { fromB = ok(`b got ${body.length}`) } = options;
      socket.write(typeof fromB === "string" ? fromB : fromB());
    });
    const recordA = workerRecord("a", a.port);
    const rig = await rigWith([recordA, workerRecord("b", b.port)]);
    const key = keyFor(rig, "a");
    const send = (body: string) =>
      rig.ask(post(body, `ctstickiness: ${key}\r\nConnection: close\r\n`));
    return { a, b, rig, key, send, recordA };
  }

  test("a 421 is followed to the owner with the whole body, and the owner is cached", async () => {
    const { rig, a, send } = await pair();
    expect(await send("hello")).toContain("b got 5");
    expect(await send("hello")).toContain("b got 5");
    expect(rig.counters.value("balancer.misdirected", "replayed")).toBe(1);
    expect(a.connections).toHaveLength(1);
  });

  test("a 421 is followed with a body of 64 KiB, but not with a longer one", async () => {
    const { send } = await pair();
    expect(await send("x".repeat(65_536))).toContain("b got 65536");
    const other = await pair();
    const response = await other.send("x".repeat(65_537));
    expect(statusOf(response)).toBe(503);
    expect(response).toContain("Retry-After: 1\r\n");
    expect(response).toContain("EDGE_SESSION_MOVING");
  });

  test("a 421 is followed while the body is still arriving", async () => {
    const { rig, key, b } = await pair();
    const client = await rig.send(
      `POST / HTTP/1.1\r\nHost: h\r\nctstickiness: ${key}\r\nContent-Length: 10\r\n\r\nfirst`,
    );
    const upstream = await b.connection(0);
    await upstream.has("first");
    client.write("later");
    await client.has("b got 10");
  });

  test("a 421 for another key caches the owner for that key only", async () => {
    const { rig, send } = await pair({ fromA: misdirected("b", `x-ct-key: ${ROOM}\r\n`) });
    await send("x");
    await send("x");
    // The alias is looked up each time; the owner of the room is cached.
    expect(rig.counters.value("balancer.misdirected", "replayed")).toBe(2);
    const known = await rig.path.router.choose(
      { ...FREE, key: { rule: "claim", key: ROOM } },
      new Set(),
    );
    expect(known).toMatchObject({ upstream: { id: "b" }, reason: "record" });
  });

  test("a 421 is followed twice, not three times", async () => {
    const { rig, send } = await pair({ fromB: misdirected("a") });
    const response = await send("x");
    expect(statusOf(response)).toBe(503);
    expect(rig.counters.value("balancer.misdirected", "replayed")).toBe(2);
  });

  test("a 421 that names its sender becomes a 503", async () => {
    expect(statusOf(await (await pair({ fromA: misdirected("a") })).send("x"))).toBe(503);
  });

  test("a 421 that names an unknown worker waits for it", async () => {
    const { rig, send } = await pair({ fromA: misdirected("late") });
    const answered = send("hello");
    await expect.poll(() => rig.counters.value("balancer.held")).toBe(1);
    const late = await startSimpleWorker(() => ok("here I am"));
    rig.view.set([...rig.view.workers, workerRecord("late", late.port)]);
    expect(await answered).toContain("here I am");
  });

  test("a 421 to a request with an engine.io id is passed to the client without internal headers", async () => {
    const { rig, recordA, b } = await pair();
    const sid = taggedId(workerTag(recordA.id, recordA.incarnation));
    const response = await rig.ask(request(`GET /socket.io/?sid=${sid}`, "Connection: close"));
    expect(statusOf(response)).toBe(421);
    expect(response).not.toMatch(/x-ct-/i);
    expect(b.connections).toHaveLength(0);
  });

  test("after a 421 without an owner one more worker is tried", async () => {
    const plain = "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n";
    const one = await pair({ fromA: plain });
    expect(await one.send("hello")).toContain("b got 5");
    const both = await pair({ fromA: plain, fromB: plain });
    expect(statusOf(await both.send("hello"))).toBe(421);
  });

  test("a session with an owner waits while workers send a 421 without one", async () => {
    const plain = "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n";
    let isThere = false;
    const { rig, key, send } = await pair({
      fromA: plain,
      fromB: () => (isThere ? ok("here") : plain),
    });
    rig.path.router.learn(key, "a" as WorkerId, 7);
    const answered = send("hello");
    await expect.poll(() => rig.counters.value("balancer.held")).toBe(1);
    isThere = true;
    expect(await answered).toContain("here");
  });
});

describe("a session whose owner cannot be reached", () => {
  const ROOM = "O".repeat(24) as SessionId;
  const TO_A =
    "HTTP/1.1 421 Misdirected Request\r\nx-ct-owner: a\r\nx-ct-epoch: 7\r\nContent-Length: 0\r\n\r\n";
  const POLL = `POST /api/session/poll/${ROOM}token HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`;

  /** Worker `a` owns the room and does not run; `b` sends all its requests there. */
  async function orphan(options: RigOptions = {}) {
    const port = await freePort();
    const b = await startSimpleWorker(() => TO_A);
    const rig = await rigWith([workerRecord("a", port), workerRecord("b", b.port)], options);
    rig.path.router.learn(ROOM, "a" as WorkerId, 7);
    return { port, rig, b };
  }

  test("requests for a session wait until its owner is back", async () => {
    let isBack = false;
    const { port, rig } = await orphan({
      probe: {
        async ask({ id }) {
          if (id === "a" && !isBack) throw new Error("nobody listens");
        },
      },
    });
    const client = await rig.send(POLL);
    await expect.poll(() => rig.counters.value("balancer.held")).toBe(1);
    await startRawWorker((socket) => socket.text.endsWith("{}") && socket.write(ok("back")), port);
    isBack = true;
    await client.has("back");
    expect(rig.counters.value("balancer.held")).toBe(1);
  });

  test("requests for a session wait until another worker owns it", async () => {
    const { rig, b } = await orphan();
    const client = await rig.send(POLL);
    await expect.poll(() => rig.counters.value("balancer.held")).toBe(1);
    const c = await startSimpleWorker(() => ok("taken over"));
    rig.view.set([...rig.view.workers.filter(({ id }) => id !== "a"), workerRecord("c", c.port)]);
    rig.path.router.learn(ROOM, "c" as WorkerId, 8);
    await client.has("taken over");
    expect(b.connections.length).toBeGreaterThan(0);
  });

  test("requests for a session wait for its owner for no longer than 8 s", async () => {
    const clock = createStepClock();
    const { rig } = await orphan({
      clock,
      limits: { upstreamTimeoutMs: 60_000, keepaliveTimeoutMs: 60_000 },
    });
    const client = await rig.send(POLL);
    await expect.poll(() => rig.counters.value("balancer.held")).toBe(1);
    const stepping = setInterval(() => clock.advance(100), 5);
    await client.end().finally(() => clearInterval(stepping));
    expect([502, 503]).toContain(statusOf(client.text));
    expect(clock.nowMs()).toBeGreaterThan(8000);
  });

  test("a sign-in waits while there is no worker", async () => {
    const port = await freePort();
    const rig = await rigWith([workerRecord("a", port)]);
    const client = await rig.send(
      "POST /api/login/simple HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    );
    await expect.poll(() => rig.counters.value("balancer.held")).toBe(1);
    await startRawWorker((socket) => socket.text.endsWith("{}") && socket.write(ok("Ok!")), port);
    await client.has("Ok!");
  });

  test("a request for a new session does not wait while there is no worker", async () => {
    const rig = await rigWith([workerRecord("a", await freePort())]);
    expect(
      statusOf(await rig.ask(request("GET /", "ctstickiness: new", "Connection: close"))),
    ).toBe(502);
  });
});

test("a request that workers die of is not sent to all of them", async () => {
  let deaths = 0;
  const die = (socket: RawSocket) => {
    if (socket.takeHead() === undefined) return;
    deaths++;
    socket.socket.resetAndDestroy();
  };
  const workers = await Promise.all(["a", "b", "c", "d", "e"].map(() => startRawWorker(die)));
  const rig = await rigWith(workers.map(({ port }, index) => workerRecord(`w${index}`, port)));
  expect(statusOf(await rig.ask(GET_AND_CLOSE))).toBe(502);
  expect(deaths).toBe(2);
  deaths = 0;
  const poll = await rig.ask(
    request("POST /api/login/poll/x", "Connection: close", "Content-Length: 0"),
  );
  expect(statusOf(poll)).toBe(502);
  expect(deaths).toBe(3);
});

test("a poll goes to another worker when its own is killed, though it is a POST", async () => {
  const dying = await startRawWorker(
    (socket) => socket.text.endsWith("{}") && socket.socket.resetAndDestroy(),
  );
  const other = await startSimpleWorker(() => ok("answered"));
  const record = workerRecord("a", dying.port);
  const rig = await rigWith([record, workerRecord("b", other.port)]);
  const token = taggedId(workerTag(record.id, record.incarnation));
  const response = await rig.ask(
    `POST /api/login/poll/${token} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`,
  );
  expect(response).toContain("answered");
});

describe("session headers of responses", () => {
  const ROOM = "S".repeat(24) as SessionId;

  test("session headers of a response are cached and hidden from the client", async () => {
    const worker = await startSimpleWorker(() =>
      ok("x", `x-ct-session: ${ROOM}\r\nX-CT-Epoch: 12\r\n`),
    );
    const other = await startSimpleWorker(() => ok("other"));
    const rig = await rigWith([workerRecord("w1", worker.port), workerRecord("w2", other.port)]);
    const response = await rig.ask(
      `GET / HTTP/1.1\r\nHost: h\r\nctstickiness: ${keyFor(rig, "w1")}\r\nConnection: close\r\n\r\n`,
    );
    expect(response).not.toMatch(/x-ct-/i);
    const asked = rig.lookups;
    await rig.ask(request(`GET /api/session/join/${ROOM}`, "Connection: close"));
    expect(rig.lookups).toBe(asked);
    expect(other.connections).toHaveLength(0);
  });

  test("session headers with an invalid epoch or id are ignored", async () => {
    const { rig } = await startSimpleRig((_head, index) =>
      ok(
        "x",
        index === 0
          ? `x-ct-session: ${ROOM}\r\nx-ct-epoch: -1\r\n`
          : "x-ct-session: short\r\nx-ct-epoch: 1\r\n",
      ),
    );
    expect(statusOf(await rig.ask(GET_AND_CLOSE))).toBe(200);
    expect(statusOf(await rig.ask(GET_AND_CLOSE))).toBe(200);
    const known = rig.path.router.choose({ ...FREE, key: { rule: "claim", key: ROOM } }, new Set());
    expect(known).toBeInstanceOf(Promise);
  });

  test("a create makes the balancer forget that its key was unknown", async () => {
    const { rig } = await startSimpleRig(() => ok("{}"));
    const key = "my-key" as SessionKey;
    const meta = request(`GET /k/${key}/api/meta`, "Connection: close");
    await rig.ask(meta);
    await rig.ask(meta);
    expect(rig.lookups).toBe(1);
    await rig.ask(
      request(`POST /k/${key}/api/session/create`, "Content-Length: 0", "Connection: close"),
    );
    await rig.ask(meta);
    expect(rig.lookups).toBe(2);
  });
});

describe("a request with a tag of a worker that was replaced", () => {
  test("a request with the tag of a replaced worker goes to its replacement", async () => {
    const { rig } = await startSimpleRig(() => ok("new one"));
    const old = taggedId(workerTag("w1" as WorkerId, newIncarnation()));
    expect(await rig.ask(request(`GET /socket.io/?sid=${old}`, "Connection: close"))).toContain(
      "new one",
    );
  });
});

/** Waits until `read` has returned the same for a while. */
async function settled(read: () => number): Promise<void> {
  let value = read();
  let sinceMs = performance.now();
  await until("a standstill", () => {
    const now = read();
    if (now !== value) sinceMs = performance.now();
    value = now;
    return performance.now() - sinceMs > 300;
  });
}

describe("pipelined requests", () => {
  test("pipelined requests are sent one at a time, and their responses come in order", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.send(
      `GET /1 HTTP/1.1\r\nHost: h\r\n\r\n${post("two")}GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /4 HTTP/1.1\r\nHost: h\r\n\r\n`,
    );
    const upstream = await worker.connection(0);
    expect(await upstream.head()).toContain("GET /1");
    upstream.write(ok("first"));
    expect(await upstream.head()).toContain("POST /");
    upstream.write(ok("second"));
    await upstream.has("GET /3");
    upstream.write(ok("third"));
    await client.end();
    expect(client.text).toMatch(/first[\s\S]*second[\s\S]*third$/);
    expect(upstream.text).not.toContain("GET /4");
  });

  test("pipelined requests before an invalid one get their responses", async () => {
    const { rig } = await startSimpleRig(() => ok("fine"));
    const response = await rig.ask(`${GET}GET / HTTP/1.1\r\nHost : h\r\n\r\n${GET}`);
    expect(response).toMatch(/200 OK[\s\S]*fine[\s\S]*400 Bad Request/);
    expect(response.match(/HTTP\/1.1 /g)).toHaveLength(2);
  });

  test("a thousand pipelined requests all get a response", async () => {
    const { rig } = await startSimpleRig((_head, index) => ok(`<${index}>`));
    const client = await rig.send(GET.repeat(3000));
    await client.has("<2999>");
  });

  test("pipelined requests are not forwarded while the client does not take the responses", async () => {
    let asked = 0;
    const body = "x".repeat(60_000);
    const { rig } = await startSimpleRig(() => {
      asked++;
      return ok(body);
    });
    const client = await rig.client();
    client.socket.pause();
    // The last one ends the connection, so that its end is the end of all responses.
    client.write(GET.repeat(999) + GET_AND_CLOSE);
    // Socket buffers hold some MiB.
    await settled(() => asked);
    expect(asked).toBeLessThan(500);
    client.socket.resume();
    await client.end();
    expect(client.text.match(/HTTP\/1\.1 200/g)).toHaveLength(1000);
  });
});

describe("a worker at its request limit", () => {
  async function busy() {
    const workers = [await startRawWorker(), await startRawWorker()];
    const rig = await startRig({
      workers: workers.map(({ port }, index) => workerRecord(`w${index}`, port)),
      maxRequestsPerWorker: 1,
    });
    const first = await rig.send(request("GET /", "ctstickiness: one"));
    await until("the first request", () =>
      workers.some(({ connections }) => connections.length > 0),
    );
    const [taken, free] =
      workers[0]?.connections.length === 1 ? [workers[0], workers[1]] : [workers[1], workers[0]];
    return { rig, first, taken: taken as RawWorker, free: free as RawWorker };
  }

  test("a worker at its limit gets no more requests: its keys get 503 at once, and it stays healthy", async () => {
    const { rig, first, taken } = await busy();
    const refused = await rig.ask(request("GET /", "ctstickiness: one", "Connection: close"));
    expect(refused).toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 1\r\n/);
    expect(refused).toContain('"code":"EDGE_WORKER_BUSY"');
    expect(rig.path.router.usable).toBe(2);
    expect(taken.connections.length).toBe(1);
    (await taken.connection(0)).write(ok("late"));
    await first.has("late");
    first.write(request("GET /", "ctstickiness: one"));
    await (await taken.connection(0)).has("ctstickiness: one");
  });

  test("a request without a key avoids a worker at its limit", async () => {
    const { rig, free } = await busy();
    const client = await rig.send(request("GET /"));
    const elsewhere = await free.connection(0);
    expect(await rig.ask(request("GET /", "Connection: close"))).toContain("EDGE_WORKER_BUSY");
    elsewhere.write(ok("elsewhere"));
    await client.has("elsewhere");
  });

  test("a worker at its limit still gets requests of existing engine.io connections, up to twice the limit", async () => {
    const { worker, record, rig } = await startRawRig(undefined, { maxRequestsPerWorker: 2 });
    const sid = taggedId(workerTag(record.id, record.incarnation));
    for (const target of ["/a", "/b", `/socket.io/?sid=${sid}`, `/socket.io/?sid=${sid}`]) {
      (await rig.client()).write(request(`GET ${target}`));
    }
    await until("all four", () => worker.connections.length === 4);
    for (const target of ["/c", `/socket.io/?sid=${sid}`]) {
      const refused = await rig.send(request(`GET ${target}`));
      await refused.has("EDGE_WORKER_BUSY");
    }
    expect(worker.connections).toHaveLength(4);
  });

  test("a worker near its limit first gets no new sessions, then no join requests, and goes on with what it has", async () => {
    const { worker, record, rig } = await startRawRig(undefined, { maxRequestsPerWorker: 10 });
    const begin = async (line: string): Promise<RawSocket> => {
      const client = await rig.send(`${line} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n`);
      return client;
    };
    const [create, join] = ["POST /api/session/create", `POST /api/session/join/${"A".repeat(24)}`];
    const reaches = (count: number): Promise<true> =>
      until(`request ${count}`, () => worker.connections.length === count);
    for (let count = 1; count <= 7; count++) await begin("GET /");
    await reaches(7);
    await begin(create);
    await reaches(8);
    await (await begin(create)).has("EDGE_WORKER_BUSY");
    await begin(join);
    await reaches(9);
    await (await begin(join)).has("EDGE_WORKER_BUSY");
    await begin("GET /");
    await reaches(10);
    await (await begin("GET /")).has("EDGE_WORKER_BUSY");
    const sid = taggedId(workerTag(record.id, record.incarnation));
    await begin(`POST /socket.io/?sid=${sid}`);
    await reaches(11);
  });

  test("people who sign in, and polls of it, leave room for those who return to their sessions", async () => {
    const { worker, record, rig } = await startRawRig(undefined, { maxRequestsPerWorker: 4 });
    const tag = workerTag(record.id, record.incarnation);
    const begin = async (line: string, fields = ""): Promise<RawSocket> => {
      const client = await rig.send(
        `${line} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n${fields}\r\n`,
      );
      return client;
    };
    const reaches = (count: number): Promise<true> =>
      until(`request ${count}`, () => worker.connections.length === count);
    for (let count = 1; count <= 3; count++) {
      await begin(`POST /api/login/poll/${taggedId(tag)}`);
      await reaches(count);
    }
    await (await begin(`POST /api/login/poll/${taggedId(tag)}`)).has("EDGE_WORKER_BUSY");
    await (await begin("POST /api/login/initial")).has("EDGE_WORKER_BUSY");
    await begin("GET /");
    await reaches(4);
    await (await begin("GET /")).has("EDGE_WORKER_BUSY");
    const handshake = "GET /socket.io/?EIO=4&transport=polling";
    await (await begin(handshake)).has("EDGE_WORKER_BUSY");
    for (const count of [5, 6]) {
      await begin(handshake, "ctstickiness: one\r\n");
      await reaches(count);
    }
    await (await begin(handshake, "ctstickiness: one\r\n")).has("EDGE_WORKER_BUSY");
    for (const count of [7, 8]) {
      await begin(`GET /socket.io/?sid=${taggedId(tag)}`);
      await reaches(count);
    }
    await (await begin(`GET /socket.io/?sid=${taggedId(tag)}`)).has("EDGE_WORKER_BUSY");
  });

  test("a worker that may have one request gets it, whatever it begins", async () => {
    const { worker, rig } = await startRawRig(undefined, { maxRequestsPerWorker: 1 });
    await rig.send(request("POST /api/session/create", "Content-Length: 0"));
    await until("the request", () => worker.connections.length === 1);
  });
});

test("the balancer responds to health checks itself", async () => {
  const { worker, rig, record } = await startRawRig();
  const ask = (method: string) =>
    rig.ask(`${method} /ct-health/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
  expect(await ask("GET")).toMatch(/^HTTP\/1.1 200 OK[\s\S]*{"status":"ok"}$/);
  expect(await ask("HEAD")).toMatch(/^HTTP\/1.1 200 OK[\s\S]*\r\n\r\n$/);
  rig.view.set([{ ...record, state: "draining" }]);
  expect(statusOf(await ask("GET"))).toBe(503);
  expect(worker.connections).toHaveLength(0);
});

test.each(["/ct-health/?x=1", "/ct-health?x=1", "/ct-health", "/ct-health/"])(
  "the balancer responds to a health check at %s",
  async (target) => {
    const { worker, rig } = await startRawRig();
    expect(await rig.ask(`GET ${target} HTTP/1.0\r\n\r\n`)).toMatch(/"status":"ok"}$/);
    expect(worker.connections).toHaveLength(0);
  },
);

test.each(["/ct-health/x", "/ct-healthy", "/x/ct-health/", "/?/ct-health/"])(
  "%s is not a health check and goes to a worker",
  async (target) => {
    const { rig } = await startSimpleRig(() => ok("of the worker"));
    expect(await rig.ask(request(`GET ${target}`, "Connection: close"))).toContain("of the worker");
  },
);

describe("the page at /", () => {
  const requests = ["GET / HTTP/1.0", "HEAD /?from=lb HTTP/1.0", "OPTIONS / HTTP/1.0"];

  test.each(requests)("the page at / comes from a worker: %s without a Host", async (line) => {
    const { rig } = await startSimpleRig(() => ok(""));
    expect(statusOf(await rig.ask(`${line}\r\n\r\n`))).toBe(200);
  });

  test.each(requests)(
    "the page at / is a 503 at once while no worker is healthy: %s without a Host",
    async (line) => {
      // It accepts and never responds.
      const { worker, rig } = await startRawRig();
      rig.path.router.upstreams[0]?.reportFailure(new UpstreamError("timeout"));
      const response = await rig.ask(`${line}\r\n\r\n`);
      expect(response).toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 1\r\n/);
      expect(response.includes("EDGE_NO_UPSTREAM")).toBe(!line.startsWith("HEAD"));
      expect(worker.connections).toHaveLength(0);
    },
  );

  test("a request for / with a session goes to its owner", async () => {
    const { worker, rig } = await startRawRig();
    rig.path.router.upstreams[0]?.reportFailure(new UpstreamError("timeout"));
    await rig.send(request("GET /", "ctstickiness: one"));
    await (await worker.connection(0)).has("ctstickiness: one");
  });

  test("with a fixed list of workers the page at / comes from a server, also while it is unhealthy", async () => {
    const { worker, rig } = await startRawRig(undefined, { isLeased: false });
    rig.path.router.upstreams[0]?.reportFailure(new UpstreamError("timeout"));
    await rig.send(GET);
    await (await worker.connection(0)).head();
  });
});
