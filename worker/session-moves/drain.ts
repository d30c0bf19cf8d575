/**
 * Drains a worker: hands its sessions over to other workers, paced so that their clients do not all reconnect at once. A
 * session that no worker takes stays here and is tried again.
 */
import semver from "semver";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Ring } from "../../shared/membership/ring.ts";
import type { MembershipView } from "../../shared/membership/view.ts";
import { countRenamed } from "../../shared/metrics/former-tags.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { StopRequest } from "../../shared/process/program.ts";
import { RESUME_VERSION } from "../../shared/resume/frames.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { PendingMessages } from "../sessions/pending-messages.ts";
import type { Registry } from "../sessions/registry.ts";
import type { Session } from "../sessions/session.ts";
import type { HandoverCause } from "../sessions/session-ownership.ts";

export type Drain = ReturnType<typeof startDrain>;

export interface DrainDeps {
  readonly self: WorkerId;
  /** Of this program. */
  readonly version: string;
  /** Workers that stop too, so they get no sessions. The set may grow during the drain. */
  readonly ending: ReadonlySet<WorkerId>;
  readonly registry: Pick<Registry, "sessions">;
  readonly view: Pick<MembershipView, "ring" | "worker">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly sendPendingMessages: (
    to: WorkerRecord,
    id: SessionId,
    pendingMessages: PendingMessages,
  ) => Promise<void>;
  readonly sendResume: (to: WorkerRecord, id: SessionId) => Promise<void>;
  /** How long to wait first, so that balancers see that this worker accepts no new sessions. */
  readonly delayMs: number;
  readonly timeoutMs: number;
  /** 0 to below 1. */
  readonly random: () => number;
}

/** Concurrent handovers: each is a round trip to the session's clients, most of it waiting. */
const AT_ONCE = 8;
/**
 * Handovers started per second, evenly: sessions that move at the same moment wait for each other. 1,000 sessions take 40 s.
 */
const PER_SECOND = 25;
/** With too little time for that pace, the sessions are spread over this share of it. */
const USED_SHARE = 0.6;
/** Wait after a round in which no worker took a session. */
const RETRY_MS = 500;
/** A worker that failed to take a session gets no other one for this long: a dead worker's lease has expired by then. */
const AVOID_MS = 6000;

/**
 * Whether a worker that is asked to stop hands its sessions over first. `hasSuccessor`: another worker accepts sessions
 * and does not stop too. Pure.
 */
export function drainsFirst(
  request: Pick<StopRequest, "scope" | "siblings" | "isSupervised">,
  { isStoreEmbedded, hasSuccessor }: { isStoreEmbedded: boolean; hasSuccessor: boolean },
): boolean {
  // The journal of an edge that stops keeps the sessions. With a shared store there may be workers on other machines.
  if (request.scope === "edge") return !isStoreEmbedded && hasSuccessor;
  // It restarts at once and recovers its sessions itself. A sibling may just be starting, so the drain waits for it.
  if (request.isSupervised || isStoreEmbedded) return hasSuccessor || request.siblings.length > 0;
  // The operator may be about to start another worker in its place.
  return true;
}

/** Time between two handovers, in ms: an even pace that finishes in time. Pure. */
export function paceMs(sessions: number, leftMs: number): number {
  if (sessions <= 0) return 0;
  return Math.min(1000 / PER_SECOND, (leftMs * USED_SHARE) / sessions);
}

/**
 * The successor for session `id`: its first ring candidate that accepts sessions and is not in `avoid`. Workers of another
 * version than `version`, that of the worker that is drained, go before all others, and of several such versions the newest:
 * in a rolling upgrade, or when one is rolled back, they are not about to be drained themselves. Pure.
 */
export function chooseSuccessor(
  id: SessionId,
  avoid: ReadonlySet<WorkerId>,
  view: Pick<MembershipView, "worker"> & { readonly ring: Pick<Ring, "candidates"> },
  version?: string,
): WorkerRecord | undefined {
  let found: WorkerRecord | undefined;
  for (const candidate of view.ring.candidates(id)) {
    const record = avoid.has(candidate) ? undefined : view.worker(candidate);
    if (record?.state !== "up") continue;
    if (found === undefined || isPreferred(record.version, found.version, version)) found = record;
    if (version === undefined) break;
  }
  return found;
}

