/**
 * Collects the answer of `ct-edge explain`: the session's record and history from the store, and from each balancer that has
 * a lease where it would send the request, and why.
 */

import { sleep, systemClock } from "../../shared/base/clock.ts";
import { isSessionId, type SessionKey, type WorkerId } from "../../shared/base/ids.ts";
import { workerTag } from "../../shared/base/worker-tag.ts";
import { ownerStateOf } from "../../shared/cluster/describe.ts";
import { readEvents } from "../../shared/cluster/history.ts";
import { readMembers } from "../../shared/cluster/read.ts";
import { type Explanation, parseExplanation } from "../../shared/control/explanation.ts";
import { sendCommand } from "../../shared/control/send.ts";
import type { RingPlace } from "../../shared/membership/ring.ts";
import type { MemberRecord } from "../../shared/store/member.ts";
import { holderOf } from "../../shared/store/ownership.ts";
import type { SessionRecord, Store, StoredEvent } from "../../shared/store/store.ts";
import { MAX_EVENTS } from "../../shared/store/streams.ts";
import { CommandError } from "../output/errors.ts";
import { formatKey } from "../output/format.ts";
import { findPlaces } from "../simulate/snapshot.ts";
import { ifDrained } from "./if-drained.ts";
import type { Question } from "./question.ts";
import { type WorkerSays, workerSays } from "./worker-says.ts";

export type ExplainAnswer = ReturnType<typeof describeAnswer>;
export type ExplainedSession = ReturnType<typeof describe>;

export type BalancerAnswer =
  /** It did not answer in time, or in a form that this version does not know. */
  | { readonly id: string; readonly outcome: "no answer" | "refused"; readonly message: string }
  | {
      readonly id: string;
      readonly outcome: "explained";
      readonly explanation: Explanation;
      /** What the chosen worker does with the request; left out without a session. */
      readonly workerSays?: WorkerSays;
      /** The worker that serves it in the end, after a possible 421; null when none can now. */
      readonly servedBy: string | null;
    };

export type OwnershipEvent = Pick<StoredEvent, "atMs" | "kind" | "worker" | "epoch" | "cause">;

/** A balancer reads commands at each change event, and every 5 s in case it missed one. */
const ANSWER_TIMEOUT_MS = 6000;
const OWNERSHIP: ReadonlySet<StoredEvent["kind"]> = new Set([
  "created",
  "resumed",
  "released",
  "closed",
]);

/** Asks the store and all balancers. Takes as long as the slowest balancer, at most 6 s. */
export async function answerTo(
  question: Question,
  store: Store,
  isFull: boolean,
): Promise<ExplainAnswer> {
  const { key } = question;
  const { nowMs, membership } = await readMembers(store);
  const { members, booted } = membership;
  const record = key === undefined ? undefined : await store.findSession(key);
  const [balancers, history, place] = await Promise.all([
    askBalancers(question, { store, members, record }),
    key === undefined ? [] : readOwnership(store, record?.id ?? key),
    record === undefined ? undefined : findPlace(record.id, store, members),
  ]);
  const from = { members, booted, nowMs, record, place, balancers, history, isFull };
  return describeAnswer(question, from);
}

interface Seen {
  readonly members: readonly MemberRecord[];
  readonly booted: boolean;
  readonly nowMs: number;
  readonly record: SessionRecord | undefined;
  /** Of the record's session on the ring; undefined when no balancer told it. */
  readonly place: RingPlace | undefined;
  readonly balancers: readonly BalancerAnswer[];
  readonly history: readonly OwnershipEvent[];
  readonly isFull: boolean;
}

/** What `--json` prints. Fields are added, never changed. Pure. */
export function describeAnswer({ way, about, key, tag }: Question, from: Seen) {
  const { members, record, isFull } = from;
  const issuer = members.find(({ id, incarnation }) => workerTag(id, incarnation) === tag);
  return {
    /** How the request carries its key. */
    as: way,
    /** The beginning of the key, room or sid, or all of it with `--full`; null without a key. */
    about: about === "" ? null : formatKey(about, isFull),
    /** Of an id with a tag: the worker that issued it; null when it is gone. */
    ...(tag !== undefined && { taggedBy: issuer?.id ?? null }),
    /** Null when there is no such session; left out when the request names none. */
    ...(key !== undefined && { session: record === undefined ? null : describe(record, from) }),
    balancers: from.balancers,
    /** Which workers got and lost the session, and why; the newest last. */
    history: from.history,
    /** False while the store is new or was emptied: running processes and sessions may be missing. */
    settled: from.booted,
  };
}

