/**
 * One process of the edge, a balancer or a worker, over all its runs (process-run.ts): start, restart after a crash,
 * restart on request, stop.
 */
import { type Clock, sleep, type Timer } from "../../shared/base/clock.ts";
import type { LineSink, Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import {
  type ProcessMessage,
  type ReadyReport,
  STANDBY_VARIABLE,
} from "../../shared/process/edge-channel.ts";
import { SETTINGS } from "../../shared/settings/settings.ts";
import { afterEnd, type BackOff, isFailing, NO_BACK_OFF, STEADY_MS } from "./backoff.ts";
import { type ChildRole, type ProcessRun, type RunEnd, startRun } from "./process-run.ts";

/**
 * `starting`: not ready yet · `up` · `stopping`: it was asked to stop; a worker hands its sessions over · `waiting`: it ended
 * unexpectedly and is started again after a delay · `failing`: it ended unexpectedly several times in a row; it is still
 * started again · `stopped`: it has ended and is not started again.
 */
export type ChildState = "starting" | "up" | "stopping" | "waiting" | "failing" | "stopped";

/** Receives progress lines for the operator who requested a change. */
export type Progress = (line: string) => void;

export interface StopPlan {
  /** `edge`: all processes end; `process`: only this one. */
  readonly scope: "edge" | "process";
  /** Other workers that keep running. */
  readonly siblings: readonly string[];
  /** Other workers that end too. */
  readonly ending: readonly string[];
  /** It is killed after this. */
  readonly deadlineMs: number;
  /** Added to the deadline of a worker that is handing a session over when it is reached. */
  readonly handoverMs: number;
  readonly progress: Progress;
}

export interface Child {
  readonly name: string;
  readonly role: ChildRole;
  /** Its entry file. */
  readonly script: string;
  readonly pid: number | undefined;
  readonly state: ChildState;
  /** Undefined while it does not run. */
  readonly uptimeMs: number | undefined;
  /** Restarts after an unexpected end. */
  readonly restarts: number;
  /** How its last run ended: `SIGKILL`, `status 1`. */
  readonly lastEnd: string | undefined;
  /** The last report; undefined while the process starts. */
  readonly ready: ReadyReport | undefined;
  /** Resolves when it is ready; rejects with `ChildFailedError` when the first start fails. */
  start(): Promise<void>;
  /**
   * A worker shuts down gracefully and is started again. A balancer is replaced: its successor starts first, then takes over
   * the ports, and only then the old process stops. Resolves when the new process is ready and the old one is gone. Rejects
   * when the new process does not become ready: a balancer that still has its ports keeps running, otherwise the start is
   * tried again.
   */
  restart(plan: StopPlan): Promise<void>;
  /** Notifies it that the process of another worker has ended. */
  tellExit(workerId: string): void;
  /** Notifies it why the edge as a whole is not ready; empty: the edge is ready. */
  tellNotReady(reasons: readonly string[]): void;
  /** Sends SIGHUP: it reloads its certificates and reopens its logs. */
  reload(): void;
  /** Stops it; it is not started again. Resolves when it is gone. */
  stop(plan: StopPlan): Promise<void>;
}

/** A balancer that has not released its ports within this hangs, and is killed. */
const RELEASE_MS = 2000;

export function createChild(deps: {
  readonly role: ChildRole;
  readonly name: string;
  readonly script: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
  /** Gets its log lines. */
  readonly lines: LineSink;
  readonly counters: Counters;
  /** Called when a start has succeeded. */
  readonly onReady: () => void;
  /** Called when a run that was ready has ended, unless by `stop`. */
  readonly onExit: () => void;
  /** It received SIGTERM, and asks to be restarted when no other change is under way. */
  readonly onStopWanted: () => void;
}): Child {
  const { clock, log, name, role } = deps;
  /** Runs that have not ended; two while a balancer is replaced. */
  const alive = new Set<ProcessRun>();
  /** The run in use. */
  let current: ProcessRun | undefined;
  /** The new run while a balancer is replaced. */
  let successor: ProcessRun | undefined;
  let isStopped = false;
  /** Counts restarts and stops: the failure of a start that began before one is ignored. */
  let generation = 0;
  let retryTimer: Timer | undefined;
  let backOff: BackOff = NO_BACK_OFF;
  let restarts = 0;
  let lastEnd: string | undefined;
  let progress: Progress = ignoreProgress;

  function begin(env: Readonly<Record<string, string>> = {}): ProcessRun {
    const run = startRun({
      ...deps,
      env: { ...deps.env, ...env, [SETTINGS.restarts.env]: String(restarts) },
      onMessage: (message) => onMessage(run, message),
    });
    alive.add(run);
    void run.ended.then((end) => {
      alive.delete(run);
      noteEnd(run, end);
    });
    return run;
  }

  function onMessage(run: ProcessRun, message: ProcessMessage): void {
    if (message.type === "draining" && message.sessions > 0) {
      progress(`${name}: handing over ${sessions(message.sessions)}`);
    }
    if (message.type === "drained" && message.left > 0) {
      progress(`${name}: ${sessions(message.left)} could not be handed over`);
    }
    if (message.type !== "stop-wanted") return;
    // A run that is not ready has nothing to hand over; `launch` starts the next one.
    if (run.ready === undefined) run.send({ type: "stop", scope: "process" });
    else deps.onStopWanted();
  }

  /** Resolves when a run is ready; rejects when it ends or hangs before that. */
  async function launch(): Promise<void> {
    for (;;) {
      const run = begin();
      current = run;
      try {
        await run.becameReady;
      } catch (error) {
        const { wasWanted } = await run.ended;
        // It received SIGTERM while it started.
        if (wasWanted && !run.isStopping && !isStopped) continue;
        throw error;
      }
      deps.onReady();
      return;
    }
  }

  function noteEnd(run: ProcessRun, end: RunEnd): void {
    if (run !== current) return;
    current = undefined;
    lastEnd = end.how;
    // The code that started it handles a failed start.
    if (!end.wasReady) return;
    if (!isStopped) deps.onExit();
    // The code that stopped it starts the next run; so does `replace`.
    if (run.isStopping || successor !== undefined) return;
    if (end.wasWanted) {
      log.info({ child: name, how: end.how }, "a process that received SIGTERM is started again");
      startAgain();
    } else startAfterDelay(end.ranMs);
  }

  /** After an unexpected end; `ranMs` is 0 when the run was never ready. Retries without a limit. */
  function startAfterDelay(ranMs: number): void {
    const { next, delayMs } = afterEnd(backOff, ranMs, Math.random());
    const becomesFailing = isFailing(next) && !isFailing(backOff);
    backOff = next;
    deps.counters.count("edge.restarts", role);
    const fields = { child: name, how: lastEnd, restartInMs: delayMs };
    log.error(fields, "a process ended unexpectedly");
    if (becomesFailing) log.error({ child: name, ends: next.ends }, "a process keeps failing");
    retryTimer = clock.after(delayMs, () => {
      restarts++;
      startAgain();
    });
  }

  function startAgain(): void {
    const startedIn = generation;
    launch().catch((error: unknown) => {
      if (startedIn !== generation) return;
      log.error({ child: name, err: error }, "a process could not be started again");
      startAfterDelay(0);
    });
  }

  /** Stops all runs. */
  async function stopRuns(plan: StopPlan): Promise<void> {
    generation++;
    retryTimer?.cancel();
    progress = plan.progress;
    await Promise.all(
      [...alive].map(async (run) => {
        const { missedDeadline } = await run.stop(plan);
        if (missedDeadline) plan.progress(`${name}: did not stop in time and was killed`);
      }),
    );
  }

  async function stopAndStart(plan: StopPlan): Promise<void> {
    await stopRuns(plan);
    // `stop` may have been called since.
    if (isStopped) return;
    backOff = NO_BACK_OFF;
    const startedIn = generation;
    try {
      await launch();
    } catch (error) {
      if (startedIn === generation) startAfterDelay(0);
      throw error;
    }
  }

  /**
   * The successor starts beside `before`, which then releases the ports and stops: the ports are closed only for the time
   * that the successor takes to open them.
   */
  async function replace(before: ProcessRun, plan: StopPlan): Promise<void> {
    generation++;
    const next = begin({ ...portsOf(before), [STANDBY_VARIABLE]: "1" });
    successor = next;
    let isReleased = false;
    try {
      // A successor that cannot start fails before it is on standby, while `before` still has the ports.
      if (!(await next.received("standby"))) await next.becameReady;
      isReleased = true;
      await releasePorts(before);
      next.send({ type: "open-ports" });
      await next.becameReady;
    } catch (error) {
      successor = undefined;
      const isBeforeUsable = !isReleased && current !== undefined;
      if (!isBeforeUsable && !isStopped) {
        await before.stop(plan);
        startAfterDelay(0);
      }
      throw error;
    }
    successor = undefined;
    current = next;
    backOff = NO_BACK_OFF;
    deps.onReady();
    plan.progress(`${name}: a new process accepts; connections of the old one move to it`);
    lastEnd = (await before.stop(plan)).how;
  }

  /** A process that does not respond is killed, which frees its ports too. */
  async function releasePorts(run: ProcessRun): Promise<void> {
    const released = run.received("ports-released").then(() => "released" as const);
    run.send({ type: "release-ports" });
    const timeout = sleep(clock, RELEASE_MS).then(() => "timeout" as const);
    if ((await Promise.race([released, timeout])) === "released") return;
    run.kill("SIGKILL");
    await run.ended;
  }

  function isSteady(): boolean {
    return current?.ready !== undefined && current.uptimeMs >= STEADY_MS;
  }

  return {
    name,
    role,
    script: deps.script,
    get pid() {
      return current?.pid;
    },
    get state() {
      if (isStopped) return alive.size > 0 ? "stopping" : "stopped";
      if (current?.isStopping) return "stopping";
      if (isFailing(backOff) && !isSteady()) return "failing";
      if (current === undefined) return "waiting";
      return current.ready === undefined ? "starting" : "up";
    },
    get uptimeMs() {
      return current?.uptimeMs;
    },
    get restarts() {
      return restarts;
    },
    get lastEnd() {
      return lastEnd;
    },
    get ready() {
      return current?.ready;
    },
    start: launch,
    async restart(plan) {
      if (isStopped) return;
      const beganMs = clock.nowMs();
      const before = role === "balancer" && current?.ready !== undefined ? current : undefined;
      await (before === undefined ? stopAndStart(plan) : replace(before, plan));
      if (isStopped) return;
      const seconds = ((clock.nowMs() - beganMs) / 1000).toFixed(1);
      plan.progress(`${name}: restarted in ${seconds} s (pid ${current?.pid})`);
    },
    tellExit(workerId) {
      current?.send({ type: "exited", workerId });
    },
    tellNotReady(reasons) {
      current?.send({ type: "not-ready", reasons: [...reasons] });
    },
    reload() {
      // A run that is not ready may have no SIGHUP handler yet, and would end.
      for (const run of alive) if (run.ready !== undefined) run.kill("SIGHUP");
    },
    stop(plan) {
      isStopped = true;
      return stopRuns(plan);
    },
  };
}

/** The ports that a successor opens: the actual ones, also where the settings ask for any free port. */
function portsOf({ ready }: ProcessRun): Record<string, string> {
  const ports = {
    CT_PORT: ready?.httpPort,
    CT_TLS_PORT: ready?.tlsPort,
    CT_STATUS_PORT: ready?.statusPort,
  };
  const open = Object.entries(ports).filter(([, port]) => port !== undefined);
  return Object.fromEntries(open.map(([name, port]) => [name, String(port)]));
}

function sessions(count: number): string {
  return count === 1 ? "1 session" : `${count} sessions`;
}

export function ignoreProgress(): void {
  // The change has no operator who waits for it.
}
