/**
 * Faults of workers under load: three workers behind a balancer, requests with 48 keys at a steady rate, WebSockets with the
 * same keys. One worker fails in a defined way, and the effects on clients are counted and compared with a phase of the same
 * length without a fault right before.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Agent, request } from "undici";
import type { WorkerFault } from "./fault-worker.ts";
import { freePort } from "./ports.ts";
import { until } from "./until.ts";

export const FAULTS = ["kill", "stop", "refuse", "blackhole", "slow", "rolling"] as const;
export type Fault = (typeof FAULTS)[number];

export interface FaultLoad {
  readonly keys: number;
  readonly requestsPerSecond: number;
  readonly tunnels: number;
  /** Duration of the fault, and of the phase without a fault before it, in ms. */
  readonly phaseMs: number;
}

/** The effects of one fault on clients. */
export interface FaultReport {
  readonly fault: Fault;
  /** GET requests during the fault; `failed`: those without a 200 within 10 s. */
  readonly requests: number;
  readonly failed: number;
  readonly slowestMs: number;
  /** Keys of the faulty worker: when the last request that failed or took over a second was sent, after the fault. */
  readonly routedAwayMs: number;
  /** Requests with keys of healthy workers to which another worker responded. */
  readonly moved: number;
  /** WebSockets to healthy workers that ended or stopped echoing. */
  readonly brokenTunnels: number;
  /** Keys of healthy workers, in ms: during the fault, and in the phase before it. */
  readonly p99Ms: number;
  readonly p99BeforeMs: number;
}

const TIMEOUT_MS = 10_000;
/** A request that takes longer has waited for a faulty worker. */
const STUCK_MS = 1000;
const NAMES = ["w1", "w2", "w3"] as const;
/** Pause after the restart of a worker, in which probes find it healthy. */
const SETTLE_MS = 1500;

// --- workers ---

export class FaultWorkers {
  readonly #children = new Map<string, ChildProcess>();
  readonly ports: readonly number[];

  private constructor(ports: readonly number[]) {
    this.ports = ports;
  }

  static async start(): Promise<FaultWorkers> {
    const workers = new FaultWorkers([await freePort(), await freePort(), await freePort()]);
    await Promise.all(NAMES.map((name) => workers.#launch(name)));
    return workers;
  }

  async #launch(name: string): Promise<void> {
    const port = this.ports[NAMES.indexOf(name as (typeof NAMES)[number])];
    const child = fork(
      fileURLToPath(new URL("./fault-worker.ts", import.meta.url)),
      [name, String(port)],
      { execArgv: ["--import", "tsx"], stdio: ["ignore", "ignore", "inherit", "ipc"] },
    );
    this.#children.set(name, child);
    await once(child, "message");
  }

  /** Makes `victim` fail; resolves when it does. A rolling restart resolves when it is over. */
  async begin(fault: Fault, victim: string): Promise<void> {
    const child = this.#child(victim);
    switch (fault) {
      case "kill":
        child.kill("SIGKILL");
        return;
      case "stop":
        child.kill("SIGSTOP");
        return;
      case "refuse":
        child.send("refuse" satisfies WorkerFault);
        return;
      case "blackhole":
        child.send("swallow" satisfies WorkerFault);
        return;
      case "slow":
        child.send("slow" satisfies WorkerFault);
        return;
      case "rolling":
        for (const name of NAMES) {
          const old = this.#child(name);
          const ended = once(old, "exit");
          old.kill("SIGTERM");
          await ended;
          await this.#launch(name);
          await delay(SETTLE_MS);
        }
    }
  }

  async heal(fault: Fault, victim: string): Promise<void> {
    const child = this.#child(victim);
    if (fault === "stop") child.kill("SIGCONT");
    else if (fault === "kill") await this.#launch(victim);
    else if (fault !== "rolling") child.send("none" satisfies WorkerFault);
  }

  #child(name: string): ChildProcess {
    const child = this.#children.get(name);
    if (child === undefined) throw new Error(`no worker ${name}`);
    return child;
  }