async function findPlace(
  id: SessionKey,
  store: Store,
  members: readonly MemberRecord[],
): Promise<RingPlace | undefined> {
  const found = findPlaces(store, members, [id]).then(
    (placeOf) => placeOf(id),
    (error: unknown) => {
      if (error instanceof CommandError) return undefined;
      throw error;
    },
  );
  return Promise.race([found, sleep(systemClock, ANSWER_TIMEOUT_MS).then(() => undefined)]);
}

/** Also of a session that is closed and whose record is gone. */
async function readOwnership(store: Store, id: SessionKey): Promise<OwnershipEvent[]> {
  if (!isSessionId(id)) return [];
  const events = await readEvents(store, { limit: MAX_EVENTS, sessionId: id });
  return events
    .filter(({ kind }) => OWNERSHIP.has(kind))
    .map(({ atMs, kind, worker, epoch, cause }) => ({ atMs, kind, worker, epoch, cause }));
}

function describe(record: SessionRecord, seen: Seen) {
  const workers = seen.members.filter((one) => one.kind === "worker");
  const drained = seen.place && ifDrained(record, workers, seen.place);
  const { id, alias, state, owner, successor, epoch, createdMs, peers } = record;
  return {
    id: formatKey(id, seen.isFull),
    ...(alias !== undefined && { alias: formatKey(alias, seen.isFull) }),
    state,
    owner,
    ownerState: ownerStateOf(record, seen.members),
    /** Of a `released` session: the successor that may take it. `heir`: the former name, for one version. */
    ...(successor !== undefined && { successor, heir: successor }),
    epoch,
    ageMs: Math.max(0, seen.nowMs - createdMs),
    peers: peers.length,
    /** Where it would go; left out when no live worker has it, and when no balancer says where it is on the ring. */
    ...(drained !== undefined && { ifDrained: drained }),
  };
}

// --- balancers ---

interface Context {
  readonly store: Store;
  readonly members: readonly MemberRecord[];
  readonly record: SessionRecord | undefined;
}

async function askBalancers(question: Question, context: Context): Promise<BalancerAnswer[]> {
  const ids = context.members.filter(({ kind }) => kind === "balancer").map(({ id }) => id);
  return Promise.all(ids.sort().map((id) => askBalancer(id, question, context)));
}

async function askBalancer(
  id: WorkerId,
  { head }: Question,
  { store, members, record }: Context,
): Promise<BalancerAnswer> {
  const holder = record === undefined || record.state === "closed" ? undefined : holderOf(record);
  const answer = await sendCommand(
    { store, clock: systemClock },
    id,
    { kind: "explain", head, ...(holder !== undefined && { holder }) },
    ANSWER_TIMEOUT_MS,
  );
  if (answer === "no answer") {
    const message = `no answer within ${ANSWER_TIMEOUT_MS / 1000} s: it hangs, has ended, or cannot reach the store`;
    return { id, outcome: "no answer", message };
  }
  const explanation = parseExplanation(answer.detail);
  if (answer.outcome === "refused" || explanation === undefined) {
    return { id, outcome: "refused", message: answer.message };
  }
  return { id, outcome: "explained", explanation, ...follow(explanation, record, members) };
}

/**
 * Whether the chosen worker has reached its request limit, so that the balancer answers 503. A request that is balanced by
 * load goes to another worker instead. Pure.
 */
export function isRefused({ worker, reason, workers }: Explanation): boolean {
  return reason !== "load" && workers.find(({ id }) => id === worker)?.isFull === true;
}

/** What the chosen worker does with the request. Pure. */
export function follow(
  explanation: Explanation,
  record: SessionRecord | undefined,
  members: readonly MemberRecord[],
): { workerSays?: WorkerSays; servedBy: string | null } {
  const { worker, afterMisdirected } = explanation;
  if (worker === undefined || isRefused(explanation)) return { servedBy: null };
  const says = record === undefined ? undefined : workerSays(record, worker, members);
  if (says === undefined) return { servedBy: worker };
  if (says.says !== "elsewhere") return { workerSays: says, servedBy: worker };
  return { workerSays: says, servedBy: afterMisdirected === "replay" ? says.holder : null };
}
