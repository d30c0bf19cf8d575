import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Rig, startRig, workerRecord } from "../balancer/rig.ts";
import { get, head, post, upgrade } from "../conformance/case.ts";
import { until } from "../support/until.ts";
import { holdings } from "./memory.ts";

const CYCLES = 10_000;
const AT_A_TIME = 50;
/** Until the parts that are made once are there, and the compiler has settled. */
const WARM_UP = 2000;

let rig: Rig;
const open = new Set<Socket>();
/** Keeps nothing, unlike the workers of other tests. */
const worker = createServer((socket) => {
  open.add(socket);
  socket.once("close", () => open.delete(socket));
  socket.on("error", () => {});
  socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"));
});

beforeAll(async () => {
  worker.listen(0, "127.0.0.1");
  await once(worker, "listening");
  rig = await startRig({
    workers: [workerRecord("w1", (worker.address() as AddressInfo).port)],
    probe: { async ask() {} },
  });
});

afterAll(async () => {
  await rig.close();
  for (const socket of open) socket.destroy();
  worker.close();
});

/** What clients say before they go: nothing, parts and wholes. */
const SAID = [
  "",
  "GET / HTTP/1.1\r\nHo",
  get(),
  post("half", "Content-Length: 100"),
  upgrade(),
  head("GET / HTTP/1.1", "Host: a b"),
  get() + get() + get(),
] as const;

async function cycle(index: number): Promise<void> {
  const socket = connect(rig.port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  const said = SAID[index % SAID.length] ?? "";
  if (said !== "") await new Promise<void>((resolve) => socket.write(said, () => resolve()));
  // Some wait for the first bytes of an answer, some do not; some go with a word, some without.
  if (index % 3 === 0 && said.endsWith("\r\n\r\n")) await once(socket, "readable").catch(() => {});
  if (index % 2 === 0) socket.resetAndDestroy();
  socket.destroy();
}

async function cycles(count: number): Promise<void> {
  for (let done = 0; done < count; done += AT_A_TIME) {
    await Promise.all(Array.from({ length: AT_A_TIME }, (_, i) => cycle(done + i)));
  }
  await until("all connections have ended", () => rig.path.listener.connections === 0);
  await until("all requests have ended", () =>
    rig.path.directory.upstreams.every(({ inFlight }) => inFlight === 0),
  );
}

test("10,000 clients that come and go leave nothing behind", async () => {
  await cycles(WARM_UP);
  const before = holdings();
  await cycles(CYCLES);
  const after = holdings();
  expect(rig.bugs).toEqual([]);
  // Connections to the worker that are kept for the next request come and go.
  expect(after.descriptors - before.descriptors).toBeLessThanOrEqual(AT_A_TIME);
  expect(after.handles - before.handles).toBeLessThanOrEqual(AT_A_TIME);
  // Less than 300 bytes a cycle: one forgotten socket has some thousand.
  expect(after.heap - before.heap).toBeLessThan(CYCLES * 300);
}, 120_000);
