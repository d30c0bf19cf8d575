/**
 * A worker with 500 sessions is killed on one machine: how soon do its people reconnect, and what takes the time? The real
 * `ct-edge` with two workers, a host and a guest in each session (light clients: socket.io's own, in a separate process). In
 * the control, all clients only lose their connections, and no process ends. Both include the clients' own backoff (1 s ±
 * 50 %, doubled up to 5 s); the difference is what the edge adds.
 *
 * Size: CRASH_SESSIONS (500), CRASH_ROUNDS (3), CRASH_TALK_MS (10000: period in which each person sends a message),
 * CRASH_STORE (embedded, or redis), CRASH_ADMISSIONS (CT_MAX_ADMISSIONS_PER_SECOND). CRASH_PROFILE=folder writes a CPU
 * profile of each process there.
 */
import { readFileSync } from "node:fs";
import { fetch } from "undici";
import { quantile } from "../test/support/churn.ts";
import { runCommand } from "../test/support/command.ts";
import { type EdgeProcess, startEdge } from "../test/support/edge-process.ts";
import { settle, startRedis, type TestRedis } from "../test/support/redis.ts";
import { until } from "../test/support/until.ts";
import { type LightCrowd, type Return, startLightCrowd } from "./support/light-crowd.ts";
import { writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const SESSIONS = size("CRASH_SESSIONS", { long: 500, short: 50 });
const ROUNDS = size("CRASH_ROUNDS", { long: 3, short: 1 });
const TALK_MS = size("CRASH_TALK_MS", { long: 10_000, short: 10_000 });
const ADMISSIONS = process.env["CRASH_ADMISSIONS"];
const IS_SHARED = process.env["CRASH_STORE"] === "redis";
const PROFILES = process.env["CRASH_PROFILE"];
const PROFILER = new URL("support/profile.mjs", import.meta.url).href;
const BACK_TIMEOUT_MS = 45_000;
const LIMIT = { p50Ms: 3500, p99Ms: 5000 };

export async function run(): Promise<void> {
  const redis = IS_SHARED ? await startRedis({ port: true }) : undefined;
  try {
    if (redis !== undefined) await settle(redis.admin());
    const rounds: Round[] = [];
    for (let i = 0; i < ROUNDS; i++) rounds.push(await measure(redis));
    report(rounds);
  } finally {
    await redis?.close();
  }
}

interface Round {
  readonly control: Seen;
  readonly crash: Seen;
}

async function measure(redis: TestRedis | undefined): Promise<Round> {
  const shared = redis && { CT_REDIS_URL: `redis://127.0.0.1:${redis.port}` };
  const edge = await startEdge({
    env: {
      CT_WORKER_COUNT: "2",
      // With links nobody reconnects: bench/moves.ts.
      CT_LINK: "off",
      CT_MAX_SESSIONS_PER_USER: "100000",
      CT_LOGIN_SIMPLE: "on",
      ...(ADMISSIONS !== undefined && { CT_MAX_ADMISSIONS_PER_SECOND: ADMISSIONS }),
      ...shared,
      ...(redis !== undefined && { CT_SECRET: "a secret used only in this benchmark" }),
      ...(PROFILES !== undefined && {
        NODE_OPTIONS: `--import ${PROFILER}`,
        PROFILE_DIR: PROFILES,
      }),
    },
  });
  const crowd = startLightCrowd();
  try {
    const [victim, sibling] = edge.readFile().workers;
    if (victim === undefined || sibling === undefined)
      throw new Error("the edge has fewer than two workers");
    // All sessions are created at the worker that will be killed.
    const runOnSibling = async (kind: "suspend" | "resume"): Promise<void> => {
      const result = await runCommand([kind, sibling.id], { CT_DATA_DIR: edge.dataDir, ...shared });
      if (result.status !== 0) throw new Error(result.stderr);
    };
    await runOnSibling("suspend");
    await crowd.open(edge.httpUrl, SESSIONS);
    await runOnSibling("resume");
    await crowd.startTalking(TALK_MS);
    const control = await watch(edge, crowd, () => crowd.dropAll());
    printSeen("connections only closed (control)", control);
    const crash = await watch(edge, crowd, async () => {
      const atMs = Date.now();
      process.kill(victim.pid, "SIGKILL");
      return atMs;
    });
    printSeen(`${victim.id} killed with ${SESSIONS} sessions`, crash);
    await crowd.stopTalking();
    return { control, crash };
  } finally {
    await crowd.close().catch(() => {});
    // Processes write their profiles on a graceful shutdown.
    if (PROFILES !== undefined) await edge.stop();
    await edge.dispose();
  }
}

// --- measuring ---

interface Seen {
  readonly sinceMs: number;
  readonly returns: readonly Return[];
  readonly cpuMs: Readonly<Record<string, number>>;
  readonly memoryMib: Readonly<Record<string, number>>;
  /** Loop lag p99 of the worst second, by process. */
  readonly lagMs: Readonly<Record<string, number>>;
  /** Counters that increased, by process. */
  readonly counters: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const SAMPLE_MS = 200;
const LAG = /^codetogether_process_lag_p99_seconds(?:\{[^}]*\})? ([\d.e-]+)$/m;
const SHOWN_COUNTERS =
  /^(worker\.(admissions|claims|sessions_(resumed|closed)|connects_refused|requests_misdirected|resume_ms)|balancer\.(held|retries|misdirected|lookups|routes|moved|outdated|errors|responses))/;

async function watch(
  edge: EdgeProcess,
  crowd: LightCrowd,
  act: () => Promise<number>,
): Promise<Seen> {
  const before = await countersOf(edge);
  const cpuMs: Record<string, number> = {};
  const memoryMib: Record<string, number> = {};
  const lagMs: Record<string, number> = {};
  const startCpuMs = new Map<string, number>();
  const sample = (): void => {
    for (const [name, pid] of processesOf(edge, crowd)) {
      const used = cpuOf(pid);
      const key = `${name} ${pid}`;
      if (used === undefined) continue;
      if (!startCpuMs.has(key)) startCpuMs.set(key, name in cpuMs || isFirstSample ? used : 0);
      cpuMs[name] = (cpuMs[name] ?? 0) + used - (lastCpuMs.get(key) ?? startCpuMs.get(key) ?? used);
      lastCpuMs.set(key, used);
      memoryMib[name] = Math.max(memoryMib[name] ?? 0, residentMib(pid));
    }
  };
  const lastCpuMs = new Map<string, number>();
  let isFirstSample = true;
  sample();
  isFirstSample = false;
  const sinceMs = await act();
  let isOver = false;
  const sampling = (async () => {
    while (!isOver) {
      sample();
      await Promise.all(
        portsOf(edge).map(async ([name, port]) => {
          const lag = await lagOf(port).catch(() => 0);
          lagMs[name] = Math.max(lagMs[name] ?? 0, lag);
        }),
      );
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
  })();
  const returns = await crowd.returns(sinceMs, BACK_TIMEOUT_MS);
  isOver = true;
  await sampling;
  sample();
  const after = await countersOf(edge);
  return { sinceMs, returns, cpuMs, memoryMib, lagMs, counters: difference(before, after) };
}

function processesOf(edge: EdgeProcess, crowd: LightCrowd): [string, number][] {
  const { balancer, workers } = edge.readFile();
  return [
    ["edge", edge.pid],
    ["balancer", balancer.pid],
    ...workers.map(({ id, pid }): [string, number] => [id, pid]),
    ["clients", crowd.pid],
  ];
}

function portsOf(edge: EdgeProcess): [string, number][] {
  const { statusPort, workers } = edge.readFile();
  return [
    ["balancer", statusPort],
    ...workers.map((worker): [string, number] => [worker.id, worker.statusPort]),
  ];
}

type Counts = Record<string, Record<string, number>>;

async function countersOf(edge: EdgeProcess): Promise<Counts> {
  const counts: Counts = {};
  for (const [name, port] of portsOf(edge)) {
    counts[name] = await until("the status port responds", async () => {
      const response = await fetch(`http://127.0.0.1:${port}/view`);
      return ((await response.json()) as { counters: Record<string, number> }).counters;
    });
  }
  return counts;
}

function difference(before: Counts, after: Counts): Counts {
  const increases: Counts = {};
  for (const [name, counters] of Object.entries(after)) {
    const increased: Record<string, number> = {};
    for (const [series, value] of Object.entries(counters)) {
      const old = before[name]?.[series] ?? 0;
      // A restarted process counts from 0.
      const rise = value >= old ? value - old : value;
      if (rise > 0 && SHOWN_COUNTERS.test(series)) increased[series] = Math.round(rise);
    }
    increases[name] = increased;
  }
  return increases;
}

async function lagOf(port: number): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(LAG.exec(page)?.[1] ?? 0) * 1000;
}

/** User and system time, in ms; undefined if the process is gone. */
function cpuOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return undefined;
  }
}

