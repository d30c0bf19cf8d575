/**
 * `ct-edge list`: the balancers and workers that have a lease, as their records say.
 */
import type { Command } from "commander";
import { sleep, systemClock } from "../../shared/base/clock.ts";
import { escapeForTerminal, escapeJson } from "../../shared/logs/escape.ts";
import type { MemberRecord, WorkerRecord, WorkerState } from "../../shared/store/member.ts";
import { HEARTBEAT_MS, type Membership, type Store } from "../../shared/store/store.ts";
import { type Column, table } from "../output/table.ts";
import { createStoreCommand } from "./command.ts";

/** What `--json` prints. Fields are added, never changed. */
export interface ListAnswer {
  readonly workers: readonly ListedWorker[];
  readonly balancers: readonly ListedBalancer[];
  /** The ring that most processes see; null when there is no such one. */
  readonly ringFingerprint: string | null;
  /** Records that cannot be parsed. */
  readonly ignored: number;
  /** False while the store is new or was emptied: who is missing may just not have said yet that it is there. */
  readonly settled: boolean;
}

interface ListedBalancer {
  readonly id: string;
  readonly statusUrl: string;
  readonly version: string;
  readonly incarnation: string;
  /** Empty before it has seen a ring. */
  readonly ringFingerprint: string;
  /** Whether it sees another ring than most. */
  readonly ringDiffers: boolean;
}

interface ListedWorker extends ListedBalancer {
  readonly url: string;
  readonly state: WorkerState;
  readonly sessions: number;
  readonly connections: number;
  readonly lagMs: number;
  readonly zone: string;
  readonly weight: number;
}

export function listCommand(): Command {
  return createStoreCommand({
    name: "list",
    description: "Lists the workers and balancers that have a lease.",
    async ask({ store }, { json }) {
      const answer = await readMembers(store);
      return { out: json ? `${escapeJson(answer, 2)}\n` : listTable(answer) };
    },
  });
}

// --- what is known ---

/** A change of members is in everybody's record with the next beat; until then rings differ for no reason. */
const RING_PATIENCE_MS = 1.5 * HEARTBEAT_MS;
const ASK_AGAIN_MS = 200;

async function readMembers(store: Pick<Store, "members">): Promise<ListAnswer> {
  const endMs = systemClock.nowMs() + RING_PATIENCE_MS;
  for (;;) {
    const answer = describeMembers(await store.members());
    const { workers, balancers } = answer;
    const isAgreed = [...workers, ...balancers].every(({ ringDiffers }) => !ringDiffers);
    if (isAgreed || systemClock.nowMs() >= endMs) return answer;
    await sleep(systemClock, ASK_AGAIN_MS);
  }
}

/** Workers and balancers by name. Pure. */
export function describeMembers({ members, ignored, booted }: Membership): ListAnswer {
  const sorted = [...members].sort((a, b) => (a.id < b.id ? -1 : 1));
  const ring = mostSeen(sorted.map(({ ringFingerprint }) => ringFingerprint));
  return {
    workers: sorted.filter((member) => member.kind === "worker").map(describeWorker),
    balancers: sorted.filter((member) => member.kind === "balancer").map(describeProcess),
    ringFingerprint: ring ?? null,
    ignored,
    settled: booted,
  };

  function describeWorker(worker: WorkerRecord): ListedWorker {
    const { url, state, zone, weight, load } = worker;
    const { sessions, connections, lagMs } = load;
    return { ...describeProcess(worker), url, state, sessions, connections, lagMs, zone, weight };
  }

  function describeProcess(member: MemberRecord): ListedBalancer {
    const { id, statusUrl, version, incarnation, ringFingerprint } = member;
    const ringDiffers = ringFingerprint !== "" && ringFingerprint !== ring;
    return { id, statusUrl, version, incarnation, ringFingerprint, ringDiffers };
  }
}

/** The fingerprint that most have; undefined when two are seen as often, or none at all. */
function mostSeen(fingerprints: readonly string[]): string | undefined {
  const counts = new Map<string, number>();
  for (const fingerprint of fingerprints) {
    if (fingerprint !== "") counts.set(fingerprint, (counts.get(fingerprint) ?? 0) + 1);
  }
  const [first, second] = [...counts].sort(([, a], [, b]) => b - a);
  return first?.[1] === second?.[1] ? undefined : first?.[0];
}

// --- as people read it ---

const COLUMNS: readonly Column[] = [
  { title: "KIND" },
  { title: "ID" },
  { title: "STATE" },
  { title: "SESSIONS", align: "right" },
  { title: "CONNECTIONS", align: "right" },
  { title: "LAG", align: "right" },
  { title: "INCARNATION" },
  { title: "RING" },
  { title: "VERSION" },
  { title: "URL" },
];
/** Enough to tell two lives of a worker, or two rings, from each other. */
const SHOWN_CHARS = 8;

/** The table, and a line for each thing that an operator should know. Pure. */
export function listTable(answer: ListAnswer): string {
  const { workers, balancers } = answer;
  const all = [...balancers, ...workers];
  const notes = [ringNote(answer), ignoredNote(answer), settledNote(answer)];
  const shown =
    all.length === 0
      ? "No balancer and no worker has a lease.\n"
      : table(COLUMNS, [...balancers.map(balancerRow), ...workers.map(workerRow)]);
  return shown + notes.filter((note) => note !== "").join("");
}

function balancerRow(balancer: ListedBalancer): string[] {
  return ["balancer", balancer.id, "", "", "", "", ...lastCells(balancer), ""];
}

function workerRow(worker: ListedWorker): string[] {
  const { id, state, sessions, connections, lagMs, url } = worker;
  const load = [String(sessions), String(connections), `${lagMs.toFixed(1)} ms`];
  return ["worker", id, state, ...load, ...lastCells(worker), url];
}

function lastCells({ incarnation, ringFingerprint, ringDiffers, version }: ListedBalancer) {
  const ring = ringFingerprint.slice(0, SHOWN_CHARS) + (ringDiffers ? " !" : "");
  return [incarnation.slice(0, SHOWN_CHARS), ring, version];
}

function ringNote({ workers, balancers, ringFingerprint }: ListAnswer): string {
  const others = [...balancers, ...workers].filter(({ ringDiffers }) => ringDiffers);
  if (others.length === 0) return "";
  const what =
    ringFingerprint === null
      ? "The processes do not agree on one ring"
      : `${others.map(({ id }) => id).join(", ")}: not the ring that the others have`;
  return `! ${escapeForTerminal(what, 500)}; if it stays so, they route the same key differently: check that all run the same version and reach the same store.\n`;
}

function ignoredNote({ ignored }: ListAnswer): string {
  if (ignored === 0) return "";
  return `! Records in the store that cannot be parsed and are left out: ${ignored}; look who writes there.\n`;
}

function settledNote({ settled }: ListAnswer): string {
  if (settled) return "";
  return "! The store is new or was emptied a moment ago: who is missing may not have said yet that it is there.\n";
}
