import { expect, test } from "vitest";
import { spreadMs } from "../../../balancer/server/shutdown.ts";
import type { MigrateRequests } from "../../../balancer/upstreams/migrate-clients.ts";
import { atEnd } from "../../support/at-end.ts";
import { connectRaw, type RawSocket } from "../../support/sockets.ts";
import { until } from "../../support/until.ts";
import {
  ok,
  type RawWorker,
  type Rig,
  startRawWorker,
  startRig,
  startSimpleWorker,
  workerRecord,
} from "../rig.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const UPGRADE =
  "GET /socket.io/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

function rigOver(worker: RawWorker, migrateRequests?: MigrateRequests): Promise<Rig> {
  return startRig({
    workers: [workerRecord("w1", worker.port)],
    ...(migrateRequests && { migrateRequests }),
  });
}

/** Open tunnels: the clients' ends, the worker's in the same order, and the ids of the requests. */
async function tunnels(count: number, migrateRequests?: MigrateRequests) {
  const ids: string[] = [];
  const worker = await startRawWorker((socket) => {
    const head = socket.takeHead();
    if (head === undefined) return;
    ids.push(/^x-request-id: (.*)$/im.exec(head)?.[1] ?? "");
    socket.write(SWITCHED);
  });
  const rig = await rigOver(worker, migrateRequests);
  const clients: RawSocket[] = [];
  for (let i = 0; i < count; i++) {
    const client = await rig.send(UPGRADE);
    await client.head();
    clients.push(client);
  }
  return { rig, worker, clients, ids };
}

function isRefused(port: number): Promise<boolean> {
  return connectRaw(port).then(
    ({ socket }) => {
      socket.destroy();
      return false;
    },
    () => true,
  );
}

test("tunnels migrate at 100 a second, in at most 30 s and within the timeout", () => {
  expect(spreadMs(0, 60_000)).toBe(0);
  expect(spreadMs(100, 60_000)).toBe(1000);
  expect(spreadMs(3000, 60_000)).toBe(30_000);
  expect(spreadMs(20_000, 60_000)).toBe(30_000);
  expect(spreadMs(3000, 10_000)).toBe(8000);
  expect(spreadMs(3000, 0)).toBe(0);
});

test("a graceful shutdown first fails health checks and still serves requests", async () => {
  const rig = await rigOver(await startSimpleWorker(() => ok("served")));
  const health = "GET /ct-health/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  expect(await rig.ask(health)).toMatch(/^HTTP\/1.1 200 /);
  void rig.path.shutDown({ delayMs: 60_000, timeoutMs: 60_000 });
  const response = await rig.ask(health);
  expect(response).toMatch(/^HTTP\/1.1 503 /);
  expect(response).toContain('{"status":"leaving"}');
  expect(rig.path.drainState).toEqual({ isAnnounced: true, hasBegun: false });
  const client = await rig.client();
  for (let i = 0; i < 2; i++) {
    client.write(GET);
    const head = await client.head();
    expect(head).toMatch(/^HTTP\/1.1 200 /);
    expect(head).not.toContain("Connection: close");
    await client.has("served");
    client.text = "";
  }
});

test("during a graceful shutdown a request on a kept connection gets a response that closes it", async () => {
  const rig = await rigOver(await startSimpleWorker(() => ok("served")));
  const client = await rig.send(GET);
  await client.has("served");
  client.text = "";
  const left = rig.path.shutDown({ delayMs: 0, timeoutMs: 60_000 });
  await until("the departure", () => rig.path.drainState.hasBegun);
  expect(await isRefused(rig.port)).toBe(true);
  client.write(GET);
  const head = await client.head();
  expect(head).toMatch(/^HTTP\/1.1 200 /);
  expect(head).toContain("Connection: close");
  await client.has("served");
  await client.end();
  client.socket.end();
  await left;
});