function residentMib(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

// --- printing ---

function backOf({ returns, sinceMs }: Seen): number[] {
  return returns.map(({ servedMs }) => (servedMs ?? Number.POSITIVE_INFINITY) - sinceMs);
}

/** The parts of the time of each person until the connection was served again. */
function parts({ returns, sinceMs }: Seen) {
  const noticed = returns.map(({ lostMs }) => lostMs - sinceMs);
  const waited = returns.map(({ lostMs, attempts }) => {
    let from = lostMs;
    let sum = 0;
    for (const { atMs, failedMs } of attempts) {
      sum += atMs - from;
      from = failedMs ?? atMs;
    }
    return sum;
  });
  const failedAttempts = returns.map(({ attempts }) =>
    attempts.reduce(
      (sum, { atMs, failedMs }) => sum + (failedMs === undefined ? 0 : failedMs - atMs),
      0,
    ),
  );
  const last = returns.map(({ attempts }) =>
    attempts.find(({ failedMs }) => failedMs === undefined),
  );
  const handshake = last.map((a) => (a?.openedMs ?? Number.NaN) - (a?.atMs ?? Number.NaN));
  const connect = returns.map(
    ({ servedMs }, i) => (servedMs ?? Number.NaN) - (last[i]?.openedMs ?? Number.NaN),
  );
  return {
    noticed,
    "own backoff": waited,
    "failed attempts": failedAttempts,
    handshake,
    CONNECT: connect,
  };
}

function printSeen(what: string, seen: Seen): void {
  const back = backOf(seen);
  const away = back.filter((ms) => !Number.isFinite(ms)).length;
  say(`${what}: ${back.length} people, ${away} not reconnected; reconnected after ${spread(back)}`);
  for (const [name, values] of Object.entries(parts(seen))) {
    say(`  ${name.padEnd(16)} ${spread(values.filter(Number.isFinite))}`);
  }
  const tries = new Map<number, number>();
  const errors = new Map<string, number>();
  for (const { attempts, losses } of seen.returns) {
    tries.set(attempts.length, (tries.get(attempts.length) ?? 0) + 1);
    for (const { error, failedMs, atMs } of attempts) {
      if (failedMs === undefined) continue;
      const label = `${error} (at ${Math.round((atMs - seen.sinceMs) / 500) / 2} s)`;
      errors.set(label, (errors.get(label) ?? 0) + 1);
    }
    if (losses > 1) errors.set("lost again", (errors.get("lost again") ?? 0) + 1);
  }
  say(
    `  attempts each    ${list([...tries].sort(([a], [b]) => a - b).map(([n, c]) => `${n}: ${c}`))}`,
  );
  say(`  what failed      ${list([...errors].map(([text, count]) => `${count} × ${text}`))}`);
  say(
    `  CPU, ms          ${list(Object.entries(seen.cpuMs).map(([n, v]) => `${n} ${Math.round(v)}`))}`,
  );
  say(
    `  memory, MiB      ${list(Object.entries(seen.memoryMib).map(([n, v]) => `${n} ${Math.round(v)}`))}`,
  );
  say(
    `  loop lag p99, ms ${list(Object.entries(seen.lagMs).map(([n, v]) => `${n} ${Math.round(v)}`))}`,
  );
  for (const [name, counters] of Object.entries(seen.counters)) {
    say(`  ${name}: ${list(Object.entries(counters).map(([series, n]) => `${series} ${n}`))}`);
  }
}

function report(rounds: readonly Round[]): void {
  const p99 = (seen: Seen): number => quantile(backOf(seen), 0.99);
  const p50 = (seen: Seen): number => quantile(backOf(seen), 0.5);
  const crashes = rounds.map(({ crash }) => crash);
  const controls = rounds.map(({ control }) => control);
  say(
    `all rounds: killed p50 ${list(crashes.map((seen) => ms(p50(seen))))} (limit ${ms(LIMIT.p50Ms)}), ` +
      `p99 ${list(crashes.map((seen) => ms(p99(seen))))} (limit ${ms(LIMIT.p99Ms)}); ` +
      `control p99 ${list(controls.map((seen) => ms(p99(seen))))}`,
  );
  const added = rounds.map(({ control, crash }) => p99(crash) - p99(control));
  say(`added by the edge at p99: ${list(added.map(ms))}`);
  writeResults(IS_SHARED ? "crash-redis" : "crash", [
    {
      question: `${SESSIONS} sessions, worker killed: reconnected, p50`,
      unit: "ms",
      figures: { killed: summarize(crashes.map(p50)), control: summarize(controls.map(p50)) },
    },
    {
      question: `${SESSIONS} sessions, worker killed: reconnected, p99`,
      unit: "ms",
      figures: { killed: summarize(crashes.map(p99)), control: summarize(controls.map(p99)) },
    },
  ]);
}

function spread(values: readonly number[]): string {
  return `p50 ${ms(quantile(values, 0.5))}, p99 ${ms(quantile(values, 0.99))}, max ${ms(Math.max(...values))}`;
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

function list(items: readonly string[]): string {
  return items.join(", ");
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