/** Whether a worker of version `a` goes before one of version `b`. */
function isPreferred(a: string, b: string, drained: string | undefined): boolean {
  if (a === b || a === drained) return false;
  return b === drained || isNewer(a, b);
}

/** Whether version `a` is newer than `b`. Records may have any text. */
export function isNewer(a: string, b: string): boolean {
  return semver.valid(a) !== null && (semver.valid(b) === null || semver.gt(a, b));
}

/** Hands one session over to `successor`, and asks it to resume the session. */
export async function handOverTo(
  successor: WorkerRecord,
  session: Session,
  deps: Pick<DrainDeps, "sendPendingMessages" | "sendResume" | "counters" | "log">,
  cause: HandoverCause,
): Promise<"handed" | "kept" | "gone"> {
  const outcome = await session.handOver(
    successor.id,
    (pendingMessages) => deps.sendPendingMessages(successor, session.id, pendingMessages),
    cause,
    successor.resumeVersion === RESUME_VERSION,
  );
  deps.counters.count("worker.sessions_drained", outcome);
  if (outcome === "handed") {
    deps.sendResume(successor, session.id).catch((error: unknown) => {
      deps.log.debug(
        { err: error, to: successor.id },
        "the successor was not asked to resume the session; its clients will have it resumed",
      );
    });
  }
  return outcome;
}

export function startDrain(deps: DrainDeps) {
  const { clock, log, counters, registry } = deps;
  const untilMs = clock.nowMs() + deps.delayMs + deps.timeoutMs;
  let isStopped = false;
  let tried = new Set<SessionId>();
  /** Workers that failed to take a session, and until when they get no other one. */
  const avoidUntil = new Map<WorkerId, number>();

  const live = (): SessionId[] =>
    [...registry.sessions()].filter((session) => session.isLive).map(({ id }) => id);

  function isOver(): boolean {
    return isStopped || clock.nowMs() >= untilMs;
  }

  function avoided(): ReadonlySet<WorkerId> {
    for (const [id, until] of avoidUntil) if (until <= clock.nowMs()) avoidUntil.delete(id);
    return new Set([deps.self, ...deps.ending, ...avoidUntil.keys()]);
  }

  /** Each attempt costs the session's clients a reconnection, so a worker that fails is avoided for a while. */
  async function deliver(
    to: WorkerRecord,
    id: SessionId,
    pendingMessages: PendingMessages,
  ): Promise<void> {
    try {
      await deps.sendPendingMessages(to, id, pendingMessages);
    } catch (error) {
      avoidUntil.set(to.id, clock.nowMs() + AVOID_MS);
      throw error;
    }
  }

  /** `lane`: of those that hand over concurrently. */
  async function handOverNext(lane: number): Promise<void> {
    await sleep(clock, lane * paceMs(live().length, untilMs - clock.nowMs()));
    while (!isOver()) {
      const session = [...registry.sessions()].find(({ id, isLive }) => isLive && !tried.has(id));
      if (session === undefined) return;
      tried.add(session.id);
      const successor = chooseSuccessor(session.id, avoided(), deps.view, deps.version);
      if (successor === undefined) {
        countRenamed(counters, "worker.sessions_drained", "none");
        continue;
      }
      await handOverTo(successor, session, { ...deps, sendPendingMessages: deliver }, "drain");
      const restMs = paceMs(live().length, untilMs - clock.nowMs()) * AT_ONCE;
      await sleep(clock, restMs * (0.5 + deps.random()));
    }
  }

  async function run(): Promise<void> {
    await sleep(clock, deps.delayMs);
    log.info({ sessions: live().length }, "draining");
    while (!isOver() && live().length > 0) {
      tried = new Set();
      const before = live().length;
      const lanes = Math.min(AT_ONCE, before);
      await Promise.all(Array.from({ length: lanes }, (_, lane) => handOverNext(lane)));
      if (live().length >= before) await sleep(clock, RETRY_MS);
    }
    const left = live().length;
    if (left === 0) log.info("drained");
    else log.warn({ sessions: left }, "the drain has ended and sessions are left on this worker");
  }

  return {
    /** Sessions that are still here. */
    get left(): number {
      return live().length;
    },
    /** Resolves when none is left, when the time is over, or after `stop`. */
    over: run().catch((error: unknown) => log.error({ err: error }, "the drain failed")),
    /** Starts no further handover; those under way complete. */
    stop(): void {
      isStopped = true;
    },
  };
}
