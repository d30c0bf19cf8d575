/**
 * Does memory grow? Requests and WebSockets with churn for minutes, through a balancer with a fixed list of three workers:
 * memory after a garbage collection each minute, and open descriptors at the start and at the end.
 *
 * `TUNNELS_MINUTES` (10), `TUNNELS_REQUESTS` per second (1,000) and `TUNNELS_OPEN` (1,000) set duration and load.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Agent, request } from "undici";
import { buildOnce } from "../test/support/build.ts";
import { freePort } from "../test/support/ports.ts";
import { start } from "./support/process.ts";
import { type Result, writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const MINUTES = size("TUNNELS_MINUTES", { long: 10, short: 0.25 });
const REQUESTS = size("TUNNELS_REQUESTS", { long: 1000, short: 1000 });
const TUNNELS = size("TUNNELS_OPEN", { long: 1000, short: 1000 });
/** One a minute, or three in less. */
const SAMPLES = Math.max(3, MINUTES);
const SAMPLE_MS = (MINUTES * 60_000) / SAMPLES;
/** WebSockets, and connections of requests, that are closed and reopened each second. */
const CHURN = 20;
const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

export async function run(): Promise<void> {
  await buildOnce();
  const folder = mkdtempSync(join(tmpdir(), "edge-tunnels-"));
  const ports = [await freePort(), await freePort(), await freePort()];
  const workers = await start({
    command: [
      "node",
      "--import",
      "tsx",
      fileURLToPath(new URL("./support/workers.ts", import.meta.url)),
      ...ports.map(String),
    ],
    core: undefined,
    port: ports[0] ?? 0,
  });
  const balancer = await startBalancer(ports, folder);
  try {
    writeResults("tunnels", await load(balancer));
  } finally {
    balancer.child.kill("SIGKILL");
    await workers.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Balancer {
  readonly child: ChildProcess;
  readonly port: number;
}

/** SIGUSR2 makes the process collect garbage, which is not growth. */
async function startBalancer(workers: readonly number[], folder: string): Promise<Balancer> {
  const port = await freePort();
  const child = fork(fileURLToPath(new URL("../dist/balancer/main.js", import.meta.url)), [], {
    execArgv: [
      "--expose-gc",
      "--import",
      "data:text/javascript,process.on('SIGUSR2',()=>{globalThis.gc();globalThis.gc()})",
    ],
    env: {
      PATH: process.env["PATH"] ?? "",
      CT_BIND: "127.0.0.1",
      CT_PORT: String(port),
      CT_STATUS_PORT: "0",
      CT_LOG_DIR: folder,
      CT_DATA_DIR: folder,
      CT_WORKERS: workers.map((worker) => `127.0.0.1:${worker}`).join(","),
    },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  await once(child, "message");
  return { child, port };
}

async function load({ child, port }: Balancer): Promise<Result[]> {
  const pid = child.pid ?? 0;
  const descriptorsAtStart = descriptorsOf(pid);
  const agent = new Agent({ connections: 100, pipelining: 1 });
  const tunnels: Socket[] = [];
  let sent = 0;
  let failed = 0;
  let broken = 0;

  function sendRequest(): void {
    // Some requests close their connection.
    const key = sent % 5000;
    const reset = sent++ % Math.round(REQUESTS / CHURN) === 0;
    request(`http://127.0.0.1:${port}/small`, {
      dispatcher: agent,
      reset,
      headers: { ctstickiness: `key-${key}` },
    })
      .then(({ statusCode, body }) => {
        if (statusCode !== 200) failed++;
        return body.dump();
      })
      .catch(() => failed++);
  }

  function open(index: number): void {
    const socket = connect(port, "127.0.0.1");
    tunnels[index] = socket;
    socket.on("error", () => {});
    socket.write(`${HANDSHAKE}ctstickiness: key-${index}\r\n\r\n`);
    socket.resume();
    socket.once("close", () => {
      if (tunnels[index] === socket) broken++;
    });
  }

  for (let i = 0; i < TUNNELS; i++) open(i);
  const startMs = performance.now();
  let next = 0;
  const sending = setInterval(() => {
    const due = ((performance.now() - startMs) / 1000) * REQUESTS;
    while (sent < due) sendRequest();
  }, 5);
  const churn = setInterval(() => {
    for (let i = 0; i < CHURN && TUNNELS > 0; i++) {
      const index = next++ % TUNNELS;
      const old = tunnels[index];
      open(index);
      // Half of them close gracefully, half with a reset.
      if (i % 2 === 0) old?.end();
      else old?.resetAndDestroy();
    }
    for (const tunnel of tunnels) tunnel.write("ping");
  }, 1000);

  process.stdout.write("minute  memory MiB  descriptors  requests  failed  tunnels broken\n");
  const memory: number[] = [];
  for (let sample = 1; sample <= SAMPLES; sample++) {
    await delay(Math.max(0, startMs + sample * SAMPLE_MS - performance.now()));
    child.kill("SIGUSR2");
    await delay(500);
    memory.push(residentMib(pid));
    process.stdout.write(
      `${((sample * SAMPLE_MS) / 60_000).toFixed(1).padEnd(8)}${(memory.at(-1) ?? 0).toFixed(1).padEnd(12)}${String(descriptorsOf(pid)).padEnd(13)}${String(sent).padEnd(10)}${String(failed).padEnd(8)}${broken}\n`,
    );
  }
  clearInterval(sending);
  clearInterval(churn);
  for (const tunnel of tunnels.splice(0)) tunnel.destroy();
  await agent.close();
  await delay(5000);
  const growth = ((memory.at(-1) ?? 0) / (memory[1] ?? 1) - 1) * 100;
  const descriptorsAtEnd = descriptorsOf(pid);
  process.stdout.write(
    `memory from the second sample to the last: ${growth.toFixed(1)} %; descriptors at the start ${descriptorsAtStart}, at the end ${descriptorsAtEnd}\n`,
  );
  return [
    figure("duration", "minutes", MINUTES),
    figure("requests", "requests", sent),
    figure("failed requests (limit 0)", "requests", failed),
    figure("WebSockets broken (limit 0)", "WebSockets", broken),
    figure("memory after a collection, at the end", "MiB", memory.at(-1) ?? Number.NaN),
    figure("memory, growth since the second sample", "%", growth),
    figure("descriptors at the start", "descriptors", descriptorsAtStart),
    figure("descriptors at the end, without clients", "descriptors", descriptorsAtEnd),
  ];
}

function figure(question: string, unit: string, value: number): Result {
  return { question, unit, figures: { ours: summarize([value]) } };
}

function residentMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kib) / 1024;
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
