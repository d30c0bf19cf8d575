/**
 * What do downloads of plugins cost a worker? A 20 MiB file compared with nginx without sendfile on the same core, in
 * interleaved rounds; memory during 200 concurrent downloads; scanning a folder of 500 plugins (5 GB); requests to its indexes.
 *
 * `BENCH_ROUNDS` and `BENCH_SECONDS` reduce the duration.
 */
import { once } from "node:events";
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { Agent, request } from "undici";
import { systemClock } from "../shared/base/clock.ts";
import { createLog } from "../shared/logs/log.ts";
import { startStoreServer } from "../shared/store/embedded/server.ts";
import { pluginZip, put, vsix } from "../test/support/plugins.ts";
import { freePort } from "../test/support/ports.ts";
import { until } from "../test/support/until.ts";
import { createScanner } from "../worker/clients/formats/scan.ts";
import { wrk } from "./support/load.ts";
import { CORES, type Program, start } from "./support/process.ts";
import { type Result, writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 1 });
const SECONDS = size("BENCH_SECONDS", { long: 4, short: 1 });
const MIB = 1024 * 1024;
const FILE_MIB = 20;
const PARALLEL = 200;
const PLUGINS = size("DOWNLOADS_PLUGINS", { long: 500, short: 100 });
const PLUGIN_BYTES = 10_000_000;
const INDEX_REQUESTS = size("DOWNLOADS_REQUESTS", { long: 2000, short: 300 });

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-downloads-"));
  const silent = { write: () => {} };
  const log = createLog({ name: "bench", level: "error", format: "text", sink: silent });
  const store = await startStoreServer({ dataDir: join(folder, "store"), clock: systemClock, log });
  const worker = (clientsDir: string) =>
    startWorker({ folder, clientsDir, storeSocket: store.socketPath });
  const results: Result[] = [];
  try {
    results.push(...(await compareFiles(folder, worker)));
    results.push(...(await readManyPlugins(folder, worker)));
    writeResults("downloads", results);
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Server {
  readonly name: string;
  readonly port: number;
  readonly path: string;
  readonly program: Program;
}

type StartWorker = (clientsDir: string) => Promise<{ port: number; program: Program }>;

// --- one large file ---

async function compareFiles(folder: string, worker: StartWorker): Promise<Result[]> {
  const clients = join(folder, "one");
  const bytes = await vsix({
    stored: { "extension/data": Buffer.alloc(FILE_MIB * MIB - 4096, "data") },
  });
  put(clients, "vscode/large.vsix", bytes);
  put(clients, "nginx/large.vsix", bytes);
  const ours = await worker(clients);
  const servers: Server[] = [{ name: "ours", path: "/clients/vscode/large.vsix", ...ours }];
  const nginx = await startNginx(folder, join(clients, "nginx"));
  if (nginx === undefined)
    process.stdout.write("nginx is not installed, so there is no comparison\n");
  else servers.push(nginx);
  const results: Result[] = [];
  try {
    await offered(ours.port, "/clients/vscode/large.vsix");
    const speed = new Map<string, number[]>();
    const cost = new Map<string, number[]>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const { name, port, path, program } of servers) {
        const before = program.cpuNs();
        const startMs = performance.now();
        const files = await wrk({ port, path, connections: 16, seconds: SECONDS });
        const mib = files * FILE_MIB;
        push(speed, name, mib / ((performance.now() - startMs) / 1000));
        push(cost, name, (program.cpuNs() - before) / 1000 / mib);
      }
    }
    results.push(
      report("20 MiB file, throughput", "MiB/s", speed, (ours, peer) => ours / peer),
      report("20 MiB file, CPU", "µs CPU per MiB", cost, (ours, peer) => peer / ours),
      await memoryOfDownloads(ours),
    );
  } finally {
    for (const { program } of servers) await program.end();
  }
  return results;
}

/** Private memory of the worker: idle, and the peak during 200 slow downloads, over several rounds. */
async function memoryOfDownloads(worker: { port: number; program: Program }): Promise<Result> {
  const idle = worker.program.privateBytes() / MIB;
  const peaks: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const sockets = Array.from({ length: PARALLEL }, () => slowDownload(worker.port));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    let peak = 0;
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      peak = Math.max(peak, worker.program.privateBytes() / MIB);
    }
    peaks.push(peak);
    for (const socket of sockets) socket.destroy();
  }
  const figures = new Map([
    ["idle", [idle]],
    [`${PARALLEL} downloads`, peaks],
  ]);
  return report("memory of 200 slow downloads", "MiB", figures);
}

