/**
 * One process of the edge, a balancer or a worker, over all its runs (process-run.ts): start, restart after a crash,
 * restart on request, stop.
 */

import { type Clock, sleep, type Timer } from "../base/clock.ts";
import { counted } from "../base/counted.ts";
import type { LineSink, Log } from "../logs/log.ts";
import type { Counters } from "../metrics/metrics.ts";
import {
  type ProcessMessage,
  type ReadyReport,
  STANDBY_VARIABLE,
} from "../process/edge-channel.ts";
import { SETTINGS } from "../settings/settings.ts";
import { afterEnd, type BackOff, isFailing, NO_BACK_OFF, STEADY_MS } from "./backoff.ts";
import {
  type ChildRole,
  ProcessRun,
  type RunDeps,
  type RunEnd,
  type StopOrder,
} from "./process-run.ts";

/**
 * `starting`: not ready yet · `up` · `stopping`: it was asked to stop; a worker hands its sessions over · `waiting`: it ended
 * unexpectedly and is started again after a delay · `failing`: it ended unexpectedly several times in a row; it is still
 * started again · `stopped`: it has ended and is not started again.
 */
type ChildState = "starting" | "up" | "stopping" | "waiting" | "failing" | "stopped";

/** Receives progress lines for the operator who requested a change. */
export type Progress = (line: string) => void;

export interface StopPlan extends StopOrder {
  readonly progress: Progress;
}

/** For a balancer whose clients wait for its ports: it opens them without a warm-up. */
const WITHOUT_WARM_UP = { [SETTINGS.warmUpMs.env]: "0" };

/** A balancer that has not released its ports within this hangs, and is killed. */
const RELEASE_MS = 2000;

interface ChildDeps {
  readonly role: ChildRole;
  readonly name: string;
  /** Its entry file. */
  readonly script: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly fork?: RunDeps["fork"];
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
}

export class Child {
  readonly name: string;
  readonly role: ChildRole;
  readonly script: string;
  readonly #deps: ChildDeps;
  /** Runs that have not ended; two while a balancer is replaced. */
  readonly #alive = new Set<ProcessRun>();
  /** The run in use. */
  #current: ProcessRun | undefined;
  /** The new run while a balancer is replaced. */
  #successor: ProcessRun | undefined;
  #isStopped = false;
  /** Counts restarts and stops: the failure of a start that began before one is ignored. */
  #generation = 0;
  #retryTimer: Timer | undefined;
  #backOff: BackOff = NO_BACK_OFF;
  #restarts = 0;
  #lastEnd: string | undefined;
  #progress: Progress = ignoreProgress;

  constructor(deps: ChildDeps) {
    this.#deps = deps;
    this.name = deps.name;
    this.role = deps.role;
    this.script = deps.script;
  }

  // --- what it is doing ---

  get pid(): number | undefined {
    return this.#current?.pid;
  }

