/**
 * The real one-machine edge as a child process: started from dist/ on free ports with its own data directory, stopped, killed
 * and restarted.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { atEnd } from "./at-end.ts";
import { buildOnce } from "./build.ts";
import { LINK_ENV } from "./link-mode.ts";
import { type Output, outputOf } from "./output.ts";
import { freePort } from "./ports.ts";
import { descendantsOf, type ProcessId, stillRunning } from "./processes.ts";
import { makeFolder, removeFolder } from "./temp-folder.ts";
import { until } from "./until.ts";

export interface EdgeOptions {
  /** Default: a new one, removed when the edge is disposed of. */
  readonly dataDir?: string;
  /** Settings in addition to the free ports, the loopback address and the data directory. */
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** How it is started; default: `node`. */
  readonly by?: "node" | "npm start" | "npm run dev";
  /** Folder of the product to start; default: the one of these tests. */
  readonly root?: string;
  /** How long the start may take, in ms; default 25 s. */
  readonly startTimeoutMs?: number;
  /** The Node executable; default: the one of the tests. */
  readonly node?: string;
}

/** How a process ended: exactly one of the two is set. */
export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  /** From the request to stop until the end, in ms. */
  readonly tookMs: number;
}

/** The file about its processes that the edge writes to its data directory. */
export interface EdgeFile {
  readonly pid: number;
  readonly httpPort: number;
  readonly tlsPort: number;
  readonly statusPort: number;
  readonly balancer: { readonly pid: number };
  readonly workers: readonly {
    readonly id: string;
    readonly pid: number;
    readonly port: number;
    readonly statusPort: number;
  }[];
}

export interface EdgeProcess {
  /** Pid of the started process: the edge itself, or npm. */
  readonly pid: number;
  readonly dataDir: string;
  readonly httpPort: number;
  readonly tlsPort: number;
  /** `http://127.0.0.1:PORT` and `https://localhost:PORT`. */
  readonly httpUrl: string;
  readonly httpsUrl: string;
  /** Its self-signed certificate. */
  readonly certificateFile: string;
  /** Its descendants; after its end, the descendants at the time when it was asked to stop. */
  descendants(): ProcessId[];
  /** Reads the file about its processes. */
  readFile(): EdgeFile;
  /** Stops it gracefully. */
  stop(signal?: NodeJS.Signals): Promise<Exit>;
  /** Sends SIGINT to the whole process group, as a terminal does, and waits for the end. */
  pressCtrlC(): Promise<Exit>;
  /** Kills it and waits for its end; its children may still run. */
  kill(): Promise<Exit>;
  ended(): Promise<Exit>;
  /** The end of its output, for messages of failed tests. */
  output(): string;
  /** Starts the edge again with the same data directory and public ports. The first run must have ended. */
  startAgain(): Promise<EdgeProcess>;
  /** Ends all of its processes and removes its files; also done at the end. */
  dispose(): Promise<void>;
}

