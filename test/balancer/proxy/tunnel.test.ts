import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { SessionId, WorkerId } from "../../../shared/base/ids.ts";
import { taggedId, workerTag } from "../../../shared/base/worker-tag.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import { until } from "../../support/until.ts";
import {
  keyFor,
  ok,
  type Rig,
  standsStill,
  startExchange,
  startRawRig,
  startRawWorker,
  startRig,
  startSimpleRig,
  startSimpleWorker,
  workerRecord,
} from "../rig.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const SESSION = "T".repeat(24) as SessionId;

function rigWith(workers: readonly WorkerRecord[]): Promise<Rig> {
  return startRig({ workers });
}

function upgrade(more = "", target = "/socket.io/?transport=websocket"): string {
  return `GET ${target} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n${more}\r\n`;
}

function accepted(more = ""): string {
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n${more}\r\n`;
}

/** An open tunnel: the client's end and the worker's. */
async function open(more = "") {
  const edge = await startExchange(upgrade());
  edge.upstream.write(accepted(more));
  return { ...edge, head: await edge.client.head() };
}

describe("a handshake", () => {
  test("a handshake reaches the worker with its headers, and the 101 comes back without internal ones", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.send(
      upgrade(
        "Sec-WebSocket-Extensions: permessage-deflate\r\nCookie: a=b\r\n",
        "/k/K/socket.io/?x",
      ),
    );
    const upstream = await worker.connection(0);
    const head = await upstream.head();
    expect(head).toContain("GET /socket.io/?x HTTP/1.1\r\n");
    expect(head).toMatch(/\r\nConnection: Upgrade\r\nUpgrade: websocket$/);
    expect(head).toContain(`Sec-WebSocket-Key: ${KEY}`);
    expect(head).toContain("Sec-WebSocket-Extensions: permessage-deflate");
    expect(head).toContain("Cookie: a=b");
    upstream.write(
      accepted(`x-ct-session: ${SESSION}\r\nx-ct-epoch: 3\r\nSec-WebSocket-Protocol: p\r\n`),
    );
    const response = await client.head();
    expect(response).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n/);
    expect(response).toContain(`Sec-WebSocket-Accept: ${ACCEPT}`);
    expect(response).toContain("Sec-WebSocket-Protocol: p");
    expect(response).not.toMatch(/x-ct-/i);
    const [id] = /^x-request-id: .+$/im.exec(head) ?? [];
    expect(response.toLowerCase()).toContain(String(id).toLowerCase());
    expect(rig.counters.value("balancer.upgrades")).toBe(1);
  });

  test.each([
    ["another protocol", upgrade().replace("WebSocket\r\n", "h2c\r\n")],
    ["several protocols", upgrade().replace("WebSocket\r\n", "websocket, h2c\r\n")],
    ["two Upgrade fields", upgrade("Upgrade: h2c\r\n")],
    ["another version", upgrade().replace("Version: 13", "Version: 8")],
    ["no key", upgrade().replace(/Sec-WebSocket-Key.*\r\n/, "")],
    ["a short key", upgrade().replace(KEY, "c2hvcnQ=")],
    ["two keys", upgrade(`Sec-WebSocket-Key: ${KEY}\r\n`)],
    ["no Connection option", upgrade().replace("keep-alive, Upgrade", "keep-alive")],
    ["another method", upgrade().replace("GET", "POST")],
    ["HTTP/1.0", upgrade().replace("HTTP/1.1", "HTTP/1.0")],
    ["a body", upgrade("Content-Length: 1\r\n").concat("x")],
  ])("a handshake with %s is a plain request", async (_name, bytes) => {
    const { worker, rig } = await startRawRig();
    const client = await rig.send(bytes);
    const upstream = await worker.connection(0);
    expect(await upstream.head()).not.toMatch(/\r\n(Upgrade|Connection):/i);
    // A 101 in response to it is invalid.
    upstream.write(accepted());
    await client.has("HTTP/1.1 502 ");
    await upstream.end();
  });

  test.each([
    ["a wrong accept", accepted().replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")],
    ["no accept", accepted().replace(/Sec-WebSocket-Accept.*\r\n/, "")],
    ["two accepts", accepted(`Sec-WebSocket-Accept: ${ACCEPT}\r\n`)],
    ["another protocol", accepted().replace("Upgrade: websocket", "Upgrade: h2c")],
    ["no Connection option", accepted().replace("Connection: Upgrade\r\n", "")],
  ])("a handshake that gets %s fails", async (_name, bytes) => {
    const { client, upstream, rig } = await startExchange(upgrade());
    upstream.write(bytes);
    await client.has("HTTP/1.1 502 ");
    await upstream.close();
    expect(rig.path.tunnels.size).toBe(0);
  });

  test("a worker's refusal of a handshake is a plain response, and the connection stays open", async () => {
    const { worker, rig } = await startSimpleRig((head) =>
      head.includes("Upgrade")
        ? "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"
        : ok("plain"),
    );
    const client = await rig.send(upgrade());
    await client.has("\r\n\r\nno");
    client.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    await client.has("plain");
    expect(worker.connections).toHaveLength(1);
  });

  test("bytes behind a handshake are held until the worker agrees", async () => {
    const { client, upstream } = await startExchange(`${upgrade()}early`);
    client.write(" and more");
    await new Promise((resolve) => setImmediate(resolve));
    expect(upstream.text).toBe("");
    upstream.write(`${accepted()}hello`);
    await upstream.has("early and more");
    await client.has("\r\n\r\nhello");
  });

  test("a limited number of bytes behind a handshake is held, and none is lost", async () => {
    const { worker, rig } = await startRawRig();
    const client = await rig.send(upgrade());
    const size = 8 * 1024 * 1024;
    client.socket.write(Buffer.alloc(size, "e"));
    const upstream = await worker.withHead(0);
    await standsStill("the client is held back", () => client.socket.writableLength);
    expect(client.socket.writableLength).toBeGreaterThan(0);
    upstream.write(accepted());
    await until("all early bytes", () => upstream.text.length === size);
  });

  test("bytes behind a refused handshake are the next request", async () => {
    const { rig } = await startSimpleRig((head) =>
      head.includes("Upgrade")
        ? "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"
        : ok("next"),
    );
    const client = await rig.send(`${upgrade()}GET / HTTP/1.1\r\nHost: h\r\n\r\n`);
    await client.has("next");
  });

  test("a handshake is retried at another worker when the first refuses the connection", async () => {
    const worker = await startRawWorker((socket) => {
      if (socket.takeHead() !== undefined) socket.write(accepted());
    });
    const gone = await startRawWorker();
    await gone.close();
    const rig = await rigWith([workerRecord("gone", gone.port), workerRecord("w1", worker.port)]);
    const client = await rig.send(upgrade(`ctstickiness: ${keyFor(rig, "gone")}\r\n`));
    expect(await client.head()).toContain("101");
  });
});

describe("421 to a handshake", () => {
  async function pair() {
    const a = await startSimpleWorker(
      () =>
        "HTTP/1.1 421 Misdirected Request\r\nx-ct-owner: b\r\nx-ct-epoch: 5\r\nContent-Length: 0\r\n\r\n",
    );
    const b = await startRawWorker((socket) => {
      if (socket.takeHead() !== undefined) socket.write(accepted());
    });
    const recordA = workerRecord("a", a.port);
    const rig = await rigWith([recordA, workerRecord("b", b.port)]);
    return { a, b, rig, recordA };
  }

  test("a 421 to a handshake is followed to the owner, with the bytes behind it", async () => {
    const { rig, b } = await pair();
    const client = await rig.send(`${upgrade(`ctstickiness: ${keyFor(rig, "a")}\r\n`)}early`);
    expect(await client.head()).toContain("101");
    await (await b.connection(0)).has("early");
  });

  test("a 421 to a handshake with an engine.io id is passed to the client", async () => {
    const { rig, b, recordA } = await pair();
    const sid = taggedId(workerTag(recordA.id as WorkerId, recordA.incarnation));
    const client = await rig.send(upgrade("", `/socket.io/?transport=websocket&sid=${sid}`));
    expect(await client.head()).toContain("421 Misdirected Request");
    expect(b.connections).toHaveLength(0);
  });
});

describe("an open tunnel", () => {
  test("a tunnel copies any bytes both ways, in order", async () => {
    const { client, upstream } = await open();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    client.write(bytes);
    await until("all bytes at the worker", () => upstream.text === bytes.toString("latin1"));
    upstream.write(bytes);
    await until("all bytes at the client", () => client.text === bytes.toString("latin1"));
  });

  test("a tunnel copies 20 MiB each way at the same time", async () => {
    const { client, upstream } = await open();
    const size = 20 * 1024 * 1024;
    const block = Buffer.alloc(size);
    for (let at = 0; at < size; at += 4) block.writeUInt32LE((at * 2654435761) % 2 ** 32, at);
    client.socket.write(block);
    upstream.socket.write(block);
    await until("all of it", () => upstream.text.length === size && client.text.length === size);
    const digest = (data: Buffer) => createHash("sha256").update(data).digest("hex");
    expect(digest(Buffer.from(upstream.text, "latin1"))).toBe(digest(block));
    expect(digest(Buffer.from(client.text, "latin1"))).toBe(digest(block));
  }, 20_000);

  test("a tunnel pauses the worker while the client does not read", async () => {
    const { client, upstream } = await open();
    client.socket.pause();
    const size = 64 * 1024 * 1024;
    upstream.socket.write(Buffer.alloc(size, "x"));
    await standsStill("the worker is held back", () => upstream.socket.writableLength);
    expect(upstream.socket.writableLength).toBeGreaterThan(size / 4);
    client.socket.resume();
    await until("all of it", () => client.text.length === size);
  }, 20_000);

  test("a tunnel forwards the end of one side and leaves the other open", async () => {
    const { client, upstream, rig } = await open();
    client.socket.end("last words");
    await upstream.has("last words");
    await upstream.end();
    upstream.write("response");
    await client.has("response");
    upstream.socket.end(" the end");
    await client.has("response the end");
    await client.close();
    await expect.poll(() => rig.path.tunnels.size).toBe(0);
    expect(client.error).toBeUndefined();
  });

  test("a tunnel forwards a reset in both directions", async () => {
    const one = await open();
    one.client.socket.resetAndDestroy();
    await one.upstream.close();
    expect(one.upstream.error).toBe("ECONNRESET");
    const other = await open();
    other.upstream.socket.resetAndDestroy();
    await other.client.close();
    expect(other.client.error).toBe("ECONNRESET");
  });

  test("a tunnel outlives every time limit", async () => {
    const { worker, rig } = await startRawRig(
      (socket) => {
        if (socket.takeHead() !== undefined) socket.write(accepted());
      },
      {
        limits: {
          headerTimeoutMs: 100,
          bodyTimeoutMs: 100,
          keepaliveTimeoutMs: 100,
          upstreamTimeoutMs: 100,
        },
      },
    );
    const client = await rig.send(upgrade());
    await client.head();
    // Idle connections are closed meanwhile: the limits work.
    for (let i = 0; i < 2; i++) await (await rig.client()).end();
    client.write("still here");
    await (await worker.connection(0)).has("still here");
    expect(client.ended).toBe(false);
  });

  test("a tunnel ends when its worker has left the membership", async () => {
    const { client, upstream, rig } = await open();
    rig.view.set([]);
    await client.end();
    await upstream.end();
    // Neither side ends by itself here, so both are closed.
    await expect.poll(() => rig.path.tunnels.size, { timeout: 5000 }).toBe(0);
  });

  test("a tunnel ends at once when its worker agreed after it left the membership", async () => {
    const { client, upstream, rig } = await startExchange(upgrade());
    rig.view.set([]);
    upstream.write(accepted());
    expect(await client.head()).toContain("101 Switching");
    await client.end();
  });

  test("a tunnel ends when its session continues in a higher epoch", async () => {
    const { client, rig } = await open(`x-ct-session: ${SESSION}\r\nx-ct-epoch: 3\r\n`);
    rig.path.router.learn(SESSION, "w2" as WorkerId, 2);
    expect(client.ended).toBe(false);
    rig.path.router.learn(SESSION, "w2" as WorkerId, 4);
    await client.end();
  });

  test("a tunnel counts as load of its worker until it ends", async () => {
    const { client, upstream, rig } = await open();
    expect(rig.path.router.upstreams[0]?.inFlight).toBe(1);
    client.socket.destroy();
    await upstream.end();
    upstream.socket.destroy();
    await expect.poll(() => rig.path.router.upstreams[0]?.inFlight).toBe(0);
  });
});