/** Alternates between reading and pausing, so the server must wait rather than buffer. */
function slowDownload(port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write("GET /clients/vscode/large.vsix HTTP/1.1\r\nHost: bench\r\n\r\n");
  socket.on("data", () => {
    socket.pause();
    setTimeout(() => socket.resume(), 50).unref();
  });
  return socket;
}

// --- many plugins ---

async function readManyPlugins(folder: string, worker: StartWorker): Promise<Result[]> {
  const clients = join(folder, "many");
  process.stdout.write(`creating ${PLUGINS} plugins of ${PLUGIN_BYTES / 1e6} MB each…\n`);
  await makePlugins(clients);
  const cold: number[] = [];
  const warm: number[] = [];
  const blocked: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const clock = { wallMs: () => Date.now() + 60_000, nowMs: () => performance.now() };
    const scanner = createScanner({ folder: clients, clock });
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    cold.push(await timed(() => expectAll(scanner)));
    delay.disable();
    blocked.push(delay.max / 1e6);
    warm.push(await timed(() => expectAll(scanner)));
  }
  const { port, program } = await worker(clients);
  try {
    await until(
      "all plugins are offered",
      async () => {
        const { body } = await request(
          `http://127.0.0.1:${port}/clients/intellij/updatePlugins.xml`,
        );
        return (await body.text()).split("<plugin ").length === PLUGINS / 2 + 1;
      },
      60_000,
    );
    return [
      report(`${PLUGINS} plugins, first scan`, "ms", new Map([["ours", cold]])),
      report(`${PLUGINS} plugins, scanned again`, "ms", new Map([["ours", warm]])),
      report("longest block of the event loop meanwhile", "ms", new Map([["ours", blocked]])),
      await measureRequests(
        "updatePlugins.xml",
        port,
        "GET",
        "/clients/intellij/updatePlugins.xml?build=IU-242.1",
      ),
      await measureRequests(
        "extensionquery",
        port,
        "POST",
        "/clients/vscode/gallery/extensionquery",
        {
          filters: [
            {
              criteria: [
                { filterType: 8, value: "Microsoft.VisualStudio.Code" },
                { filterType: 10, value: "collab" },
                { filterType: 12, value: "4096" },
              ],
              pageNumber: 1,
              pageSize: 50,
            },
          ],
          flags: 950,
        },
      ),
      await measureRequests("the page", port, "GET", "/clients"),
    ];
  } finally {
    await program.end();
  }
}

async function expectAll(scanner: ReturnType<typeof createScanner>): Promise<void> {
  const { offer } = await scanner.scan();
  const count = offer.vscode.length + offer.intellij.length;
  if (count !== PLUGINS) throw new Error(`only ${count} are offered: ${offer.problems[0]?.reason}`);
}

/** Half of them are extensions and half plugins. Most of each file is a hole, so that the disk is not filled. */
async function makePlugins(clients: string): Promise<void> {
  mkdirSync(join(clients, "vscode"), { recursive: true });
  mkdirSync(join(clients, "intellij"), { recursive: true });
  const bulk = Buffer.alloc(PLUGIN_BYTES);
  for (let i = 0; i < PLUGINS / 2; i++) {
    const about = { name: `collab-${i}`, version: `1.${i}.0`, displayName: `Collab ${i}` };
    const extension = await vsix({ ...about, stored: { "extension/bulk": bulk } });
    writeWithHoles(join(clients, "vscode", `${i}.vsix`), extension);
    const plugin = await pluginZip({
      id: `com.acme.collab${i}`,
      version: `1.${i}`,
      since: "231",
      until: "243.*",
      compress: false,
      entries: { "collab/bulk": bulk },
    });
    writeWithHoles(join(clients, "intellij", `${i}.zip`), plugin);
  }
}