/** The result of a start that was expected to fail. */
export interface FailedStart {
  readonly exit: Exit;
  readonly stdout: string;
  readonly stderr: string;
  /** Processes started by the edge that were still running after its end. */
  readonly left: readonly ProcessId[];
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const AVAILABLE =
  /root INFO CodeTogether On-Premises services now available on port (\d+) \(HTTP\) and (\d+) \(SSL\)/;
/** Less than the time limit of a test: a start or stop that hangs fails with its output. */
const START_TIMEOUT_MS = 25_000;
const MAX_KEPT_CHARS = 64 * 1024;

/** Starts an edge and resolves when it logs that it is available. Disposed of at the end. */
export async function startEdge(options: EdgeOptions = {}): Promise<EdgeProcess> {
  const edge = await start(options);
  atEnd(() => edge.dispose());
  return edge;
}

async function start(options: EdgeOptions): Promise<EdgeProcess> {
  await buildOnce();
  const dataDir = options.dataDir ?? makeFolder();
  // Chosen here, so that it can get the same ports after a restart.
  const ports = { CT_PORT: String(await freePort()), CT_TLS_PORT: String(await freePort()) };
  const run = launch({ ...options, env: { ...ports, ...options.env } }, dataDir);
  try {
    const [, http, tls] = await until(
      "the edge is available",
      () => {
        if (run.exit !== undefined) throw new Error(`the edge has ended:\n${run.output()}`);
        return AVAILABLE.exec(run.printed.stdout) ?? undefined;
      },
      options.startTimeoutMs ?? START_TIMEOUT_MS,
    );
    return asEdge(run, options, dataDir, { http: Number(http), tls: Number(tls) });
  } catch (error) {
    await disposeOf(run, options, dataDir);
    throw new Error(`the edge did not start; it printed:\n${run.output()}`, { cause: error });
  }
}

/** Starts an edge that must refuse to start, and resolves when it has ended. */
export async function startEdgeInVain(options: EdgeOptions = {}): Promise<FailedStart> {
  await buildOnce();
  const dataDir = options.dataDir ?? makeFolder();
  const run = launch(options, dataDir);
  try {
    const exit = await until(
      "the edge refuses to start",
      () => {
        run.descendants();
        return run.exit;
      },
      START_TIMEOUT_MS,
    );
    const left = stillRunning(run.descendants());
    const { stdout, stderr } = run.printed;
    return { exit, stdout, stderr, left };
  } finally {
    await disposeOf(run, options, dataDir);
  }
}

// --- one run ---

interface Run {
  readonly child: ChildProcess;
  readonly printed: Output;
  readonly exit: Exit | undefined;
  output(): string;
  ended(): Promise<Exit>;
  /** Sends a signal, to the process alone or to its whole group, and waits for the end. */
  end(signal: NodeJS.Signals, to?: "process" | "group"): Promise<Exit>;
  /** Its descendants at the last call before its end, including processes that have lost their parent since. */
  descendants(): ProcessId[];
}

function launch(options: EdgeOptions, dataDir: string): Run {
  const args = options.args ?? [];
  const folder = options.root ?? root;
  const [command = "npm", ...commandArgs] =
    options.by === undefined || options.by === "node"
      ? [options.node ?? process.execPath, join(folder, "dist/edge/main.js"), ...args]
      : [...options.by.split(" "), "--", ...args];
  const child = spawn(command, commandArgs, {
    cwd: folder,
    env: environment(dataDir, options.env ?? {}),
    stdio: ["ignore", "pipe", "pipe"],
    // A process group of its own, so that a signal to the group does not reach the tests.
    detached: command === "npm",
  });
  // Interrupted tests leave no process behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  const output = outputOf(child, MAX_KEPT_CHARS);
  let exit: Exit | undefined;
  let askedMs = performance.now();
  let lastSeen: ProcessId[] = [];
  child.once("exit", (status, signal) => {
    exit = { status, signal, tookMs: performance.now() - askedMs };
    process.off("exit", killAtExit);
  });
  const ended = () => until("the edge has ended", () => exit, START_TIMEOUT_MS);
  return {
    child,
    printed: output,
    get exit() {
      return exit;
    },
    output: () => `${output.stdout}\n--- stderr ---\n${output.stderr}`,
    ended,
    end(signal, to = "process") {
      descendants();
      askedMs = performance.now();
      if (to === "group" && child.pid !== undefined) process.kill(-child.pid, signal);
      else child.kill(signal);
      return ended();
    },
    descendants,
  };

  function descendants(): ProcessId[] {
    if (child.pid === undefined || exit !== undefined) return lastSeen;
    lastSeen = descendantsOf(child.pid);
    return lastSeen;
  }
}

/** This process's environment without settings and npm's variables, because an edge stops together with its npm. */
function environment(
  dataDir: string,
  settings: Readonly<Record<string, string>>,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !/^(CT_|npm_|VITEST|NODE_ENV)/.test(name)) env[name] = value;
  }
  return {
    ...env,
    CT_BIND: "127.0.0.1",
    CT_PORT: "0",
    CT_TLS_PORT: "0",
    CT_WORKER_PORT: "0",
    CT_STATUS_PORT: "0",
    // A test starts many balancers, and the requests that it sends are few.
    CT_WARM_UP_MS: "0",
    CT_DATA_DIR: dataDir,
    ...LINK_ENV,
    ...settings,
  };
}

function asEdge(
  run: Run,
  options: EdgeOptions,
  dataDir: string,
  ports: { http: number; tls: number },
): EdgeProcess {
  let successor: EdgeProcess | undefined;
  return {
    pid: run.child.pid ?? 0,
    dataDir,
    httpPort: ports.http,
    tlsPort: ports.tls,
    httpUrl: `http://127.0.0.1:${ports.http}`,
    httpsUrl: `https://localhost:${ports.tls}`,
    certificateFile: join(dataDir, "tls/cert.pem"),
    descendants: () => run.descendants(),
    readFile: () => JSON.parse(readFileSync(join(dataDir, "edge.json"), "utf8")) as EdgeFile,
    stop: (signal = "SIGINT") => run.end(signal),
    pressCtrlC: () => run.end("SIGINT", "group"),
    kill: () => run.end("SIGKILL"),
    ended: () => run.ended(),
    output: () => run.output(),
    async startAgain() {
      const samePorts = { CT_PORT: String(ports.http), CT_TLS_PORT: String(ports.tls) };
      const env = { ...options.env, ...samePorts };
      successor = await start({ ...options, dataDir, env });
      return successor;
    },
    async dispose() {
      await successor?.dispose();
      await disposeOf(run, options, dataDir);
    },
  };
}

async function disposeOf(run: Run, options: EdgeOptions, dataDir: string): Promise<void> {
  const left = run.descendants();
  if (run.exit === undefined) run.child.kill("SIGKILL");
  for (const { pid } of stillRunning(left)) kill(pid);
  await until("all processes of the edge have ended", () => stillRunning(left).length === 0);
  // The caller removes a directory that it has passed.
  if (options.dataDir === undefined) removeFolder(dataDir);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has already ended.
  }
}