  async close(): Promise<void> {
    for (const child of this.#children.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
  }
}

// --- clients ---

interface Sample {
  readonly key: string;
  readonly sentMs: number;
  readonly tookMs: number;
  readonly worker: string | undefined;
}

/** Sends requests at a steady rate, independently of earlier responses. */
class Requests {
  readonly samples: Sample[] = [];
  readonly #agent = new Agent({
    connections: 256,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  });
  readonly #timer: NodeJS.Timeout;
  readonly #pending = new Set<Promise<void>>();
  #count = 0;

  constructor(port: number, load: FaultLoad) {
    const startMs = performance.now();
    this.#timer = setInterval(() => {
      const due = ((performance.now() - startMs) / 1000) * load.requestsPerSecond;
      while (this.#count < due) this.#send(port, `key-${this.#count++ % load.keys}`);
    }, 4);
  }

  #send(port: number, key: string): void {
    const sentMs = performance.now();
    const sending = request(`http://127.0.0.1:${port}/fault`, {
      dispatcher: this.#agent,
      headers: { ctstickiness: key },
    })
      .then(async ({ statusCode, body }) => {
        const text = await body.text();
        return statusCode === 200 ? text : undefined;
      })
      .catch(() => undefined)
      .then((worker) => {
        this.samples.push({ key, sentMs, tookMs: performance.now() - sentMs, worker });
        this.#pending.delete(sending);
      });
    this.#pending.add(sending);
  }

  between(fromMs: number, toMs: number): Sample[] {
    return this.samples.filter(({ sentMs }) => sentMs >= fromMs && sentMs < toMs);
  }

  /** Resolves when all requests sent so far have succeeded or failed. */
  async settled(): Promise<void> {
    await Promise.all([...this.#pending]);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.settled();
    await this.#agent.close();
  }
}

/** A WebSocket that sends a byte every 250 ms and expects its echo; reopened when it ends. */
class EchoTunnel {
  readonly key: string;
  readonly #port: number;
  readonly #timer: NodeJS.Timeout;
  #socket: Socket | undefined;
  #isOpen = false;
  #sentMs = 0;
  #isWaiting = false;
  #closed = false;
  /** Times at which it ended or stopped echoing. */
  readonly brokenMs: number[] = [];

  constructor(port: number, key: string) {
    this.#port = port;
    this.key = key;
    this.#open();
    this.#timer = setInterval(() => this.#ping(), 250);
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  #open(): void {
    const socket = connect(this.#port, "127.0.0.1");
    this.#socket = socket;
    this.#isWaiting = false;
    socket.on("error", () => {});
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nctstickiness: ${this.key}\r\n\r\n`,
    );
    let head = "";
    socket.on("data", (bytes) => {
      if (this.#isOpen) {
        this.#isWaiting = false;
        return;
      }
      head += bytes.toString("latin1");
      if (!head.endsWith("\r\n\r\n")) return;
      if (head.startsWith("HTTP/1.1 101")) this.#isOpen = true;
      else socket.destroy();
    });
    socket.once("close", () => {
      if (this.#isOpen) this.brokenMs.push(performance.now());
      this.#isOpen = false;
      if (!this.#closed) setTimeout(() => this.#closed || this.#open(), 200);
    });
  }

  #ping(): void {
    if (!this.#isOpen) return;
    if (this.#isWaiting) {
      if (performance.now() - this.#sentMs > TIMEOUT_MS / 2) this.#socket?.destroy();
      return;
    }
    this.#isWaiting = true;
    this.#sentMs = performance.now();
    this.#socket?.write("x");
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#socket?.destroy();
  }
}

// --- one balancer through all faults ---

/** Runs the faults one after the other against the balancer on `port`. */
export async function runFaults(options: {
  readonly port: number;
  readonly workers: FaultWorkers;
  readonly load: FaultLoad;
  readonly faults: readonly Fault[];
}): Promise<FaultReport[]> {
  const { port, load, workers } = options;
  const requests = new Requests(port, load);
  const tunnels = Array.from(
    { length: load.tunnels },
    (_, i) => new EchoTunnel(port, `key-${i % load.keys}`),
  );
  try {
    await until("all tunnels are open", () => tunnels.every(({ isOpen }) => isOpen));
    const homes = await findHomes(requests, load);
    const reports: FaultReport[] = [];
    for (const fault of options.faults) {
      reports.push(await runOne(fault, { load, workers, requests, tunnels, homes }));
    }
    return reports;
  } finally {
    for (const tunnel of tunnels) tunnel.close();
    await requests.close();
  }
}

async function runOne(
  fault: Fault,
  at: {
    readonly load: FaultLoad;
    readonly workers: FaultWorkers;
    readonly requests: Requests;
    readonly tunnels: readonly EchoTunnel[];
    readonly homes: ReadonlyMap<string, string>;
  },
): Promise<FaultReport> {
  const { load, requests, homes, tunnels } = at;
  const victim = homes.get("key-0") ?? NAMES[0];
  const beforeMs = performance.now();
  await delay(load.phaseMs);
  await requests.settled();
  const faultMs = performance.now();
  await at.workers.begin(fault, victim);
  await delay(Math.max(0, load.phaseMs - (performance.now() - faultMs)));
  const healMs = performance.now();
  await at.workers.heal(fault, victim);
  await requests.settled();
  const doneMs = performance.now();
  await isHome(requests, load, homes);
  await until("all tunnels are open again", () => tunnels.every(({ isOpen }) => isOpen), 30_000);

  const isHealthy = (key: string): boolean => fault !== "rolling" && homes.get(key) !== victim;
  const during = requests.between(faultMs, doneMs);
  const healthy = during.filter(({ key }) => isHealthy(key));
  const before = requests.between(beforeMs, faultMs).filter(({ key }) => homes.get(key) !== victim);
  const late = requests
    .between(faultMs, healMs)
    .filter(({ worker, tookMs }) => worker === undefined || tookMs > STUCK_MS);
  return {
    fault,
    requests: during.length,
    failed: during.filter(({ worker }) => worker === undefined).length,
    slowestMs: Math.max(...during.map(({ tookMs }) => tookMs)),
    routedAwayMs: Math.max(0, ...late.map(({ sentMs }) => sentMs - faultMs)),
    moved: healthy.filter(({ key, worker }) => worker !== undefined && worker !== homes.get(key))
      .length,
    brokenTunnels: tunnels.filter(
      ({ key, brokenMs }) => isHealthy(key) && brokenMs.some((ms) => ms >= faultMs && ms <= doneMs),
    ).length,
    p99Ms: percentile(healthy, 0.99),
    p99BeforeMs: percentile(before, 0.99),
  };
}

/** The worker of each key, once every key has had a response. */
async function findHomes(requests: Requests, load: FaultLoad): Promise<Map<string, string>> {
  const homes = new Map<string, string>();
  const fromMs = performance.now();
  await until("every key has a worker", () => {
    for (const { key, worker, sentMs } of requests.samples) {
      if (sentMs >= fromMs && worker !== undefined) homes.set(key, worker);
    }
    return homes.size === load.keys;
  });
  return homes;
}

/** Resolves when every key is back at its own worker. */
async function isHome(
  requests: Requests,
  load: FaultLoad,
  homes: ReadonlyMap<string, string>,
): Promise<void> {
  let fromMs = performance.now();
  await until(
    "every key is back",
    () => {
      const recent = requests.between(fromMs, Number.POSITIVE_INFINITY);
      const away = recent.some(({ key, worker }) => worker !== homes.get(key));
      if (away) fromMs = performance.now();
      return !away && new Set(recent.map(({ key }) => key)).size === load.keys;
    },
    30_000,
  );
}

function percentile(samples: readonly Sample[], share: number): number {
  const sorted = samples.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
