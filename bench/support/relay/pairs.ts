/** What relay.ts compares: pairs of a proxy and the server behind it. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { request } from "undici";
import { systemClock } from "../../../shared/base/clock.ts";
import { createLog } from "../../../shared/logs/log.ts";
import { startStoreServer } from "../../../shared/store/embedded/server.ts";
import { freePort } from "../../../test/support/ports.ts";
import { until } from "../../../test/support/until.ts";
import { CORES, type Program, start } from "../process.ts";
import { nginxConfig } from "../proxy-configs.ts";

/** `one`: the measured core for proxy and server. `two`: for the server alone; the proxy shares the other one with the load. */
export type Placement = "one" | "two";

export interface Pair {
  readonly name: string;
  readonly placement: Placement;
  /** Of the proxy. */
  readonly port: number;
  /** Of all proxies, where there are several. */
  readonly ports: readonly number[];
  readonly proxy: Program;
  readonly server: Program;
  /** Open connections of the proxy to the server. */
  connections(): number;
  end(): Promise<void>;
}

export interface PairKind {
  readonly name: string;
  /** What to do when `version` returns undefined. */
  readonly install: string;
  version(): string | undefined;
  start(placement: Placement): Promise<Pair>;
}

const NGINX = process.env["BENCH_NGINX"] ?? "nginx";
const REFERENCE = process.env["BENCH_REFERENCE"];

export const OURS: PairKind = {
  name: "ours",
  install: "",
  version: () => process.version.slice(1),
  start: (placement) => startOurs("ours", placement, {}),
};

export const PAIRS: readonly PairKind[] = [
  OURS,
  {
    name: "no link",
    install: "",
    version: () => process.version.slice(1),
    start: (placement) => startOurs("no link", placement, { CT_LINK: "off" }),
  },
  {
    name: "nginx",
    install: "apt-get install --no-install-recommends nginx-light",
    version: nginxVersion,
    start: (placement) =>
      startPair("nginx", placement, async (folder) => {
        const { port, program, close } = await startWorker(folder, {});
        const proxy = await startNginx(folder, port, placement);
        return { server: { port, program }, proxy, close };
      }),
  },
  {
    name: "reference",
    install: "let BENCH_REFERENCE name a built checkout of the reference OCT server",
    version: () => (nginxVersion() === undefined ? undefined : referenceVersion()),
    start: (placement) =>
      startPair("reference", placement, async (folder) => {
        const server = await startReference();
        const proxy = await startNginx(folder, server.port, placement);
        return { server, proxy, close: async () => {} };
      }),
  },
];

interface Listening {
  readonly port: number;
  readonly program: Program;
}

