import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { join } from "node:path";
import { request } from "undici";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { buildOnce } from "../support/build.ts";
import { makeCertificate } from "../support/certificates.ts";
import { launch, type Member, type ProcessOptions, type Run } from "../support/cluster.ts";
import { watchMachine } from "../support/machine.ts";
import { listen } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { until } from "../support/until.ts";
import { cpuMs, residentBytes } from "./memory.ts";

const machine = watchMachine();

const MIB = 1024 * 1024;
const LARGE = Buffer.alloc(64 * MIB, "0123456789abcdef");

let folder: string;
const worker = createServer((req, res) => {
  if (req.url === "/large") res.end(LARGE);
  else res.end("fine");
});
const clients: Socket[] = [];
let run: Run;

beforeAll(async () => {
  await buildOnce();
  folder = tempFolder();
  const made = await makeCertificate();
  await writeFile(join(folder, "cert.pem"), made.cert);
  await writeFile(join(folder, "key.pem"), made.key);
  await listen(worker);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
});

/** Starts the balancer as a separate process. */
async function start(options: ProcessOptions = {}): Promise<Member> {
  const { port } = worker.address() as AddressInfo;
  const env = {
    CT_WORKERS: `127.0.0.1:${port}`,
    CT_TLS_CERT: join(folder, "cert.pem"),
    CT_TLS_KEY: join(folder, "key.pem"),
    ...options.env,
  };
  run = launch("balancer", { ...options, env });
  return run.ready();
}

/** Opens a connection until the end of the test. */
function hold(port: number, bytes = ""): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(bytes);
  clients.push(socket);
  return socket;
}

async function requestMs(url: string): Promise<number> {
  const startMs = performance.now();
  const { statusCode, body } = await request(url, { reset: true });
  await body.dump();
  expect(statusCode).toBe(200);
  return performance.now() - startMs;
}

function p99(tookMs: readonly number[]): number {
  const sorted = [...tookMs].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

describe("a crowd of hostile clients", () => {
  test("500 slow clients and 100 stalled handshakes do not delay others, and are closed in time", async () => {
    const limitMs = 2000;
    const balancer = await start({
      env: { CT_HEADER_TIMEOUT_MS: String(limitMs) },
    });
    const { tlsPort } = balancer;
    const beganMs = performance.now();
    const tookMs: number[] = [];
    function stall(port: number, bytes: string): void {
      const socket = hold(port, bytes);
      let sinceMs = performance.now();
      socket.once("connect", () => {
        sinceMs = performance.now();
      });
      const dripping = setInterval(() => socket.write("x"), 400);
      socket.resume();
      socket.once("close", () => {
        clearInterval(dripping);
        tookMs.push(performance.now() - sinceMs);
      });
    }
    for (let i = 0; i < 500; i++) stall(balancer.port, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
    for (let i = 0; i < 100; i++) stall(tlsPort, "\x16\x03\x01\x02\x00\x01");
    let slowestMs = 0;
    while (tookMs.length < 600) slowestMs = Math.max(slowestMs, await requestMs(balancer.url));
    expect(slowestMs).toBeLessThan(machine.limitMs(beganMs, { promisedMs: 1000 }));
    const closed = { promisedMs: limitMs + 3000, waitsMs: limitMs };
    expect(Math.max(...tookMs)).toBeLessThan(machine.limitMs(beganMs, closed));
  }, 60_000);

  test("a balancer without free descriptors responds 503, stays idle, and recovers", async () => {
    const balancer = await start({ descriptors: 256 });
    const pid = run.child.pid ?? 0;
    let answered = 0;
    for (let i = 0; i < 400; i++) {
      const socket = hold(balancer.port);
      socket.once("data", (bytes) => {
        if (bytes.toString().startsWith("HTTP/1.1 503 ")) answered++;
      });
    }
    await until("some clients get 503", () => answered > 0);
    const beforeCpuMs = cpuMs(pid);
    const beforeMs = performance.now();
    await until("two seconds have passed", () => performance.now() - beforeMs > 2000);
    expect(cpuMs(pid) - beforeCpuMs).toBeLessThan((performance.now() - beforeMs) / 2);
    expect(run.child.exitCode).toBeNull();
    const releasedMs = performance.now();
    for (const client of clients.splice(0)) client.destroy();
    await until("the balancer serves again", async () => (await requestMs(balancer.url)) > 0);
    expect(performance.now() - releasedMs).toBeLessThan(
      machine.limitMs(releasedMs, { promisedMs: 3000 }),
    );
  }, 60_000);

  test("64 MiB to a slow reader arrive complete, with bounded memory, and do not delay others", async () => {
    const balancer = await start();
    const pid = run.child.pid ?? 0;
    const before: number[] = [];
    for (let i = 0; i < 200; i++) before.push(await requestMs(balancer.url));
    const during: number[] = [];
    const startBytes = residentBytes(pid);
    let peakBytes = startBytes;
    const slow = hold(balancer.port, "GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    slow.pause();
    const parts: Buffer[] = [];
    slow.on("data", (bytes: Buffer) => {
      parts.push(bytes);
      slow.pause();
      setTimeout(() => slow.resume(), 1);
    });
    const ended = once(slow, "end");
    let isOver = false;
    void ended.then(() => {
      isOver = true;
    });
    for (let i = 0; i < 200; i++) {
      during.push(await requestMs(balancer.url));
      peakBytes = Math.max(peakBytes, residentBytes(pid));
    }
    slow.resume();
    while (!isOver) {
      during.push(await requestMs(balancer.url));
      peakBytes = Math.max(peakBytes, residentBytes(pid));
    }
    const all = Buffer.concat(parts);
    expect(all.subarray(all.indexOf("\r\n\r\n") + 4).equals(LARGE)).toBe(true);
    expect(peakBytes - startBytes).toBeLessThan(64 * MIB);
    // On a loaded machine the limit is relative to the time before.
    expect(p99(during)).toBeLessThan(Math.max(100, 3 * p99(before)));
  }, 60_000);
});
