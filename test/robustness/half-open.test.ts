import { afterEach, expect, test } from "vitest";
import {
  type RawWorker,
  type Rig,
  startRawWorker,
  startRig,
  workerRecord,
} from "../balancer/rig.ts";
import { get, head, ok, switching, upgrade } from "../conformance/case.ts";
import { until } from "../support/until.ts";

let worker: RawWorker;
let rig: Rig;

async function start(): Promise<void> {
  worker = await startRawWorker();
  rig = await startRig({
    workers: [workerRecord("w1", worker.port)],
    limits: { bodyTimeoutMs: 500, upstreamTimeoutMs: 500 },
    probe: { async ask() {} },
  });
}

afterEach(async () => {
  expect(rig.bugs).toEqual([]);
});

test("a tunnel whose client has sent FIN still forwards the bytes of the worker", async () => {
  await start();
  const client = await rig.send(upgrade());
  const upstream = await worker.withHead(0);
  upstream.write(switching());
  await client.head();
  client.socket.end("last words");
  await upstream.has("last words");
  await upstream.end();
  const rest = "r".repeat(1_000_000);
  upstream.write(rest);
  await until("the rest", () => client.text.length === rest.length);
  upstream.socket.end();
  await client.close();
  await until("the end of the tunnel", () => rig.path.tunnels.size === 0);
});

test("a client that only ends its own side does not keep its connection open", async () => {
  await start();
  const client = await rig.send(get());
  const upstream = await worker.withHead(0);
  client.socket.end();
  upstream.write(ok("fine"));
  await client.has("fine");
  await until("the end of the connection", () => rig.path.listener.connections === 0);
});

test("a worker that ends its side within a response ends the client's connection immediately", async () => {
  await start();
  const client = await rig.send(get());
  const upstream = await worker.withHead(0);
  upstream.write(`${head("HTTP/1.1 200 OK", "Content-Length: 10")}half`);
  upstream.socket.end();
  await client.close();
  expect(client.text.endsWith("half")).toBe(true);
  await upstream.close();
});

test("a worker that ends its side during the request body fails the request", async () => {
  await start();
  const client = await rig.send(`${head("POST / HTTP/1.1", "Host: h", "Content-Length: 10")}half`);
  const upstream = await worker.connection(0);
  await upstream.has("half");
  upstream.socket.end();
  await client.has("HTTP/1.1 502 ");
  await upstream.close();
});
