/**
 * One process of the edge, a balancer or a worker, over all its runs (process-run.ts): started, started again when it ends
 * by itself, restarted, stopped.
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
import { type ChildRole, type ProcessRun, type RunEnd, scriptOf, startRun } from "./process-run.ts";

/**
 * `starting`: it has not said yet that it can be used · `up` · `stopping`: it was asked to end; a worker hands its sessions
 * over meanwhile · `waiting`: it ended by itself and is started again in a moment · `failing`: so it did again and again,
 * and still is tried · `stopped`: it has ended for good.
 */
export type ChildState = "starting" | "up" | "stopping" | "waiting" | "failing" | "stopped";

/** Takes a line that says how a change proceeds, for the operator who asked for it. */
export type Progress = (line: string) => void;

/** How a process is to end. */
export interface StopPlan {
  /** `edge`: all processes end; `process`: only this one. */
  readonly scope: "edge" | "process";
  /** Other workers that go on. */
  readonly siblings: readonly string[];
  /** Other workers that end too. */
  readonly ending: readonly string[];
  /** It is killed after this. */
  readonly deadlineMs: number;
  readonly progress: Progress;
}

export interface Child {
  readonly name: string;
  readonly role: ChildRole;
  /** The file that it runs. */
  readonly script: string;
  readonly pid: number | undefined;
  readonly state: ChildState;
  /** For how long it has been running, in ms; undefined while it does not. */
  readonly uptimeMs: number | undefined;
  /** How often it was started again because it had ended by itself. */
  readonly restarts: number;
  /** How it ended the last time, if it did. */
  readonly lastEnd: string | undefined;
  /** The last report; undefined while the process starts. */
  readonly ready: ReadyReport | undefined;
  /** Starts it. Resolves when it is ready; rejects with `ChildFailedError` when the first start fails. */
  start(): Promise<void>;
  /**
   * A worker ends in order and is started again. A balancer is replaced: its successor is started first, then takes over
   * the ports, and only then the former one ends. Resolves when the new process is ready and the former one is gone; when
   * it does not come up, it rejects and it is tried on, but a balancer that can go on does.
   */
  restart(plan: StopPlan): Promise<void>;
  /** Tells it that the process of another worker has ended. */
  tellExit(workerId: string): void;
  /** Tells it why the edge as a whole wants no traffic; empty: nothing speaks against it. */
  tellNotReady(reasons: readonly string[]): void;
  /** SIGHUP: it reads its certificates and opens its logs anew. */
  reload(): void;
  /** Ends it for good. Resolves when it is gone. */
  stop(plan: StopPlan): Promise<void>;
}

/** A balancer releases its ports within this, or hangs and is killed. */
const RELEASE_MS = 2000;

