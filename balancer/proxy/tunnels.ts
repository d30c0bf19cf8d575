/**
 * All tunnels: how many of them end together, or go on with other workers, when a worker dies, a session moves or the balancer
 * shuts down.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { getOrAdd, groupBy } from "../../shared/base/grouping.ts";
import type { SessionKey } from "../../shared/base/ids.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { DetachedConnection } from "../downstream/exchange-contract.ts";
import type { ForwardingFields } from "../http1/forwarding.ts";
import type { MigrateRequests } from "../upstreams/migrate-clients.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { type ResumeCause, Tunnel, type TunnelOptions, type Unresumable } from "./tunnel.ts";

interface OpenTunnel extends Omit<TunnelOptions, "client"> {
  /** Takes the client's connection over. */
  readonly detach: () => DetachedConnection;
  /** The 101 for the client. */
  readonly head: string;
  /** What the worker sent behind its own. */
  readonly rest: Buffer;
  /** Of the client's connection. */
  readonly forwarding: ForwardingFields;
}

export interface Tunnels {
  /** Joins both sides. */
  open(tunnel: OpenTunnel): void;
  /**
   * Resumes or ends the tunnels of a session that continues in a higher epoch, except those to `at`, its present worker, which
   * ends them itself where needed.
   */
  endMoved(session: SessionKey, epoch: number, at: Upstream | undefined): void;
  /** Ends all of them by FIN, at once. */
  endAll(): void;
  /**
   * Ends all of them, spread over `spreadMs`. Workers are asked to migrate their clients; those that are still open `graceMs`
   * later, or whose worker cannot migrate them, are ended by FIN, and what they still send is relayed.
   */
  migrateAll(time: { readonly spreadMs: number; readonly graceMs: number }): void;
  /** Writes access log entries of the open ones: the process exits now. */
  reportOpen(): void;
  readonly size: number;
  /** Those that wait for another worker. */
  readonly resuming: number;
}

/** The WebSocket that waits. */
export interface ResumeRequest {
  readonly session: SessionKey;
  readonly ticket: string;
  /** Of the request that opened the WebSocket. */
  readonly requestId: string;
  readonly forwarding: ForwardingFields;
  readonly cause: ResumeCause;
  /** Messages of the client that a worker has confirmed. */
  readonly confirmed: number;
  /** Messages behind them that the former worker may have relayed. */
  readonly repeated: number;
  /** When it lost its worker. */
  readonly beganMs: number;
}

export interface ResumeOutcome {
  /** `rest`: what the worker has sent already. */
  resumed(next: Pick<TunnelOptions, "worker" | "upstream" | "session">, rest: Buffer): void;
  /** No worker goes on with it. `isFinal`: none ever will; otherwise one may in a moment. */
  refused(reason: string, isFinal: boolean): void;
}

/** Returns a function that cancels it. */
export type SendResume = (request: ResumeRequest, outcome: ResumeOutcome) => () => void;

export interface TunnelsDeps {
  readonly clock: Clock;
  /** 0 to below 1. */
  readonly random: () => number;
  readonly migrateRequests: MigrateRequests;
  readonly sendResume: SendResume;
  readonly counters: Counters;
  readonly log: Log;
}

/**
 * Many tunnels that end at a time end in steps: their clients reconnect at once, and a worker that takes over must not get
 * all of them in one moment. All have ended after `MAX_STEPS` steps, within a second.
 */
const STEP_MS = 50;
const MIN_PER_STEP = 25;
const MAX_STEPS = 20;
/** Resumptions that begin together, and the time until the next ones: a worker takes each in less than a millisecond. */
const RESUMES_PER_STEP = 25;
const RESUME_STEP_MS = 10;
/** Time to read what a worker has sent before it went; longer, up to the second, while the client takes nothing. */
const LAST_MS = 20;
const MAX_LAST_MS = 1500;
/** A client that waits longer is closed: it reconnects, and gives its session up after 30 s without a connection. */
const RESUME_MS = 20_000;
/** Tunnels that may wait for other workers at a time; each keeps up to some 100 KiB. */
const MAX_RESUMING = 10_000;
/** Until a worker is asked again, after one that could not be reached or did not know the owner. */
const RESUME_RETRY_MS = 250;

interface Resumption {
  readonly cause: ResumeCause;
  readonly beganMs: number;
  /** Messages that are sent again, and how many of them may have been relayed. */
  readonly messages: number;
  readonly repeated: number;
  /** Ends it when no worker goes on with it in time. */
  readonly deadline: Timer;
  /** Why the last worker did not. */
  refusal: string;
  /** Cancels what it waits for. */
  cancel: () => void;
}

interface Entry {
  readonly tunnel: Tunnel;
  readonly forwarding: ForwardingFields;
  resumption: Resumption | undefined;
  /** While the last of its worker's output is read. */
  last: Timer | undefined;
  leaveWorker: () => void;
}

