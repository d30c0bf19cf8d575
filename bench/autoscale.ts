/**
 * Do workers follow the load, and do people notice? One real edge on this machine with `ct-edge autoscale`: sessions of two who
 * talk go from 0 to SESSIONS, stay, and go back to 0; every worker that is not needed hands its sessions over. The control
 * is the same load on an edge with all of the workers all of the time.
 *
 * Size: AUTOSCALE_SESSIONS (300), AUTOSCALE_RAMP_S (90: each way), AUTOSCALE_TALK_MS (3000: a message of each person).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { askEdge } from "../edge/control/control-client.ts";
import { quantile } from "../test/support/churn.ts";
import { type EdgeProcess, startEdge } from "../test/support/edge-process.ts";
import {
  type LightPeer,
  type LightTeam,
  type LightTeams,
  openLightTeams,
} from "../test/support/light-teams.ts";
import { until } from "../test/support/until.ts";
import { writeResults } from "./support/results.ts";
import { FORM, size } from "./support/sizes.ts";
import { summarize } from "./support/statistics.ts";

const SESSIONS = size("AUTOSCALE_SESSIONS", { long: 300, short: 40 });
const RAMP_MS = size("AUTOSCALE_RAMP_S", { long: 90, short: 8 }) * 1000;
const TALK_MS = size("AUTOSCALE_TALK_MS", { long: 3000, short: 3000 });
const HOLD_MS = size("AUTOSCALE_HOLD_S", { long: 30, short: 8 }) * 1000;
const MIN = 2;
const MAX = size("AUTOSCALE_MAX", { long: 6, short: 4 });
const UP_MS = size("AUTOSCALE_UP_MS", { long: 5000, short: 1000 });
const DOWN_MS = size("AUTOSCALE_DOWN_MS", { long: 20_000, short: 3000 });
/** Sessions open and end in groups, evenly over the ramp. */
const GROUP = 10;
const SAMPLE_MS = 500;
/** Limits. */
const MAX_CHANGES = 2;
const MAX_RATIO = 2;
const SHRINK_MS = 240_000;

const ENV = {
  CT_MAX_SESSIONS_PER_USER: "100000",
  // All workers at the top, with the reserve.
  CT_AUTOSCALE_SESSIONS: String(Math.ceil((SESSIONS * 1.2) / MAX)),
  CT_AUTOSCALE_UP_MS: String(UP_MS),
  CT_AUTOSCALE_DOWN_MS: String(DOWN_MS),
};

export async function run(): Promise<void> {
  say(`control: ${MAX} workers`);
  const control = await withEdge(MAX, (edge) => measure(edge, MAX));
  say(`ct-edge autoscale --min ${MIN} --max ${MAX}`);
  const scaled = await withEdge(MIN, async (edge) => {
    const autoscaler = startAutoscaler(edge);
    try {
      return await measure(edge, MIN);
    } finally {
      autoscaler.kill("SIGKILL");
    }
  });
  report(scaled, control);
}

async function withEdge<T>(workers: number, use: (edge: EdgeProcess) => Promise<T>): Promise<T> {
  const edge = await startEdge({ env: { ...ENV, CT_WORKER_COUNT: String(workers) } });
  try {
    return await use(edge);
  } finally {
    await edge.dispose();
  }
}

interface Seen {
  /** Each change of the number of workers. */
  readonly counts: readonly { readonly atMs: number; readonly count: number }[];
  /** People who lost a message, or got one twice or out of order. */
  readonly misheard: readonly string[];
  /** Of those who stayed to the end. */
  readonly disconnected: number;
  readonly sent: number;
  readonly deliveryMs: readonly number[];
}

/** Lets the load come and go; waits for `last` workers in the end. */
async function measure(edge: EdgeProcess, last: number): Promise<Seen> {
  const deliveryMs: number[] = [];
  const counts = watchWorkers(edge);
  const groups: LightTeams[] = [];
  await overTime(SESSIONS / GROUP, async () => {
    const all = await openLightTeams(edge.httpUrl, GROUP);
    timeDeliveries(all, deliveryMs);
    all.startTalking(TALK_MS);
    groups.push(all);
  });
  await delay(HOLD_MS);
  // One session of each group after the other, so that those who stay are spread over all workers.
  const teams = groups.flatMap((all) => all.teams.map((team, nth) => ({ all, team, nth })));
  teams.sort((a, b) => a.nth - b.nth);
  const staying = teams.splice(-GROUP);
  for (const all of groups) all.stopTalking();
  const talking = talkOn([...teams, ...staying].map(({ team }) => team));
  await overTime(teams.length / GROUP, async () => {
    for (const { team } of teams.splice(0, GROUP)) {
      talking.end(team);
      team.host.peer.leave();
    }
  });
  await until("as few workers as may be", () => counts.now === last, SHRINK_MS);
  talking.close();
  const misheard = (): string[] => groups.flatMap((all) => all.misheard());
  await until("all messages have arrived", () => misheard().length === 0, 15_000).catch(() => {});
  counts.close();
  const people = staying.flatMap(({ team }) => [team.host, team.guest]);
  const seen = {
    counts: counts.seen,
    misheard: misheard(),
    disconnected: people.filter(({ lostMs }) => lostMs.length > 0).length,
    sent: groups.flatMap(({ peers }) => peers).reduce((sum, one) => sum + one.spoken.length, 0),
    deliveryMs,
  };
  for (const all of groups) await all.close();
  return seen;
}

