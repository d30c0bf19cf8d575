/**
 * What does one address that floods cost the others? All come by a TCP balancer that names their addresses (PROXY protocol). One address
 * asks as fast as it can, on kept connections and on new ones; others, each from an address of its own, ask at a fixed rate and measure.
 * The control has the same flood at a server of its own, on the same core as the balancer, so that only the balancer makes the
 * difference; without limits the flood goes through.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../test/support/ports.ts";
import { headerV1, headerV2 } from "./support/limits/proxy-headers.ts";
import { CORES, leaveMeasuredCore, type Program, start } from "./support/process.ts";
import { type Result, writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { percentile, type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 7, short: 1 });
const SECONDS = size("BENCH_SECONDS", { long: 5, short: 3 });
const RATE = 100;
const NODE = process.execPath;

const FLOOD = fileURLToPath(new URL("support/limits/flood.ts", import.meta.url));
const SINK = fileURLToPath(new URL("support/limits/sink.ts", import.meta.url));
const SERVER = `require("node:http").createServer((_, res) => res.end("ok")).listen(Number(process.argv[1]), "127.0.0.1")`;

interface Target {
  readonly name: string;
  readonly port: number;
  /** Where the flood goes; undefined: nowhere. */
  readonly floodPort: number | undefined;
}

export async function run(): Promise<void> {
  leaveMeasuredCore();
  const folder = mkdtempSync(join(tmpdir(), "ct-bench-limits-"));
  const programs: Program[] = [];
  const launch = async (
    command: readonly string[],
    port: number,
    isMeasured: boolean,
    env = {},
  ): Promise<number> => {
    const core = isMeasured ? CORES?.measured : CORES?.others;
    programs.push(await start({ command, core, port, env }));
    return port;
  };
  const server = async (program: readonly string[], isMeasured: boolean): Promise<number> => {
    const port = await freePort();
    return launch([NODE, ...program, String(port)], port, isMeasured);
  };
  const balancer = async (worker: number, limit: string): Promise<number> => {
    const port = await freePort();
    const main = fileURLToPath(new URL("../dist/balancer/main.js", import.meta.url));
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--status-port", "0"];
    const workers = ["--workers", `127.0.0.1:${worker}`, "--log-dir", join(folder, String(port))];
    const env = {
      CT_PROXY_PROTOCOL: "on",
      CT_TRUSTED_PROXIES: "127.0.0.1",
      CT_LIMIT_CONNECTIONS: limit,
      CT_LIMIT_REQUESTS: limit,
    };
    return launch([NODE, main, ...args, ...workers], port, true, env);
  };
  try {
    const worker = await server(["-e", SERVER], false);
    const sink = await server(["--import", "tsx", SINK], true);
    // 600 a minute: after a moment nearly all of the flood is beyond it.
    const limited = await balancer(worker, "600");
    const open = await balancer(worker, "0");
    const targets: Target[] = [
      { name: "no flood", port: limited, floodPort: undefined },
      { name: "control", port: limited, floodPort: sink },
      { name: "limited", port: limited, floodPort: limited },
      { name: "no limits", port: open, floodPort: open },
    ];
    writeResults("limits", await measure(targets));
  } finally {
    for (const program of programs) await program.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(targets: readonly Target[]): Promise<Result[]> {
  const p99s = new Map<string, number[]>(targets.map(({ name }) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, port, floodPort } of targets) {
      const flood = floodPort === undefined ? undefined : startFlood(floodPort);
      const latencies = await askSteadily(port, SECONDS * 1000, round);
      await endFlood(flood);
      // The first second: the flood begins.
      p99s.get(name)?.push(percentile(latencies.slice(RATE), 0.99));
    }
  }
  const figures = Object.fromEntries(
    [...p99s].map(([name, values]): [string, Summary] => [name, summarize(values)]),
  );
  const control = p99s.get("control") ?? [];
  const ratios = Object.fromEntries(
    [...p99s].map(([name, values]): [string, Summary] => [
      name,
      summarize(values.map((value, round) => value / (control[round] ?? Number.NaN))),
    ]),
  );
  for (const [name, { median }] of Object.entries(figures)) {
    const ratio = ratios[name]?.median ?? Number.NaN;
    process.stdout.write(`${name}: p99 ${median.toFixed(2)} ms, ${ratio.toFixed(2)} × control\n`);
  }
  return [{ question: "p99 of others while one address floods", unit: "ms", figures }];
}

function startFlood(port: number): ChildProcess {
  const pinned = CORES === null ? [] : ["taskset", "-c", CORES.others];
  const [file, ...args] = [...pinned, NODE, "--import", "tsx", FLOOD, String(port)];
  return spawn(file, args, { stdio: "ignore" });
}

async function endFlood(flood: ChildProcess | undefined): Promise<void> {
  if (flood === undefined || flood.exitCode !== null) return;
  const exited = once(flood, "exit");
  flood.kill("SIGKILL");
  await exited;
}

/** Each from an address of its own. Resolves with the time of each response, in ms, in the order of the requests. */
async function askSteadily(port: number, forMs: number, round: number): Promise<number[]> {
  const pending: Promise<number>[] = [];
  const beginMs = performance.now();
  for (let count = 0; count * (1000 / RATE) < forMs; count++) {
    const dueMs = beginMs + count * (1000 / RATE);
    while (performance.now() < dueMs) await new Promise((resolve) => setTimeout(resolve, 1));
    const address = `198.51.${round}.${count % 250}`;
    pending.push(ask(port, count % 2 === 0 ? headerV1(address) : headerV2(address), dueMs));
  }
  return Promise.all(pending);
}

function ask(port: number, header: Buffer, dueMs: number): Promise<number> {
  const request = Buffer.from("GET / HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n");
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let text = "";
    socket.setEncoding("latin1").on("data", (part: string) => {
      text += part;
    });
    socket.on("error", reject).on("end", () => {
      if (text.startsWith("HTTP/1.1 200 ")) resolve(performance.now() - dueMs);
      else reject(new Error(`no response: ${text.slice(0, 100)}`));
    });
    socket.write(Buffer.concat([header, request]));
  });
}
