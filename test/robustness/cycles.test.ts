import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { beforeAll, expect, test } from "vitest";
import { type Rig, startRig, workerRecord } from "../balancer/rig.ts";
import { get, head, post, upgrade } from "../conformance/case.ts";
import { listen } from "../support/servers.ts";
import { holdings } from "./memory.ts";

const CYCLES = 10_000;
const AT_A_TIME = 50;
/** Cycles until one-time allocations are done and the code is compiled. */
const WARM_UP = 2000;

let rig: Rig;
const open = new Set<Socket>();
/** Stores nothing, unlike the workers of other tests. */
const worker = createServer((socket) => {
  open.add(socket);
  socket.once("close", () => open.delete(socket));
  socket.on("error", () => {});
  socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"));
});

beforeAll(async () => {
  const port = await listen(worker);
  rig = await startRig({
    workers: [workerRecord("w1", port)],
    probe: { async ask() {} },
  });
});

/** Bytes that clients send before they disconnect: none, parts and complete requests. */
const INPUTS = [
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
  const input = INPUTS[index % INPUTS.length] ?? "";
  if (input !== "") await new Promise<void>((resolve) => socket.write(input, () => resolve()));
  // Some wait for the first bytes of a response; some close gracefully, some with a reset.
  if (index % 3 === 0 && input.endsWith("\r\n\r\n")) await once(socket, "readable").catch(() => {});
  if (index % 2 === 0) socket.resetAndDestroy();
  socket.destroy();
}

async function cycles(count: number): Promise<void> {
  for (let done = 0; done < count; done += AT_A_TIME) {
    await Promise.all(Array.from({ length: AT_A_TIME }, (_, i) => cycle(done + i)));
  }
  await rig.idle();
}

test("10,000 clients that connect and disconnect leak nothing", async () => {
  await cycles(WARM_UP);
  const before = holdings();
  await cycles(CYCLES);
  const after = holdings();
  expect(rig.bugs).toEqual([]);
  // The number of idle connections to the worker varies.
  expect(after.descriptors - before.descriptors).toBeLessThanOrEqual(AT_A_TIME);
  expect(after.handles - before.handles).toBeLessThanOrEqual(AT_A_TIME);
  // Less than 300 bytes per cycle: a leaked socket takes several thousand.
  expect(after.heap - before.heap).toBeLessThan(CYCLES * 300);
}, 120_000);