/** All of `teams` talk on at the same pace, one after the other; `end` takes one of them out. */
function talkOn(teams: readonly LightTeam[]) {
  const talking = new Set(teams);
  const timers = teams.map((team, index) =>
    setInterval(
      () => {
        if (!talking.has(team)) return;
        team.say("host");
        team.say("guest");
      },
      // Not all in the same moment.
      TALK_MS + (index % 100),
    ),
  );
  return {
    end: (team: LightTeam): void => void talking.delete(team),
    close(): void {
      for (const timer of timers) clearInterval(timer);
    },
  };
}

function startAutoscaler({ dataDir }: EdgeProcess): ChildProcess {
  const program = fileURLToPath(new URL("../dist/edge/main.js", import.meta.url));
  const args = ["autoscale", "--min", String(MIN), "--max", String(MAX), "--every", "2"];
  const env = { ...process.env, CT_DATA_DIR: dataDir };
  return spawn(process.execPath, [program, ...args], {
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
}

/** Calls `act` `times` times, evenly over the ramp. */
async function overTime(times: number, act: () => Promise<void>): Promise<void> {
  const beganMs = performance.now();
  for (let i = 0; i < times; i++) {
    await delay(Math.max(0, beganMs + (i * RAMP_MS) / times - performance.now()));
    await act();
  }
}

/** The number of workers that run, and each change of it. */
function watchWorkers({ dataDir }: EdgeProcess) {
  const seen: { atMs: number; count: number }[] = [];
  async function sample(): Promise<void> {
    const { processes } = await askEdge(dataDir, { command: "ps" });
    const count = processes.filter(({ role, state }) => role === "worker" && state === "up").length;
    if (count !== seen.at(-1)?.count) seen.push({ atMs: performance.now(), count });
  }
  const timer = setInterval(() => void sample(), SAMPLE_MS);
  return {
    seen,
    get now(): number {
      return seen.at(-1)?.count ?? 0;
    },
    close: (): void => clearInterval(timer),
  };
}

function timeDeliveries({ teams }: LightTeams, into: number[]): void {
  const spokenMs = new Map<string, number>();
  const note = (speaker: LightPeer, hearer: LightPeer): void => {
    const { spoken } = speaker;
    const push = spoken.push.bind(spoken);
    spoken.push = (...texts) => {
      for (const text of texts) spokenMs.set(text, performance.now());
      return push(...texts);
    };
    hearer.peer.socket.on("message", () => {
      const { kind, content } = hearer.peer.received.at(-1) ?? {};
      if (kind !== "broadcast" || !(content instanceof Uint8Array)) return;
      const atMs = spokenMs.get(Buffer.from(content).toString());
      if (atMs !== undefined) into.push(performance.now() - atMs);
    });
  };
  for (const { host, guest } of teams) {
    note(host, guest);
    note(guest, host);
  }
}

function report(scaled: Seen, control: Seen): void {
  const [first] = scaled.counts;
  const steps = scaled.counts.map(
    ({ atMs, count }) => `${count} at ${Math.round((atMs - (first?.atMs ?? 0)) / 1000)} s`,
  );
  const most = Math.max(...scaled.counts.map(({ count }) => count));
  const changes = turns(scaled.counts);
  const [ours, rest] = [quantile(scaled.deliveryMs, 0.99), quantile(control.deliveryMs, 0.99)];
  say(`workers: ${steps.join(", ")}; changes of direction: ${changes}`);
  say(`${scaled.sent} messages; lost, doubled or reordered for ${scaled.misheard.length} people`);
  say(`${scaled.disconnected} of the people who stayed to the end were disconnected`);
  const ratio = (ours / rest).toFixed(2);
  say(
    `delivery p99: ${ours.toFixed(1)} ms, ${rest.toFixed(1)} ms without changes (ratio ${ratio})`,
  );
  writeResults("autoscale", [
    figure("workers at the top", "workers", most),
    figure("changes of direction", "changes", changes),
    figure("messages sent", "messages", scaled.sent),
    figure(
      "people who lost, got twice or out of order a message",
      "people",
      scaled.misheard.length,
    ),
    figure("people disconnected of those who stayed", "people", scaled.disconnected),
    figure("delivery p99", "ms", ours),
    figure("delivery p99 without changes", "ms", rest),
  ]);
  // The short form is too short for a p99: one start of a worker is most of it.
  const isSlow = FORM === "long" && ours > MAX_RATIO * rest;
  const broken = [
    ...(scaled.misheard.length > 0 ? [`${scaled.misheard.length} people were misheard`] : []),
    ...(scaled.disconnected > 0 ? [`${scaled.disconnected} people were disconnected`] : []),
    ...(changes > MAX_CHANGES ? [`${changes} changes of direction`] : []),
    ...(isSlow ? [`delivery p99 is ${ratio} times that of the control`] : []),
  ];
  if (broken.length > 0) throw new Error(`limits not kept: ${broken.join("; ")}`);
}

/** How often more became fewer, or fewer more. */
function turns(counts: readonly { readonly count: number }[]): number {
  const directions = counts
    .slice(1)
    .map(({ count }, index) => Math.sign(count - (counts[index]?.count ?? 0)));
  return directions.filter((one, index) => index > 0 && one !== directions[index - 1]).length;
}

function figure(question: string, unit: string, value: number) {
  return { question, unit, figures: { ours: summarize([value]) } };
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