function writeWithHoles(path: string, bytes: Buffer): void {
  const file = openSync(path, "w");
  ftruncateSync(file, bytes.length);
  for (let at = 0; at < bytes.length; at += 65_536) {
    const chunk = bytes.subarray(at, at + 65_536);
    if (chunk.some((byte) => byte !== 0)) writeSync(file, chunk, 0, chunk.length, at);
  }
  closeSync(file);
}

async function measureRequests(
  what: string,
  port: number,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
): Promise<Result> {
  const dispatcher = new Agent({ connections: 1 });
  const times: number[] = [];
  try {
    for (let i = 0; i < INDEX_REQUESTS; i++) {
      times.push(
        await timed(async () => {
          const response = await request(`http://127.0.0.1:${port}${path}`, {
            method,
            dispatcher,
            ...(body !== undefined && {
              body: JSON.stringify(body),
              headers: { "content-type": "application/json" },
            }),
          });
          if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
          await response.body.dump({ limit: 64 * MIB });
        }),
      );
    }
  } finally {
    await dispatcher.destroy();
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN;
  return report(
    `${what} over ${PLUGINS} plugins`,
    "ms",
    new Map([
      ["p50", [at(0.5)]],
      ["p99", [at(0.99)]],
    ]),
  );
}

// --- servers ---

async function startWorker(options: {
  folder: string;
  clientsDir: string;
  storeSocket: string;
}): Promise<{ port: number; program: Program }> {
  const port = await freePort();
  const program = await start({
    command: [process.execPath, fileURLToPath(new URL("../dist/worker/main.js", import.meta.url))],
    core: CORES?.measured,
    port,
    env: {
      CT_STORE_SOCKET: options.storeSocket,
      CT_SECRET: "a secret for the benchmark of downloads",
      CT_DATA_DIR: options.folder,
      CT_CLIENTS_DIR: options.clientsDir,
      CT_WORKER_ID: "worker-1",
      CT_WORKER_PORT: String(port),
      CT_STATUS_PORT: "0",
    },
  });
  return { port, program };
}

async function startNginx(folder: string, files: string): Promise<Server | undefined> {
  const port = await freePort();
  const file = join(folder, "nginx.conf");
  writeFileSync(
    file,
    `${process.getuid?.() === 0 ? "user root; " : ""}daemon off; pid ${folder}/nginx.pid; worker_processes 1; error_log ${folder}/error.log;
events { worker_connections 1024; }
http { sendfile off; access_log ${folder}/access.log; root ${files};
client_body_temp_path ${folder}/t1; proxy_temp_path ${folder}/t2; fastcgi_temp_path ${folder}/t3;
uwsgi_temp_path ${folder}/t4; scgi_temp_path ${folder}/t5;
server { listen 127.0.0.1:${port}; } }
`,
  );
  try {
    const program = await start({
      command: ["nginx", "-e", join(folder, "error.log"), "-c", file],
      core: CORES?.measured,
      port,
    });
    return { name: "nginx", port, path: "/large.vsix", program };
  } catch {
    return undefined;
  }
}

async function offered(port: number, path: string): Promise<void> {
  await until(`${path} is offered`, async () => {
    const { statusCode, body } = await request(`http://127.0.0.1:${port}${path}`, {
      method: "HEAD",
    });
    await body.dump();
    return statusCode === 200;
  });
}

// --- figures ---

async function timed(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}

function push(figures: Map<string, number[]>, name: string, value: number): void {
  const rounds = figures.get(name);
  if (rounds === undefined) figures.set(name, [value]);
  else rounds.push(value);
}

function report(
  question: string,
  unit: string,
  rounds: ReadonlyMap<string, readonly number[]>,
  compare?: (ours: number, peer: number) => number,
): Result {
  const figures: Record<string, Summary> = {};
  for (const [name, values] of rounds) figures[name] = summarize(values);
  const texts = Object.entries(figures).map(
    ([name, { median, min, max }]) =>
      `${name} ${median.toFixed(1)} (${min.toFixed(1)}–${max.toFixed(1)})`,
  );
  const { ours, nginx } = figures;
  const ratio =
    compare && ours && nginx
      ? `; ours is ${compare(ours.median, nginx.median).toFixed(2)} × nginx`
      : "";
  process.stdout.write(`${question} [${unit}]: ${texts.join(", ")}${ratio}\n`);
  return { question, unit, figures };
}
