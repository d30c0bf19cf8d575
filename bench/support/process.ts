/**
 * A measured program: started on one core, its CPU time and memory read, and stopped. Linux only (/proc).
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";

/** The core of the measured program, and the one of everything else. Null without taskset. */
export const CORES = existsSync("/usr/bin/taskset") ? { measured: "0", others: "1" } : null;

/** How long the measured core has been busy since the machine's start, in ns, in steps of 10 ms. */
export function measuredCoreBusyNs(): number {
  const [, counters = ""] =
    new RegExp(`^cpu${CORES?.measured ?? ""} +(.*)$`, "m").exec(read("/proc/stat")) ?? [];
  const [user, nice, system, , , irq, softirq, steal] = counters.split(" ").map(Number);
  return sum([user, nice, system, irq, softirq, steal].map((ticks) => ticks ?? 0)) * 10_000_000;
}

/** Moves this process, with its threads, to the core of everything else. */
export function leaveMeasuredCore(): void {
  if (CORES !== null) spawnSync("taskset", ["-a", "-c", "-p", CORES.others, String(process.pid)]);
}

export interface Program {
  readonly pid: number;
  /** CPU time of the process and its children since its start, in ns, from the scheduler. */
  cpuNs(): number;
  /** Private memory, which would be free without the program, in bytes. */
  privateBytes(): number;
  end(): Promise<void>;
}

/** Starts `command` on `core`; resolves when `port` accepts connections. Rejects with its output if it exits before. */
export async function start(options: {
  command: readonly string[];
  core: string | undefined;
  port: number;
  env?: Readonly<Record<string, string>>;
}): Promise<Program> {
  const pinned =
    options.core === undefined
      ? options.command
      : ["taskset", "-c", options.core, ...options.command];
  const [file = "", ...args] = pinned;
  const child = spawn(file, args, {
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes: Buffer) => {
      output = (output + bytes.toString()).slice(-4000);
    });
  }
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await accepting(options.port, child, () => output);
  const pid = child.pid ?? 0;
  return {
    pid,
    cpuNs: () => sum(processTree(pid).flatMap(threadsOf).map(cpuOfThread)),
    privateBytes: () => sum(processTree(pid).map(privateOf)),
    async end() {
      child.kill("SIGTERM");
      const kill = setTimeout(() => child.kill("SIGKILL"), 3000);
      await exited;
      clearTimeout(kill);
    },
  };
}

const START_MS = 15_000;

async function accepting(port: number, child: ChildProcess, output: () => string): Promise<void> {
  const endMs = performance.now() + START_MS;
  for (;;) {
    if (await accepts(port)) return;
    if (child.exitCode !== null || performance.now() > endMs) {
      throw new Error(`${child.spawnargs.join(" ")} does not listen on ${port}: ${output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** The process and its descendants (nginx's worker). */
function processTree(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
  return [pid, ...children.flatMap(processTree)];
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}`);
  } catch {
    // A child process has ended.
    return [];
  }
}

/** Field 1 of schedstat: time on the CPU in ns. */
function cpuOfThread(path: string): number {
  return Number(read(`${path}/schedstat`).split(" ")[0] ?? 0);
}

/** Private memory of one process, in bytes. */
export function privateOf(pid: number): number {
  const rollup = read(`/proc/${pid}/smaps_rollup`);
  const kilobytes = [...rollup.matchAll(/^Private_(?:Clean|Dirty): +(\d+)/gm)];
  return sum(kilobytes.map(([, value]) => Number(value))) * 1024;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The thread or process has ended.
    return "";
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
