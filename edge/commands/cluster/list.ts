/**
 * `ct-edge list`: the balancers and workers that have a lease, from their records, and the links that balancers report.
 */
import type { Command } from "commander";
import { sleep, systemClock } from "../../../shared/base/clock.ts";
import {
  compareRings,
  type LinkSummary,
  summarizeLinks,
} from "../../../shared/cluster/describe.ts";
import {
  ringProblem,
  STORE_NOT_SETTLED,
  unparsableRecords,
} from "../../../shared/cluster/format.ts";
import { linkStateText } from "../../../shared/cluster/link-state.ts";
import { type PublishedView, readMembers, readViews } from "../../../shared/cluster/read.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import type {
  BalancerRecord,
  MemberRecord,
  WorkerRecord,
  WorkerState,
} from "../../../shared/store/member.ts";
import { HEARTBEAT_MS, type Membership, type Store } from "../../../shared/store/store.ts";
import { type Cell, table } from "../../output/table.ts";
import { createStoreCommand } from "../command.ts";

/** What `--json` prints. Fields are added, never changed. */
export interface ListAnswer {
  readonly workers: readonly ListedWorker[];
  readonly balancers: readonly ListedBalancer[];
  /** The ring of the majority; null on a tie, and when no process has seen a ring. */
  readonly ringFingerprint: string | null;
  /** Records that cannot be parsed. */
  readonly ignored: number;
  /** False while the store is new or was emptied: running processes may not have registered again. */
  readonly settled: boolean;
}

interface ListedBalancer extends ListedProcess {
  /** WebSockets that wait for another worker to go on with them, as it reported in the last seconds; null when it has not. */
  readonly waiting: number | null;
}

interface ListedProcess {
  readonly id: string;
  readonly statusUrl: string;
  readonly version: string;
  readonly incarnation: string;
  /** Empty until the process has seen a ring. */
  readonly ringFingerprint: string;
  /** Whether it has another ring than the majority; on a tie true for every process with a ring. */
  readonly ringDiffers: boolean;
}

interface ListedWorker extends ListedProcess {
  readonly url: string;
  readonly state: WorkerState;
  readonly sessions: number;
  readonly connections: number;
  readonly lagMs: number;
  /** The links of all balancers to it, as they reported in the last seconds; null when none has. */
  readonly link: LinkSummary | null;
  readonly zone: string;
  readonly weight: number;
}

export function listCommand(): Command {
  return createStoreCommand({
    name: "list",
    description: "Lists the workers and balancers that have a lease.",
    async run({ store }) {
      const answer = await readList(store);
      return { json: answer, out: () => listTable(answer) };
    },
  });
}

// --- reading ---

/** Records show a change of members with the next heartbeat of each process; until then their rings differ. */
const RING_PATIENCE_MS = 1.5 * HEARTBEAT_MS;
const POLL_MS = 200;

async function readList(store: Pick<Store, "timeMs" | "members" | "list">): Promise<ListAnswer> {
  const endMs = systemClock.nowMs() + RING_PATIENCE_MS;
  for (;;) {
    const { membership } = await readMembers(store);
    const views = await readViews(store, membership.members);
    const answer = describeMembers(membership, views);
    const { workers, balancers } = answer;
    const isAgreed = [...workers, ...balancers].every(({ ringDiffers }) => !ringDiffers);
    if (isAgreed || systemClock.nowMs() >= endMs) return answer;
    await sleep(systemClock, POLL_MS);
  }
}

/** Workers and balancers, each sorted by id. Pure. */
export function describeMembers(
  { members, ignored, booted }: Membership,
  views: readonly Pick<PublishedView, "id" | "view">[],
): ListAnswer {
  const linksById = summarizeLinks(views);
  const viewsById = new Map(views.map(({ id, view }) => [id, view]));
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
  const ring = compareRings(sorted);
  return {
    workers: sorted.filter((member) => member.kind === "worker").map(describeWorker),
    balancers: sorted.filter((member) => member.kind === "balancer").map(describeBalancer),
    ringFingerprint: ring.majority ?? null,
    ignored,
    settled: booted,
  };

  function describeWorker(worker: WorkerRecord): ListedWorker {
    const { url, state, zone, weight, load } = worker;
    const { sessions, connections, lagMs } = load;
    const link = linksById.get(worker.id) ?? null;
    const own = { sessions, connections, lagMs, link, zone, weight };
    return { ...describeProcess(worker), url, state, ...own };
  }

  function describeBalancer(balancer: BalancerRecord): ListedBalancer {
    const view = viewsById.get(balancer.id);
    const waiting = view?.role === "balancer" ? view.resumes?.waiting : undefined;
    return { ...describeProcess(balancer), waiting: waiting ?? null };
  }

  function describeProcess(member: MemberRecord): ListedProcess {
    const { id, statusUrl, version, incarnation, ringFingerprint } = member;
    const ringDiffers = ring.differing.has(id);
    return { id, statusUrl, version, incarnation, ringFingerprint, ringDiffers };
  }
}

// --- text ---

const HEADING =
  "KIND | ID | STATE | >SESSIONS | >CONNECTIONS | >LAG | LINK | >STREAMS | >WAITING | INCARNATION | RING | VERSION | URL";
/** Enough to distinguish two incarnations of a worker, or two rings. */
const SHOWN_CHARS = 8;

/** The table, and a line for each thing that needs attention. Pure. */
export function listTable(answer: ListAnswer): string {
  const { workers, balancers } = answer;
  const all = [...balancers, ...workers];
  const notes = notesOn(answer).map((note) => `! ${escapeForTerminal(note, 700)}\n`);
  const shown =
    all.length === 0
      ? "No balancer and no worker has a lease.\n"
      : table(HEADING, [...balancers.map(balancerRow), ...workers.map(workerRow)]);
  return shown + notes.join("");
}

function balancerRow(balancer: ListedBalancer): Cell[] {
  const { id, waiting } = balancer;
  return ["balancer", id, "", "", "", "", "", "", waiting, ...lastCells(balancer), ""];
}

function workerRow(worker: ListedWorker): Cell[] {
  const { id, state, sessions, connections, lagMs, link, url } = worker;
  const load = [sessions, connections, `${lagMs.toFixed(1)} ms`];
  const links = link === null ? ["", ""] : [linkStateText(link), link.streams];
  return ["worker", id, state, ...load, ...links, "", ...lastCells(worker), url];
}

function lastCells({ incarnation, ringFingerprint, ringDiffers, version }: ListedProcess) {
  const ring = ringFingerprint.slice(0, SHOWN_CHARS) + (ringDiffers ? " !" : "");
  return [incarnation.slice(0, SHOWN_CHARS), ring, version];
}

function notesOn({ workers, balancers, ringFingerprint, ignored, settled }: ListAnswer): string[] {
  const notes: string[] = [];
  const differing = [...balancers, ...workers].filter(({ ringDiffers }) => ringDiffers);
  const ring = ringProblem({
    majority: ringFingerprint ?? undefined,
    differing: new Set(differing.map(({ id }) => id)),
  });
  if (ring !== undefined) notes.push(ring);
  if (ignored > 0) notes.push(unparsableRecords("Member records", ignored));
  if (!settled) notes.push(STORE_NOT_SETTLED);
  return notes;
}
