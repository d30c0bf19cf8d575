/**
 * Looks on while a run goes: notes what happened, and says when something happened that must not. It knows more than any
 * process of the edge does, and trusts none of them.
 *
 * The invariants, by name:
 * - `two owners`: no two workers relay one session under the same epoch
 * - `older owner`: nobody relays a session under an epoch after somebody relayed it under a higher one, unless the balancers
 *   that reach it are cut off from the store with it
 * - `epoch fell`: no client hears of an epoch after a higher one, with the same exception
 * - `robbed`: a session of a live worker that renews its lease goes to another one by hand-off only
 * - `told twice`: nothing that was said reaches anybody twice
 * - `turned away`: nobody is told that a session is over that is not
 * - `not served`: some time after the faults everybody who is still there is connected, and hears the others
 * - `left behind`: some time after everybody went, no record, tombstone or member is left
 * - `two lives`: of two processes with the same id one ends soon
 * - `bug`: no promise fails unseen and nothing reports a bug
 */
import type { Incarnation, SessionId, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import { REFUSED_HEARTBEAT_AGE_MS } from "../../shared/store/ownership.ts";
import {
  MEMBER_LEASE_MS,
  type ResumeCause,
  type ResumeOutcome,
  type ResumeSession,
  type SessionRecord,
} from "../../shared/store/store.ts";
import type { Client } from "./client.ts";
import type { Kernel } from "./kernel.ts";
import type { Before, StoreWatch } from "./store.ts";
import type { WorkerIncarnation } from "./worker.ts";

export type Invariant =
  | "two owners"
  | "older owner"
  | "epoch fell"
  | "robbed"
  | "told twice"
  | "turned away"
  | "not served"
  | "left behind"
  | "two lives"
  | "bug";

export interface Failure {
  readonly invariant: Invariant;
  readonly what: string;
  readonly atMs: number;
}

/** What only the world knows. */
export interface Facts {
  /** Whether `worker` and all balancers that reach it were cut off from the store, now or a moment ago. */
  isSplitOff(worker: WorkerIncarnation): boolean;
  /**
   * Whether the store forgot what it knew while two processes had the same id: the older one may then be there first and
   * bring its epoch back. A known limit.
   */
  readonly isMuddled: boolean;
  /** Whether a session may be lost: its worker died while the store did not know it, or not any more. */
  mayLoseSessions(): boolean;
}

export interface Watch extends StoreWatch {
  readonly failure: Failure | undefined;
  /** What happened, in order, when it is recorded. */
  readonly history: readonly string[];
  /** By which causes sessions have changed their owner, or their owner's life. */
  readonly causes: ReadonlySet<ResumeCause>;
  facts: Facts;
  note(what: string): void;
  fail(invariant: Invariant, what: string): void;
  bug(this: void, error: unknown): void;
  log(process: string): Log;
  relayed(by: WorkerIncarnation, sessionId: SessionId, epoch: number): void;
  delivered(to: Client, epoch: number, text: string | undefined): void;
  /** A client will not come back. */
  ended(client: Client, why: string): void;
  /** Whether `client` has heard `text`. */
  hasHeard(client: Client, text: string): boolean;
}

/** A host or guest without a connection for this long may be considered gone by its worker, which waits 30 s. */
const MAY_BE_GONE_MS = 25_000;

/** A heartbeat, and the time that it may take. */
const REPLACED_MS = 3000;

interface Relay {
  readonly by: WorkerIncarnation;
  readonly epoch: number;
}

interface Heartbeat {
  readonly incarnation: Incarnation;
  readonly atMs: number;
}

export function createWatch(kernel: Kernel, options: { readonly record: boolean }): Watch {
  const history: string[] = [];
  const workerByEpoch = new Map<string, WorkerIncarnation>();
  const highest = new Map<SessionId, Relay>();
  const epochOf = new Map<Client, number>();
  const heard = new Map<Client, Set<string>>();
  const heartbeats = new Map<WorkerId, Heartbeat>();
  const causes = new Set<ResumeCause>();
  /** When a life of a worker first relayed after a later life of it did. */
  const replacedSince = new Map<WorkerIncarnation, number>();
  let failure: Failure | undefined;

  function note(what: string): void {
    if (options.record) history.push(`${stamp(kernel.nowMs)} ${what}`);
  }

  function fail(invariant: Invariant, what: string): void {
    if (failure !== undefined) return;
    if (watch.facts.isMuddled && (invariant === "older owner" || invariant === "epoch fell"))
      return;
    failure = { invariant, what, atMs: kernel.nowMs };
    note(`!! ${invariant}: ${what}`);
  }

  function bug(error: unknown): void {
    fail("bug", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  // --- the store ---

  function noteHeartbeat(member: { id: WorkerId; incarnation: Incarnation }): void {
    heartbeats.set(member.id, { incarnation: member.incarnation, atMs: kernel.nowMs });
  }

  function noteResume(asked: ResumeSession, got: ResumeOutcome, before: Before): void {
    if (got.outcome !== "owned") note(`${asked.worker} asks for a session: ${got.outcome}`);
    if (before !== undefined) checkTakeOver(before, asked, got);
  }

  /** A change of owner that was no hand-off: the one before must have been gone, by what the store heard of it. */
  function checkTakeOver(before: SessionRecord, asked: ResumeSession, got: ResumeOutcome): void {
    if (got.outcome !== "owned") return;
    const { owner, incarnation, state, epoch } = before;
    causes.add(got.cause);
    const isSame = owner === asked.worker && incarnation === asked.incarnation;
    if (!isSame && got.record.epoch <= epoch) {
      fail("robbed", `${asked.worker} took a session over from ${owner} under the same epoch`);
    }
    note(`${asked.worker} owns it by ${got.cause}, epoch ${got.record.epoch}, before: ${owner}`);
    if (owner === asked.worker || state === "released") return;
    const heartbeat = heartbeats.get(owner);
    if (heartbeat?.incarnation !== incarnation) return;
    const sinceMs = kernel.nowMs - heartbeat.atMs;
    const enoughMs = got.cause === "refused" ? REFUSED_HEARTBEAT_AGE_MS : MEMBER_LEASE_MS;
    if (got.cause === "exited" || sinceMs >= enoughMs) return;
    fail("robbed", `${asked.worker} took a session of ${owner}, whose beat is ${sinceMs} ms old`);
  }

  const watch: Watch = {
    history,
    causes,
    get failure() {
      return failure;
    },
    facts: { isSplitOff: () => false, isMuddled: false, mayLoseSessions: () => false },
    note,
    fail,
    bug,
    log(process) {
      const say = (level: string) => (fields: unknown, text?: string) => {
        if (!options.record) return;
        const sentence = typeof fields === "string" ? fields : text;
        note(`${process} ${level}: ${sentence} ${briefly(fields)}`);
      };
      const log = { debug() {}, info: say("info"), warn: say("warn"), error: say("error") };
      return log as unknown as Log;
    },
    began() {
      heartbeats.clear();
    },
    applied(name, args, outcome, before) {
      if (name === "announce" || (name === "renew" && outcome === "renewed")) {
        noteHeartbeat(args[0] as { id: WorkerId; incarnation: Incarnation });
      } else if (name === "withdraw") {
        heartbeats.delete(args[0] as WorkerId);
      } else if (name === "resumeSession") {
        noteResume(args[0] as ResumeSession, outcome as ResumeOutcome, before);
      } else if (name === "reassertSession") {
        note(`an owner says what it has: ${outcome as string}`);
      }
    },
    relayed(by, sessionId, epoch) {
      const key = `${sessionId} ${epoch}`;
      const known = workerByEpoch.get(key);
      if (known === undefined) workerByEpoch.set(key, by);
      else if (known !== by) {
        fail("two owners", `${nameOf(known)} and ${nameOf(by)} relay under epoch ${epoch}`);
      }
      const best = highest.get(sessionId);
      if (best === undefined || epoch > best.epoch) highest.set(sessionId, { by, epoch });
      else if (epoch < best.epoch && best.by !== by && !mayStillRelay(by, best.by)) {
        fail(
          "older owner",
          `${nameOf(by)} relays under epoch ${epoch} after ${nameOf(best.by)} under ${best.epoch}`,
        );
      }
    },
    delivered(to, epoch, text) {
      const before = epochOf.get(to) ?? 0;
      if (epoch < before) {
        const owner = workerByEpoch.get(`${to.room.sessionId} ${epoch}`);
        if (owner === undefined || !watch.facts.isSplitOff(owner)) {
          fail("epoch fell", `${to.name} hears of epoch ${epoch} after ${before}`);
        }
      } else epochOf.set(to, epoch);
      if (text === undefined) return;
      const texts = heard.get(to) ?? new Set();
      heard.set(to, texts);
      if (texts.has(text)) fail("told twice", `${to.name} gets ${text} again`);
      texts.add(text);
    },
    ended(client, why) {
      if (client.state !== "over" || watch.facts.mayLoseSessions()) return;
      const host = client.room.clients.find(({ isHost }) => isHost);
      if (host === undefined || mayBeGone(host) || mayBeGone(client)) return;
      fail("turned away", `${client.name} is told "${why}" while the host is there`);
    },
    hasHeard: (client, text) => heard.get(client)?.has(text) === true,
  };
  return watch;

  function mayBeGone(client: Client): boolean {
    if (client.state === "gone" || client.state === "gave up") return true;
    if (client.awaySinceMs === undefined) return false;
    return kernel.nowMs - client.awaySinceMs >= MAY_BE_GONE_MS;
  }

  /**
   * One that was replaced by another process of the same id hears of it with its next beat. Its balancers know before, so
   * what it relays until then reaches nobody.
   */
  function mayStillRelay(by: WorkerIncarnation, next: WorkerIncarnation): boolean {
    if (watch.facts.isSplitOff(by)) return true;
    if (by.id !== next.id) return false;
    const sinceMs = replacedSince.get(by) ?? kernel.nowMs;
    replacedSince.set(by, sinceMs);
    return kernel.nowMs - sinceMs <= REPLACED_MS;
  }
}

/** Seconds of a run. */
export function stamp(ms: number): string {
  return `${(ms / 1000).toFixed(3).padStart(8)} s`;
}

function nameOf({ id, incarnation }: WorkerIncarnation): string {
  return `${id}/${incarnation.slice(0, 4)}`;
}

function briefly(fields: unknown): string {
  if (typeof fields !== "object" || fields === null) return "";
  const shown = Object.entries(fields).map(([name, value]) => {
    return `${name}=${value instanceof Error ? value.message : String(value)}`;
  });
  return shown.length > 0 ? `(${shown.join(", ")})` : "";
}