/** Starts a pair with its files in a folder of its own; resolves when a request gets through. */
async function startPair(
  name: string,
  placement: Placement,
  start: (
    folder: string,
  ) => Promise<{ server: Listening; proxy: Listening; close: () => Promise<void> }>,
): Promise<Pair> {
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-relay-"));
  const { server, proxy, close } = await start(folder);
  await until(`${name} is ready`, async () => {
    const { statusCode, body } = await request(`http://127.0.0.1:${proxy.port}/api/meta`);
    await body.dump();
    return statusCode === 200;
  });
  return {
    name,
    placement,
    port: proxy.port,
    ports: [proxy.port],
    proxy: proxy.program,
    server: server.program,
    connections: () => connectionsTo(server.port),
    async end() {
      await proxy.program.end();
      await server.program.end();
      await close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function proxyCore(placement: Placement): string | undefined {
  return placement === "one" ? CORES?.measured : CORES?.others;
}

// --- ours ---

export const SECRET = "a secret for the benchmark of relays";
/** Settings of a worker: all people are the same user here, who types faster than people do. */
export const WITHOUT_LIMITS: Readonly<Record<string, string>> = {
  CT_LOGIN_SIMPLE: "on",
  CT_MAX_SESSIONS_PER_USER: "100000",
  CT_MAX_MESSAGES_PER_SECOND: "1000000",
  CT_MAX_ADMISSIONS_PER_SECOND: "1000000",
};
export const dist = (program: string): string =>
  fileURLToPath(new URL(`../../../dist/${program}/main.js`, import.meta.url));

function startOurs(
  name: string,
  placement: Placement,
  env: Readonly<Record<string, string>>,
): Promise<Pair> {
  return startPair(name, placement, async (folder) => {
    const { storeSocket, close, ...server } = await startWorker(folder, env);
    const port = await freePort();
    const program = await start({
      command: [process.execPath, dist("balancer"), "--port", String(port), "--log-dir", folder],
      core: proxyCore(placement),
      port,
      env: {
        CT_BIND: "127.0.0.1",
        CT_STORE_SOCKET: storeSocket,
        CT_SECRET: SECRET,
        CT_STATUS_PORT: "0",
        ...env,
      },
    });
    return { server, proxy: { port, program }, close };
  });
}

/** A worker with a store of its own, in this process. */
async function startWorker(folder: string, env: Readonly<Record<string, string>>) {
  const silent = { write: () => {} };
  const log = createLog({ name: "bench", level: "error", format: "text", sink: silent });
  const store = await startStoreServer({ dataDir: join(folder, "store"), clock: systemClock, log });
  const port = await freePort();
  const program = await start({
    command: [process.execPath, dist("worker")],
    core: CORES?.measured,
    port,
    env: {
      CT_STORE_SOCKET: store.socketPath,
      CT_SECRET: SECRET,
      CT_DATA_DIR: folder,
      CT_WORKER_ID: "worker-1",
      CT_WORKER_PORT: String(port),
      CT_STATUS_PORT: "0",
      ...WITHOUT_LIMITS,
      ...env,
    },
  });
  return { port, program, storeSocket: store.socketPath, close: () => store.close() };
}

// --- peers ---

async function startNginx(
  folder: string,
  server: number,
  placement: Placement,
): Promise<Listening> {
  const port = await freePort();
  const file = join(folder, "nginx.conf");
  writeFileSync(file, nginxConfig({ port, workers: [server], folder }));
  const command = [NGINX, "-e", join(folder, "error.log"), "-c", file];
  return { port, program: await start({ command, core: proxyCore(placement), port }) };
}

function nginxVersion(): string | undefined {
  const { status, stderr } = spawnSync(NGINX, ["-v"], { encoding: "utf8" });
  return status === 0 ? /\d+(\.\d+)+/.exec(stderr)?.[0] : undefined;
}

/** The only port that it takes: its option for another one does not work (0.3.1). */
const REFERENCE_PORT = 8100;
const REFERENCE_PACKAGE = "packages/open-collaboration-server";

function referenceVersion(): string | undefined {
  if (REFERENCE === undefined || referenceProgram() === undefined) return undefined;
  const text = readFileSync(join(REFERENCE, REFERENCE_PACKAGE, "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** What its two kinds of build make. */
function referenceProgram(): string | undefined {
  return ["bundle/app.js", "lib/app.js"]
    .map((file) => join(REFERENCE ?? "", REFERENCE_PACKAGE, file))
    .find((file) => existsSync(file));
}

async function startReference(): Promise<Listening> {
  const program = await start({
    command: [process.execPath, referenceProgram() ?? "", "--hostname", "127.0.0.1"],
    core: CORES?.measured,
    port: REFERENCE_PORT,
    env: { OCT_ACTIVATE_SIMPLE_LOGIN: "true", OCT_JWT_PRIVATE_KEY: SECRET, NODE_ENV: "production" },
  });
  return { port: REFERENCE_PORT, program };
}

// --- connections ---

const ESTABLISHED = "01";

/** Established connections on the loopback interface whose other end is `port` (proc(5), /proc/net/tcp). */
function connectionsTo(port: number): number {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1);
  return lines.filter((line) => {
    const [, , address = "", state] = line.trim().split(/\s+/);
    return state === ESTABLISHED && address.endsWith(remote);
  }).length;
}