  get state(): ChildState {
    if (this.#isStopped) return this.#alive.size > 0 ? "stopping" : "stopped";
    if (this.#current?.isStopping) return "stopping";
    if (isFailing(this.#backOff) && !this.#isSteady()) return "failing";
    if (this.#current === undefined) return "waiting";
    return this.#current.ready === undefined ? "starting" : "up";
  }

  /** Undefined while it does not run. */
  get uptimeMs(): number | undefined {
    return this.#current?.uptimeMs;
  }

  /** Restarts after an unexpected end. */
  get restarts(): number {
    return this.#restarts;
  }

  /** How its last run ended: `SIGKILL`, `status 1`. */
  get lastEnd(): string | undefined {
    return this.#lastEnd;
  }

  /** The last report; undefined while the process starts. */
  get ready(): ReadyReport | undefined {
    return this.#current?.ready;
  }

  #isSteady(): boolean {
    return this.#current?.ready !== undefined && this.#current.uptimeMs >= STEADY_MS;
  }

  // --- messages ---

  /** Notifies it that the process of another worker has ended. */
  tellExit(workerId: string): void {
    this.#current?.send({ type: "exited", workerId });
  }

  /** Notifies it why the edge as a whole is not ready; empty: the edge is ready. */
  tellNotReady(reasons: readonly string[]): void {
    this.#current?.send({ type: "not-ready", reasons: [...reasons] });
  }

  /** Sends SIGHUP: it reloads its certificates and reopens its logs. */
  reload(): void {
    for (const run of this.#alive) {
      if (run.ready !== undefined) run.kill("SIGHUP");
      // Before it is ready it may have no SIGHUP handler yet, and would end.
      else run.becameReady.then(() => run.kill("SIGHUP")).catch(() => {});
    }
  }

  /** Ends a drain that `stop` began: it stops at once. */
  cutShort(): void {
    for (const run of this.#alive) run.kill("SIGTERM");
  }

  #onMessage(run: ProcessRun, message: ProcessMessage): void {
    if (message.type === "draining" && message.sessions > 0) {
      this.#progress(`${this.name}: handing over ${counted(message.sessions, "session")}`);
    }
    if (message.type === "drained" && message.left > 0) {
      this.#progress(`${this.name}: ${counted(message.left, "session")} could not be handed over`);
    }
    if (message.type !== "stop-wanted") return;
    // A run that is not ready has nothing to hand over; `#launch` starts the next one.
    if (run.ready === undefined) run.send({ type: "stop", scope: "process" });
    else this.#deps.onStopWanted();
  }

  // --- start, and restart after an end that was not requested ---

  /**
   * Resolves when it is ready; rejects with `ChildFailedError` when the first start fails. `hasClients`: whether clients of an
   * earlier edge are about to return, so that a balancer must open its ports as soon as it can.
   */
  start({ hasClients = false } = {}): Promise<void> {
    return this.#launch(hasClients ? WITHOUT_WARM_UP : {});
  }

  #begin(env: Readonly<Record<string, string>> = {}): ProcessRun {
    const run: ProcessRun = new ProcessRun({
      ...this.#deps,
      env: { ...this.#deps.env, ...env, [SETTINGS.restarts.env]: String(this.#restarts) },
      onMessage: (message) => this.#onMessage(run, message),
    });
    this.#alive.add(run);
    void run.ended.then((end) => {
      this.#alive.delete(run);
      this.#onEnd(run, end);
    });
    return run;
  }

  /** Resolves when a run is ready; rejects when it ends or hangs before that. */
  async #launch(env: Readonly<Record<string, string>> = {}): Promise<void> {
    for (;;) {
      const run = this.#begin(env);
      this.#current = run;
      try {
        await run.becameReady;
      } catch (error) {
        const { wasWanted } = await run.ended;
        // It received SIGTERM while it started.
        if (wasWanted && !run.isStopping && !this.#isStopped) continue;
        throw error;
      }
      this.#deps.onReady();
      return;
    }
  }

  #onEnd(run: ProcessRun, end: RunEnd): void {
    if (run !== this.#current) return;
    this.#current = undefined;
    this.#lastEnd = end.how;
    // The code that started it handles a failed start.
    if (!end.wasReady) return;
    if (!this.#isStopped) this.#deps.onExit();
    // The code that stopped it starts the next run; so does `#replace`.
    if (run.isStopping || this.#successor !== undefined) return;
    if (!end.wasWanted) {
      this.#startAfterDelay(end.ranMs);
      return;
    }
    const fields = { child: this.name, how: end.how };
    this.#deps.log.info(fields, "a process that received SIGTERM is started again");
    this.#startAgain();
  }

  /** After an unexpected end; `ranMs` is 0 when the run was never ready. Retries without a limit. */
  #startAfterDelay(ranMs: number): void {
    const { clock, log, counters } = this.#deps;
    const { next, delayMs } = afterEnd(this.#backOff, ranMs, Math.random());
    const becomesFailing = isFailing(next) && !isFailing(this.#backOff);
    this.#backOff = next;
    counters.count("edge.restarts", this.role);
    const fields = { child: this.name, how: this.#lastEnd, restartInMs: delayMs };
    log.error(fields, "a process ended unexpectedly");
    if (becomesFailing) log.error({ child: this.name, ends: next.ends }, "a process keeps failing");
    this.#retryTimer = clock.after(delayMs, () => {
      this.#restarts++;
      this.#startAgain();
    });
  }

  #startAgain(): void {
    const startedIn = this.#generation;
    this.#launch(WITHOUT_WARM_UP).catch((error: unknown) => {
      if (startedIn !== this.#generation) return;
      const fields = { child: this.name, err: error };
      this.#deps.log.error(fields, "a process could not be started again");
      this.#startAfterDelay(0);
    });
  }

  // --- stop and restart on request ---

  /** Stops it; it is not started again. Resolves when it is gone. */
  stop(plan: StopPlan): Promise<void> {
    this.#isStopped = true;
    return this.#stopRuns(plan);
  }

  /**
   * A worker shuts down gracefully and is started again. A balancer is replaced: its successor starts first, then takes over
   * the ports, and only then the old process stops. Resolves when the new process is ready and the old one is gone. Rejects
   * when the new process does not become ready: a balancer that still has its ports keeps running, otherwise the start is
   * tried again.
   */
  async restart(plan: StopPlan): Promise<void> {
    if (this.#isStopped) return;
    const { clock } = this.#deps;
    const beganMs = clock.nowMs();
    const before =
      this.role === "balancer" && this.#current?.ready !== undefined ? this.#current : undefined;
    await (before === undefined ? this.#stopAndStart(plan) : this.#replace(before, plan));
    if (this.#isStopped) return;
    const seconds = ((clock.nowMs() - beganMs) / 1000).toFixed(1);
    plan.progress(`${this.name}: restarted in ${seconds} s (pid ${this.pid})`);
  }

  async #stopRuns(plan: StopPlan): Promise<void> {
    this.#generation++;
    this.#retryTimer?.cancel();
    this.#progress = plan.progress;
    await Promise.all(
      [...this.#alive].map(async (run) => {
        const { missedDeadline } = await run.stop(plan);
        if (missedDeadline) plan.progress(`${this.name}: did not stop in time and was killed`);
      }),
    );
  }

  async #stopAndStart(plan: StopPlan): Promise<void> {
    await this.#stopRuns(plan);
    // `stop` may have been called since.
    if (this.#isStopped) return;
    this.#backOff = NO_BACK_OFF;
    const startedIn = this.#generation;
    try {
      // Its clients wait: the ports are closed.
      await this.#launch(WITHOUT_WARM_UP);
    } catch (error) {
      if (startedIn === this.#generation) this.#startAfterDelay(0);
      throw error;
    }
  }

  /**
   * The successor starts beside `before`, which then releases the ports and stops: the ports are closed only for the time
   * that the successor takes to open them.
   */
  async #replace(before: ProcessRun, plan: StopPlan): Promise<void> {
    this.#generation++;
    const next = this.#begin({ ...portsOf(before), [STANDBY_VARIABLE]: "1" });
    this.#successor = next;
    let isReleased = false;
    try {
      // A successor that cannot start fails before it is on standby, while `before` still has the ports.
      if (!(await next.received("standby"))) await next.becameReady;
      isReleased = true;
      await this.#releasePorts(before);
      next.send({ type: "open-ports" });
      await next.becameReady;
    } catch (error) {
      this.#successor = undefined;
      const isBeforeUsable = !isReleased && this.#current !== undefined;
      if (!isBeforeUsable && !this.#isStopped) {
        await before.stop(plan);
        this.#startAfterDelay(0);
      }
      throw error;
    }
    this.#successor = undefined;
    this.#current = next;
    this.#backOff = NO_BACK_OFF;
    this.#deps.onReady();
    plan.progress(`${this.name}: a new process accepts; connections of the old one move to it`);
    this.#lastEnd = (await before.stop(plan)).how;
  }

  /** A process that does not respond is killed, which frees its ports too. */
  async #releasePorts(run: ProcessRun): Promise<void> {
    const released = run.received("ports-released").then(() => "released" as const);
    run.send({ type: "release-ports" });
    const timeout = sleep(this.#deps.clock, RELEASE_MS).then(() => "timeout" as const);
    if ((await Promise.race([released, timeout])) === "released") return;
    run.kill("SIGKILL");
    await run.ended;
  }
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

export function ignoreProgress(): void {
  // The change has no operator who waits for it.
}