export function createChild(needs: {
  readonly role: ChildRole;
  readonly name: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
  /** Where its log lines go. */
  readonly lines: LineSink;
  readonly counters: Counters;
  /** Called at each start that succeeded. */
  readonly onReady: () => void;
  /** Called when a process of it that was ready has ended, unless it was stopped for good. */
  readonly onExit: () => void;
  /** It got SIGTERM, and wants to be restarted when it is its turn. */
  readonly onStopWanted: () => void;
}): Child {
  const { clock, log, name, role } = needs;
  /** Those that have not ended: while a balancer is replaced there are two. */
  const alive = new Set<ProcessRun>();
  /** The one that is in use. */
  let current: ProcessRun | undefined;
  /** Of a balancer that is replaced. */
  let successor: ProcessRun | undefined;
  let isStopped = false;
  /** Counts restarts and stops: an attempt to start that began before one has no say any more. */
  let generation = 0;
  let again: Timer | undefined;
  let backOff: BackOff = NO_BACK_OFF;
  let restarts = 0;
  let lastEnd: string | undefined;
  let progress: Progress = ignoreProgress;

  function begin(env: Readonly<Record<string, string>> = {}): ProcessRun {
    const run = startRun({
      ...needs,
      env: { ...needs.env, ...env, [SETTINGS.restarts.env]: String(restarts) },
      onMessage: (message) => hear(run, message),
    });
    alive.add(run);
    void run.ended.then((end) => {
      alive.delete(run);
      noteEnd(run, end);
    });
    return run;
  }

  function hear(run: ProcessRun, message: ProcessMessage): void {
    if (message.type === "draining" && message.sessions > 0) {
      progress(`${name}: handing over ${sessions(message.sessions)}`);
    }
    if (message.type === "drained" && message.left > 0) {
      progress(`${name}: ${sessions(message.left)} could not be handed over`);
    }
    if (message.type !== "stop-wanted") return;
    // Before it is ready it has nothing to hand over. `launch` starts it again.
    if (run.ready === undefined) run.send({ type: "stop", scope: "process" });
    else needs.onStopWanted();
  }

  /** Starts the process. Resolves when it is ready, rejects when it ends or hangs before that. */
  async function launch(): Promise<void> {
    for (;;) {
      const run = begin();
      current = run;
      try {
        await run.becameReady;
      } catch (error) {
        const { wasWanted } = await run.ended;
        // It got SIGTERM while it started.
        if (wasWanted && !run.isStopping && !isStopped) continue;
        throw error;
      }
      needs.onReady();
      return;
    }
  }

  function noteEnd(run: ProcessRun, end: RunEnd): void {
    if (run !== current) return;
    current = undefined;
    lastEnd = end.how;
    // Whoever started it hears that it did not come up.
    if (!end.wasReady) return;
    if (!isStopped) needs.onExit();
    // Whoever stopped it knows what comes next; so does `replace`.
    if (run.isStopping || successor !== undefined) return;
    if (end.wasWanted) {
      log.info({ child: name, how: end.how }, "a process that got SIGTERM is started again");
      tryAgain();
    } else comeBack(end.ranMs);
  }

  /** It ended by itself, after it ran for `ranMs` (0: it did not come up): tries again, for ever. */
  function comeBack(ranMs: number): void {
    const { next, delayMs } = afterEnd(backOff, ranMs, Math.random());
    const becomesFailing = isFailing(next) && !isFailing(backOff);
    backOff = next;
    needs.counters.count("edge.restarts", role);
    const fields = { child: name, how: lastEnd, restartInMs: delayMs };
    log.error(fields, "a process ended unexpectedly");
    if (becomesFailing) log.error({ child: name, ends: next.ends }, "a process keeps failing");
    again = clock.after(delayMs, () => {
      restarts++;
      tryAgain();
    });
  }

  function tryAgain(): void {
    const mine = generation;
    launch().catch((error: unknown) => {
      if (mine !== generation) return;
      log.error({ child: name, err: error }, "a process could not be started again");
      comeBack(0);
    });
  }

  /** Ends every process of it. */
  async function end(plan: StopPlan): Promise<void> {
    generation++;
    again?.cancel();
    progress = plan.progress;
    await Promise.all(
      [...alive].map(async (run) => {
        const beganMs = clock.nowMs();
        const { how } = await run.stop(plan);
        const isLate = how === "SIGKILL" && clock.nowMs() - beganMs >= plan.deadlineMs;
        if (isLate) plan.progress(`${name}: did not stop in time and was killed`);
      }),
    );
  }

  async function restartInOrder(plan: StopPlan): Promise<void> {
    await end(plan);
    // The edge may have been stopped meanwhile.
    if (isStopped) return;
    backOff = NO_BACK_OFF;
    const mine = generation;
    try {
      await launch();
    } catch (error) {
      if (mine === generation) comeBack(0);
      throw error;
    }
  }

  /**
   * The successor is started beside `before`, which then releases the ports and ends: nobody finds them closed for longer
   * than it takes to open them.
   */
  async function replace(before: ProcessRun, plan: StopPlan): Promise<void> {
    generation++;
    const next = begin({ ...portsOf(before), [STANDBY_VARIABLE]: "1" });
    successor = next;
    let isReleased = false;
    try {
      // One that cannot start says why before it is on standby, and nothing has changed.
      if (!(await next.heard("standby"))) await next.becameReady;
      isReleased = true;
      await releasePorts(before);
      next.send({ type: "open-ports" });
      await next.becameReady;
    } catch (error) {
      successor = undefined;
      const isUseless = isReleased || current === undefined;
      if (isUseless && !isStopped) {
        await before.stop(plan);
        comeBack(0);
      }
      throw error;
    }
    successor = undefined;
    current = next;
    backOff = NO_BACK_OFF;
    needs.onReady();
    plan.progress(`${name}: a new process accepts; the connections of the former one move to it`);
    lastEnd = (await before.stop(plan)).how;
  }

  /** A process that does not answer is killed, and its ports are free then too. */
  async function releasePorts(run: ProcessRun): Promise<void> {
    const answered = run.heard("ports-released");
    run.send({ type: "release-ports" });
    const isFree = await Promise.race([answered, sleep(clock, RELEASE_MS).then(() => undefined)]);
    if (isFree !== undefined) return;
    run.kill("SIGKILL");
    await run.ended;
  }

  function isSteady(): boolean {
    return current?.ready !== undefined && current.uptimeMs >= STEADY_MS;
  }

  return {
    name,
    role,
    script: scriptOf(role),
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
      await (before === undefined ? restartInOrder(plan) : replace(before, plan));
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
      // Before it is ready it may not have said yet what it does at SIGHUP, and would end.
      for (const run of alive) if (run.ready !== undefined) run.kill("SIGHUP");
    },
    stop(plan) {
      isStopped = true;
      return end(plan);
    },
  };
}

/** The ports that a successor opens, also when any free ones were asked for. */
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
  // Nobody asked for the change.
}
