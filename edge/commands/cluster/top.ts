/**
 * `ct-edge top`: the dashboard's overview and workers in a terminal, from the same snapshot. On a terminal it refreshes every
 * two seconds until Ctrl-C; with `--once`, with `--json` and without a terminal it prints once.
 */
import { type Command, Option } from "commander";
import { formatAge } from "../../../shared/base/age.ts";
import { sleep, systemClock } from "../../../shared/base/clock.ts";
import { linkStateText } from "../../../shared/cluster/link-state.ts";
import { closedCount, reasonsText } from "../../../shared/cluster/resume-text.ts";
import { cut, escapeForTerminal } from "../../../shared/logs/escape.ts";
import { describeMembers, describeOverview } from "../../../worker/dashboard/describe.ts";
import type {
  BalancerLine,
  OverviewResponse,
  ResumeLine,
  WorkerLine,
  WorkersResponse,
} from "../../../worker/dashboard/responses.ts";
import { createSnapshots } from "../../../worker/dashboard/snapshot.ts";
import { readClusterUsage } from "../../../worker/usage/cluster.ts";
import { table } from "../../output/table.ts";
import { type CommonFlags, createStoreCommand } from "../command.ts";

/** What `--json` prints: the same as `/dashboard/api/overview` and `/dashboard/api/workers`. */
export interface TopAnswer extends WorkersResponse {
  readonly overview: OverviewResponse;
}

interface Flags extends CommonFlags {
  readonly once?: true;
}

/** A little longer than a snapshot is cached. */
const PERIOD_MS = 2100;

export function topCommand(): Command {
  return createStoreCommand<Flags>({
    name: "top",
    description:
      "Shows people, sessions, workers and balancers; on a terminal it refreshes until Ctrl-C.",
    options: [new Option("--once", "Print once and exit.")],
    async run({ store }, { json, once }) {
      const cluster = async () => (await readClusterUsage(store)).series;
      const snapshots = createSnapshots({ store, clock: systemClock, cluster });
      const read = async (): Promise<TopAnswer> => {
        const snapshot = await snapshots.read();
        return { overview: describeOverview(snapshot, store.health), ...describeMembers(snapshot) };
      };
      try {
        if (!json && !once && process.stdout.isTTY) return await refreshUntilInterrupted(read);
        const answer = await read();
        return { json: answer, out: () => topScreen(answer) };
      } finally {
        snapshots.close();
      }
    },
  });
}

// --- on a terminal ---

/** xterm's alternate screen, so that the shell's content is restored at the end; without a cursor. */
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const TO_END_OF_LINE = "\u001b[K";
const TO_END_OF_SCREEN = "\u001b[J";

async function refreshUntilInterrupted(read: () => Promise<TopAnswer>): Promise<never> {
  const { stdout } = process;
  process.once("exit", () => stdout.write(LEAVE));
  // The terminal has closed.
  stdout.on("error", () => process.exit(0));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => process.exit(0));
  }
  stdout.write(ENTER);
  for (;;) {
    const lines = crop(topScreen(await read()), stdout.columns || 80, stdout.rows || 24);
    stdout.write(HOME + lines.map((line) => line + TO_END_OF_LINE).join("\n") + TO_END_OF_SCREEN);
    await sleep(systemClock, PERIOD_MS);
  }
}

/** The lines and columns that fit the terminal. */
function crop(text: string, columns: number, rows: number): string[] {
  return text
    .trimEnd()
    .split("\n")
    .slice(0, rows)
    .map((line) => cut(line, columns - 1));
}

// --- text ---

const HEADING =
  "KIND | ID | STATE | >SESSIONS | >CONNECTIONS | >LAG | LINK | >STREAMS | >WAITING | >MEMORY | >UPTIME | >RESTARTS | >STALLS | >RESETS | >LINK ERRORS | VERSION | WHY";
/** An unknown number is not 0. */
const UNKNOWN = "?";
const MIB = 1024 * 1024;

/** The whole screen, with a line for each concern. Pure. */
export function topScreen({ overview, workers, balancers, resumes }: TopAnswer): string {
  const { tiles, store, version, atMs } = overview;
  const time = atMs === null ? UNKNOWN : `${new Date(atMs).toISOString().slice(0, 19)}Z`;
  const states = Object.entries(overview.workerStatuses)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`);
  const head = [
    `edge ${escapeForTerminal(version)}  ${time}  store ${store.state}${latency(overview)}`,
    `people ${count(tiles.usersOnline)}  sessions ${count(tiles.sessionsActive)}  connections ${count(tiles.connectionsActive)}  lag ${ms(tiles.lagMs)}  hosted ${count(tiles.sessionsHosted)}  downloads ${count(tiles.downloads)}`,
    `workers ${states.join(", ") || "none"}  balancers ${overview.balancers}`,
  ];
  if (resumes !== null) head.push(movesText(resumes));
  if (store.reason !== null)
    head.push(`! The store is away: ${escapeForTerminal(store.reason, 500)}`);
  for (const concern of overview.concerns) head.push(`! ${escapeForTerminal(concern, 500)}`);
  const rows = [...balancers.map(balancerRow), ...workers.map(workerRow)];
  return `${head.join("\n")}\n\n${rows.length === 0 ? "No balancer and no worker has a lease.\n" : table(HEADING, rows)}`;
}

function latency({ storeLatencyMs }: OverviewResponse): string {
  return storeLatencyMs === null ? "" : ` (${ms(storeLatencyMs)})`;
}

/** Of WebSockets, since the start of each balancer. */
function movesText(resumes: ResumeLine): string {
  const { waiting, moved, crashed, closed, gapP50Ms, gapP99Ms } = resumes;
  const reasons = escapeForTerminal(reasonsText(closed), 200);
  const why = reasons === "" ? "" : ` (${reasons})`;
  const gap = gapP99Ms === null ? "" : `  gap p50 ${ms(gapP50Ms)}  p99 ${ms(gapP99Ms)}`;
  return `WebSockets moved ${moved}  kept in crashes ${crashed}  reconnected ${closedCount(closed)}${why}  waiting ${waiting}${gap}`;
}

function workerRow(worker: WorkerLine): string[] {
  const { id, status, link, version, reason, lastFailure } = worker;
  const load = [count(worker.sessions), count(worker.connections), ms(worker.lagMs)];
  const links = link === null ? ["", ""] : [linkStateText(link), count(link.streams)];
  const own = [mebibytes(worker.rssBytes), age(worker.uptimeMs), count(worker.restarts)];
  const faults = [link?.stalls, link?.resets, link?.errors].map((value) => value?.toString() ?? "");
  const why = reason || (lastFailure?.reason ?? "");
  return ["worker", id, status, ...load, ...links, "", ...own, ...faults, version, why];
}

function balancerRow(balancer: BalancerLine): string[] {
  const { id, version, resumes, ringDiffers } = balancer;
  const own = [mebibytes(balancer.rssBytes), age(balancer.uptimeMs), ""];
  const waiting = resumes === null ? "" : String(resumes.waiting);
  const load = ["", count(balancer.connections), "", "", "", waiting];
  const why = ringDiffers ? "its ring differs" : "";
  return ["balancer", id, "", ...load, ...own, "", "", "", version, why];
}

function count(value: number | null): string {
  return value === null ? UNKNOWN : String(value);
}

function ms(value: number | null): string {
  return value === null ? UNKNOWN : `${value.toFixed(1)} ms`;
}

function mebibytes(value: number | null): string {
  return value === null ? UNKNOWN : `${Math.round(value / MIB)} MiB`;
}

function age(value: number | null): string {
  return value === null ? UNKNOWN : formatAge(value);
}