test("requests under way at a graceful shutdown get their responses, however long they take", async () => {
  const asked: RawSocket[] = [];
  const worker = await startRawWorker((socket) => {
    while (socket.takeHead() !== undefined) {
      // The test responds to the first two.
      if (asked.push(socket) > 2) socket.write(ok("more"));
    }
  });
  const rig = await rigOver(worker);
  const [waiting, reading] = [await rig.client(), await rig.client()];
  waiting.write(GET);
  await until("the first request", () => asked.length === 1);
  reading.write(GET);
  await until("the second request", () => asked.length === 2);
  asked[1]?.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
  await reading.has("ha");

  const left = rig.path.shutDown({ delayMs: 0, timeoutMs: 60_000 });
  await until("the departure", () => rig.path.drainState.hasBegun);
  asked[1]?.write("lf");
  await reading.has("half");
  asked[0]?.write(ok("all"));
  await waiting.has("all");
  expect(waiting.text).toContain("Connection: close");
  await waiting.end();
  waiting.socket.end();

  // Its response did not announce the end of the connection.
  reading.text = "";
  reading.write(GET);
  await reading.has("more");
  expect(reading.text).toContain("Connection: close");
  await reading.end();
  reading.socket.end();
  await left;
});

test("without migrate support tunnels end one after the other by FIN, and what clients still send is relayed", async () => {
  const { rig, worker, clients } = await tunnels(20);
  const [first] = clients as [RawSocket];
  const beganMs = performance.now();
  const left = rig.path.shutDown({ delayMs: 0, timeoutMs: 60_000 });
  await first.end();
  // Not all at once: 20 take 200 ms, and the last one is due after 19/20 of that.
  first.write("the tail");
  const upstream = await worker.connection(0);
  await upstream.has("the tail");
  expect(upstream.ended).toBe(false);
  first.socket.end();
  await upstream.end();
  upstream.socket.end();
  for (const [index, client] of clients.entries()) {
    await client.end();
    expect(client.error).toBeUndefined();
    client.socket.end();
    const other = await worker.connection(index);
    await other.end();
    other.socket.end();
  }
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(190);
  await left;
  expect(rig.path.tunnels.size).toBe(0);
});

test("workers are asked to migrate their clients, one after the other, and what both still send is relayed", async () => {
  const asked: { worker: string; which: readonly string[]; ms: number }[] = [];
  const { rig, worker, clients, ids } = await tunnels(20, async ({ record }, which) => {
    asked.push({ worker: record.id, which, ms: performance.now() });
  });
  const beganMs = performance.now();
  const left = rig.path.shutDown({ delayMs: 0, timeoutMs: 60_000 });
  await until("all are asked for", () => asked.flatMap(({ which }) => which).length === 20);
  expect(asked.flatMap(({ which }) => which)).toEqual(ids);
  expect((asked.at(-1)?.ms ?? 0) - beganMs).toBeGreaterThanOrEqual(190);
  expect(asked.length).toBeGreaterThan(1);
  expect(new Set(asked.map((one) => one.worker))).toEqual(new Set(["w1"]));

  for (const [index, client] of clients.entries()) {
    // The worker has migrated them; each side sends something before its end.
    const upstream = await worker.connection(index);
    upstream.write("last frame");
    await client.has("last frame");
    client.write("the tail");
    client.socket.end();
    await upstream.has("the tail");
    await upstream.end();
    upstream.socket.end();
  }
  await left;
  expect(rig.path.tunnels.size).toBe(0);
});

test("a client that its worker does not migrate in time is ended by FIN", async () => {
  const { rig, worker, clients } = await tunnels(1, async () => {});
  const [client] = clients as [RawSocket];
  const beganMs = performance.now();
  // The grace period is a tenth of the timeout.
  const left = rig.path.shutDown({ delayMs: 0, timeoutMs: 5000 });
  await client.end();
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(490);
  client.socket.end();
  const upstream = await worker.connection(0);
  await upstream.end();
  upstream.socket.end();
  await left;
});

test("a worker that keeps sending does not keep a tunnel open whose client has gone", async () => {
  const { rig, worker, clients } = await tunnels(1);
  const [client] = clients as [RawSocket];
  const upstream = await worker.connection(0);
  client.socket.once("end", () => client.socket.end());
  const talk = setInterval(() => upstream.write("x".repeat(1000)), 1);
  atEnd(() => clearInterval(talk));
  const left = rig.path.shutDown({ delayMs: 0, timeoutMs: 60_000 });
  await upstream.end();
  clearInterval(talk);
  upstream.socket.end();
  await left;
});

test("a graceful shutdown takes no longer than its timeout", async () => {
  const worker = await startRawWorker();
  const rig = await rigOver(worker);
  await rig.send(GET);
  await (await worker.connection(0)).head();
  await rig.path.shutDown({ delayMs: 0, timeoutMs: 100 });
  expect(rig.path.listener.connections).toBe(1);
});
