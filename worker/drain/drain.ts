/**
 * Emptying a worker: its sessions go to other workers one after the other, paced so that their clients do not all come
 * back at once. A session that nobody can take stays where it is and is tried again.
 */
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Ring } from "../../shared/membership/ring.ts";
import type { MembershipView } from "../../shared/membership/view.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { countNoSuccessor } from "../../shared/metrics/renamed-worker-tags.ts";
import type { StopRequest } from "../../shared/process/program.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { Registry } from "../sessions/registry.ts";
import type { HandoverCause, PendingMessages, Session } from "../sessions/session.ts";

export interface Drain {
  /** Sessions that are still here. */
  readonly left: number;
  /** Resolves when none is left, when the time is over, or after `stop`. */
  readonly over: Promise<void>;
  /** Hands nothing more over; what is under way is finished. */
  stop(): void;
}

export interface DrainDeps {
  readonly self: WorkerId;
  /** Workers that end too: nothing is handed over to them. It may grow meanwhile. */
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
  /** Balancers have so long to see that this worker takes nothing new. */
  readonly delayMs: number;
  readonly timeoutMs: number;
  /** 0 to below 1. */
  readonly random: () => number;
}

/** Handed over at a time: each takes a round trip to its clients, most of it waiting. */
const AT_ONCE = 8;
/** Sessions that begin to move within a second, so that 1,000 are through in 40 s and their clients come back evenly. */
const PER_SECOND = 25;
/** With less time than that pace takes, what is left is spread over this share of it. */
const USED_SHARE = 0.6;
/** When nobody took anything. */
const RETRY_MS = 500;
/** A worker that did not take a session is asked for no other one for so long: by then its lease is gone if it is. */
const DOUBT_MS = 6000;

/**
 * Whether a worker that is asked to end hands its sessions over first. `hasSuccessor`: another worker takes sessions now,
 * and goes on. Pure.
 */
export function drainsFirst(
  request: Pick<StopRequest, "scope" | "siblings" | "isSupervised">,
  { isStoreEmbedded, hasSuccessor }: { isStoreEmbedded: boolean; hasSuccessor: boolean },
): boolean {
  // Its sessions wait in the journal of an edge that ends; with a shared store there may be workers on other machines.
  if (request.scope === "edge") return !isStoreEmbedded && hasSuccessor;
  // It is started again at once, and takes its sessions up itself. A sibling may just be starting, so it is waited for.
  if (request.isSupervised || isStoreEmbedded) return hasSuccessor || request.siblings.length > 0;
  // Whoever stops it may be about to start another one in its place.
  return true;
}

/** Time between two sessions, in ms: an even pace that is through in time. Pure. */
export function paceMs(sessions: number, leftMs: number): number {
  if (sessions <= 0) return 0;
  return Math.min(1000 / PER_SECOND, (leftMs * USED_SHARE) / sessions);
}

/** Who takes the session `id`: the first candidate of the ring that takes new sessions and is not in `avoid`. Pure. */
export function chooseSuccessor(
  id: SessionId,
  avoid: ReadonlySet<WorkerId>,
  view: Pick<MembershipView, "worker"> & { readonly ring: Pick<Ring, "candidates"> },
): WorkerRecord | undefined {
  for (const candidate of view.ring.candidates(id)) {
    const record = avoid.has(candidate) ? undefined : view.worker(candidate);
    if (record?.state === "up") return record;
  }
  return undefined;
}

/** Hands one session to `heir`, and tells it that it may take it up. */
export async function handTo(
  heir: WorkerRecord,
  session: Session,
  needs: Pick<DrainDeps, "sendPendingMessages" | "sendResume" | "counters" | "log">,
  cause: HandoverCause,
): Promise<"handed" | "kept" | "gone"> {
  const outcome = await session.handOver(
    heir.id,
    (pendingMessages) => needs.sendPendingMessages(heir, session.id, pendingMessages),
    cause,
  );
  needs.counters.count("worker.sessions_drained", outcome);
  if (outcome === "handed") {
    needs.sendResume(heir, session.id).catch((error: unknown) => {
      needs.log.debug({ err: error, to: heir.id }, "the heir was not told; its clients will");
    });
  }
  return outcome;
}

export function startDrain(needs: DrainDeps): Drain {
  const { clock, log, counters, registry } = needs;
  const untilMs = clock.nowMs() + needs.delayMs + needs.timeoutMs;
  let isStopped = false;
  /** Tried in this round. */
  let tried = new Set<SessionId>();
  /** Until when nothing is given to them, because they did not take something. */
  const doubted = new Map<WorkerId, number>();

  const live = (): SessionId[] =>
    [...registry.sessions()].filter((session) => session.isLive).map(({ id }) => id);

  function isOver(): boolean {
    return isStopped || clock.nowMs() >= untilMs;
  }

  function avoided(): ReadonlySet<WorkerId> {
    for (const [id, until] of doubted) if (until <= clock.nowMs()) doubted.delete(id);
    return new Set([needs.self, ...needs.ending, ...doubted.keys()]);
  }

  /** Each try costs the session's people a reconnection, so one that does not answer is not tried again and again. */
  async function deliver(
    heir: WorkerRecord,
    id: SessionId,
    pendingMessages: PendingMessages,
  ): Promise<void> {
    try {
      await needs.sendPendingMessages(heir, id, pendingMessages);
    } catch (error) {
      doubted.set(heir.id, clock.nowMs() + DOUBT_MS);
      throw error;
    }
  }

  async function handOverNext(): Promise<void> {
    while (!isOver()) {
      const session = [...registry.sessions()].find(({ id, isLive }) => isLive && !tried.has(id));
      if (session === undefined) return;
      tried.add(session.id);
      const heir = chooseSuccessor(session.id, avoided(), needs.view);
      if (heir === undefined) {
        countNoSuccessor(counters);
        continue;
      }
      await handTo(heir, session, { ...needs, sendPendingMessages: deliver }, "drain");
      const restMs = paceMs(live().length, untilMs - clock.nowMs()) * AT_ONCE;
      await sleep(clock, restMs * (0.5 + needs.random()));
    }
  }

  async function run(): Promise<void> {
    await sleep(clock, needs.delayMs);
    log.info({ sessions: live().length }, "draining");
    while (!isOver() && live().length > 0) {
      tried = new Set();
      const before = live().length;
      await Promise.all(Array.from({ length: AT_ONCE }, handOverNext));
      // Nobody takes any: perhaps somebody will in a moment.
      if (live().length >= before) await sleep(clock, RETRY_MS);
    }
    const left = live().length;
    if (left === 0) log.info("drained");
    else log.warn({ sessions: left }, "the drain is over and sessions are left");
  }

  return {
    get left() {
      return live().length;
    },
    over: run().catch((error: unknown) => log.error({ err: error }, "the drain failed")),
    stop() {
      isStopped = true;
    },
  };
}