export function createTunnels(deps: TunnelsDeps): Tunnels {
  const { clock, log, counters } = deps;
  const all = new Map<Tunnel, Entry>();
  const bySession = new Map<SessionKey, Set<Tunnel>>();
  const endings = createPacer(clock, STEP_MS, (waiting) =>
    Math.max(MIN_PER_STEP, Math.ceil(waiting / MAX_STEPS)),
  );
  const resumptions = createPacer(clock, RESUME_STEP_MS, () => RESUMES_PER_STEP);
  let resuming = 0;
  /** Set during a graceful shutdown. */
  let nextMigration: Timer | undefined;
  let isEnding = false;
  /** Workers without migrate support; each is logged once. */
  const cannotMigrate = new Set<Upstream>();

  /** A worker may tell the session of a tunnel only after it has opened. */
  function index(tunnel: Tunnel): void {
    if (tunnel.session === undefined) return;
    getOrAdd(bySession, tunnel.session.id, () => new Set()).add(tunnel);
  }

  function remove(tunnel: Tunnel): void {
    const entry = all.get(tunnel);
    if (entry === undefined) return;
    all.delete(tunnel);
    entry.leaveWorker();
    if (entry.resumption !== undefined) endResumption(entry);
    if (tunnel.session === undefined) return;
    const tunnels = bySession.get(tunnel.session.id);
    tunnels?.delete(tunnel);
    if (tunnels?.size === 0) bySession.delete(tunnel.session.id);
  }

  function joinWorker(entry: Entry): void {
    const { tunnel } = entry;
    const { upstream } = tunnel;
    upstream.inFlight++;
    const stopWatching = upstream.onDown(() => takeLast(entry));
    entry.leaveWorker = () => {
      entry.leaveWorker = nothing;
      entry.last?.cancel();
      entry.last = undefined;
      upstream.inFlight--;
      stopWatching();
    };
  }

  // --- resuming ---

  /**
   * Its worker is gone, or has lost the session, and what that has sent before may be here and not read: it may be confirmed to
   * its senders, so the client must get it.
   */
  function takeLast(entry: Entry, untilMs = clock.nowMs() + MAX_LAST_MS): void {
    const { tunnel } = entry;
    if (entry.resumption !== undefined || entry.last !== undefined) return;
    if (tunnel.log === undefined) {
      resumeOrEnd(tunnel, "crash");
      return;
    }
    entry.last = clock.after(LAST_MS, () => {
      entry.last = undefined;
      if (!tunnel.isWorkerPaused) resumeOrEnd(tunnel, "crash");
      else if (clock.nowMs() < untilMs) takeLast(entry, untilMs);
      else endUnresumed(tunnel, "slow client");
    });
  }

  /** Makes another worker go on with a tunnel, or ends it. */
  function resumeOrEnd(tunnel: Tunnel, cause: ResumeCause): void {
    const entry = all.get(tunnel);
    if (entry === undefined || entry.resumption !== undefined) return;
    const obstacle = obstacleTo(tunnel);
    if (isEnding || obstacle !== undefined) {
      endUnresumed(tunnel, obstacle);
      return;
    }
    entry.leaveWorker();
    tunnel.detachWorker();
    resuming++;
    const resumption: Resumption = {
      cause,
      beganMs: clock.nowMs(),
      messages: tunnel.log?.messages ?? 0,
      repeated: tunnel.repeated,
      deadline: clock.after(RESUME_MS, () => fail(entry, resumption.refusal)),
      refusal: "timeout",
      cancel: resumptions.add(() => resume(entry)),
    };
    entry.resumption = resumption;
  }

  function endUnresumed(tunnel: Tunnel, why: Unresumable | undefined): void {
    if (why !== undefined && tunnel.log !== undefined) {
      counters.count("balancer.resume.closed", why);
    }
    endings.add(() => tunnel.end(clock));
  }

  function obstacleTo(tunnel: Tunnel): Unresumable | undefined {
    return tunnel.obstacle ?? (resuming >= MAX_RESUMING ? "too many" : undefined);
  }

  function resume(entry: Entry): void {
    const { tunnel, resumption } = entry;
    const { log: kept, session, ticket } = tunnel;
    if (resumption === undefined || kept === undefined || session === undefined) return;
    let hasOutcome = false;
    const cancel = deps.sendResume(
      {
        session: session.id,
        ticket: ticket ?? "",
        requestId: tunnel.requestId,
        forwarding: entry.forwarding,
        cause: resumption.cause,
        confirmed: kept.confirmed,
        repeated: resumption.repeated,
        beganMs: resumption.beganMs,
      },
      {
        resumed(next, rest) {
          hasOutcome = true;
          endResumption(entry);
          note(resumption);
          tunnel.resumeWith(next);
          joinWorker(entry);
          // Behind it, because it may end with the next move.
          tunnel.readRest(rest);
        },
        refused(reason, isFinal) {
          hasOutcome = true;
          if (isFinal) {
            fail(entry, reason);
            return;
          }
          resumption.refusal = reason;
          const again = clock.after(RESUME_RETRY_MS, () => {
            resumption.cancel = resumptions.add(() => resume(entry));
          });
          resumption.cancel = () => again.cancel();
        },
      },
    );
    // There may be one already.
    if (!hasOutcome) resumption.cancel = cancel;
  }

  function note({ cause, beganMs, messages }: Resumption): void {
    counters.count("balancer.resume.done", cause);
    counters.count("balancer.resume.messages", "", messages);
    counters.observe("balancer.resume.gap_ms", clock.nowMs() - beganMs);
  }

  /** The client reconnects by itself. */
  function fail(entry: Entry, reason: string): void {
    if (entry.resumption === undefined) return;
    endResumption(entry);
    counters.count("balancer.resume.closed", reason);
    entry.tunnel.endAtClient(clock);
  }

  function endResumption(entry: Entry): void {
    entry.resumption?.deadline.cancel();
    entry.resumption?.cancel();
    entry.resumption = undefined;
    resuming--;
  }

  // --- shutdown ---

  /**
   * Migrates those of `leaving` that are due; the first `done` were before. The last step takes all that were opened
   * meanwhile.
   */
  function migrateDue(leaving: readonly Tunnel[], done: number, time: Spread): void {
    const share = time.spreadMs > 0 ? (clock.nowMs() - time.beganMs) / time.spreadMs : 1;
    const isLast = share >= 1;
    const due = Math.ceil(leaving.length * share);
    migrate(isLast ? all.keys() : leaving.slice(done, due), time.graceMs);
    const nextMs = STEP_MS * (0.5 + deps.random());
    nextMigration = clock.after(nextMs, () => migrateDue(leaving, isLast ? done : due, time));
  }

  function migrate(tunnels: Iterable<Tunnel>, graceMs: number): void {
    const due = [...tunnels].filter((tunnel) => !tunnel.isMigrating);
    for (const tunnel of due) tunnel.isMigrating = true;
    for (const [upstream, group] of groupBy(due, (tunnel) => tunnel.upstream)) {
      const end = (): void => {
        for (const tunnel of group) if (all.has(tunnel)) tunnel.endAtClient(clock);
      };
      const ids = group.map(({ requestId }) => requestId);
      deps.migrateRequests(upstream, ids).then(
        () => clock.after(graceMs, end),
        (error: unknown) => {
          if (!cannotMigrate.has(upstream))
            log.info(
              { err: error, worker: upstream.id },
              "worker cannot migrate its clients; closing their connections",
            );
          cannotMigrate.add(upstream);
          end();
        },
      );
    }
  }

  return {
    open({ detach, head, rest, forwarding, ...options }) {
      const client = detach();
      const tunnel = new Tunnel(
        { ...options, client },
        {
          workerLost: resumeOrEnd,
          identified: index,
          repeated: () => counters.count("balancer.resume.repeats"),
          over: remove,
        },
      );
      const entry: Entry = {
        tunnel,
        forwarding,
        resumption: undefined,
        last: undefined,
        leaveWorker: nothing,
      };
      all.set(tunnel, entry);
      index(tunnel);
      joinWorker(entry);
      tunnel.begin(head, rest, client);
    },
    endMoved(session, epoch, at) {
      for (const tunnel of bySession.get(session) ?? []) {
        if (tunnel.upstream === at || (tunnel.session?.epoch ?? epoch) >= epoch) continue;
        const entry = all.get(tunnel);
        if (entry !== undefined) takeLast(entry);
      }
    },
    migrateAll(time) {
      migrateDue([...all.keys()], 0, { beganMs: clock.nowMs(), ...time });
    },
    endAll() {
      isEnding = true;
      nextMigration?.cancel();
      endings.clear();
      for (const tunnel of [...all.keys()]) tunnel.end(clock);
    },
    reportOpen() {
      for (const tunnel of all.keys()) tunnel.report();
    },
    get size() {
      return all.size;
    },
    get resuming() {
      return resuming;
    },
  };
}

function nothing(): void {}

/** The time over which many tunnels end. */
interface Spread {
  readonly beganMs: number;
  readonly spreadMs: number;
  readonly graceMs: number;
}

interface Pacer {
  /** Does it in one of the next steps, in order. Returns a function that cancels it. */
  add(action: () => void): () => void;
  clear(): void;
}

/** Does things a few at a time. `perStep`: how many in one step while so many wait. */
function createPacer(clock: Clock, stepMs: number, perStep: (waiting: number) => number): Pacer {
  const due = new Set<() => void>();
  let most = 0;
  let next: Timer | undefined;

  function step(): void {
    let left = most;
    for (const action of due) {
      if (left-- <= 0) break;
      due.delete(action);
      action();
    }
    if (due.size === 0) most = 0;
    next = due.size === 0 ? undefined : clock.after(stepMs, step);
  }

  return {
    add(action) {
      const entry = (): void => action();
      due.add(entry);
      most = Math.max(most, perStep(due.size));
      next ??= clock.after(0, step);
      return () => due.delete(entry);
    },
    clear() {
      next?.cancel();
      next = undefined;
      due.clear();
    },
  };
}
