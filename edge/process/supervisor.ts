/**
 * The processes of one machine's edge: one balancer and the workers, and the environment of each.
 */
import { hostname } from "node:os";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { EdgeError } from "../../shared/base/errors.ts";
import {
  Child,
  ignoreProgress,
  type Progress,
  type StopPlan,
} from "../../shared/children/child.ts";
import { type ChildRole, scriptOf } from "../../shared/children/process-run.ts";
import type { LineSink, Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { BALANCER_STATUS_PORT, STATUS_PORT_DISTANCE } from "../../shared/net/ports.ts";
import { environmentOf, type Settings } from "../../shared/settings/read-settings.ts";
import { workerName } from "./worker-name.ts";

class UnknownProcessError extends EdgeError {
  readonly code = "EDGE_UNKNOWN_PROCESS";
}

/** Some processes were not restarted: one before them did not become ready, or the edge stops. */
class RestartCutShortError extends EdgeError {
  readonly code = "EDGE_RESTART_CUT_SHORT";
}

/**
 * Time for a process to end when it has nothing to hand over, or is done with it. An edge with an embedded store stops
 * within 3 s as a whole.
 */
const STOP_MS = 2000;
/**
 * The longest handover of one session, which may begin at the end of a drain: 3 s for its clients to leave, 5 s to send its
 * pending messages, 2 s for the store. A worker that is killed in the middle of it loses those messages.
 */
const HANDOVER_MS = 10_000;
/** How soon the balancer is notified that a process is failing, or no longer is. */
const NOT_READY_PERIOD_MS = 1000;

export interface SupervisorDeps {
  /** Complete, with secret, certificate and data directory. */
  readonly settings: Settings;
  /** Undefined with a shared store. */
  readonly storeSocket: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly lines: LineSink;
  readonly counters: Counters;
  /** Called whenever a process has become ready, also after a restart. */
  readonly onReady: () => void;
}

export class Supervisor {
  readonly balancer: Child;
  readonly #deps: SupervisorDeps;
  readonly #notReadyTimer: Timer;
  #workers: readonly Child[];
  /** One change at a time: two concurrent `scale` calls would start the same worker twice. */
  #lastChange: Promise<unknown> = Promise.resolve();
  /** Changes that are queued or under way. */
  #pendingChanges = 0;
  #isStopping = false;

  constructor(deps: SupervisorDeps) {
    const { settings, clock } = deps;
    this.#deps = deps;
    this.balancer = this.#build("balancer", "balancer", {
      statusPort: settings.statusPort ?? BALANCER_STATUS_PORT,
    });
    this.#workers = Array.from({ length: settings.workerCount }, (_, index) =>
      this.#buildWorker(index),
    );
    // Repeated, because a restarted balancer has not received it.
    this.#notReadyTimer = clock.every(NOT_READY_PERIOD_MS, () => this.#tellNotReady());
  }

  get workers(): readonly Child[] {
    return this.#workers;
  }

  /**
   * Resolves when every process is ready; rejects with the first failure. `hasClients`: whether clients of an earlier edge are
   * about to return.
   */
  async start(clients: { readonly hasClients: boolean }): Promise<void> {
    // Workers first: they take up the sessions of their last run before clients ask other workers for them.
    await Promise.all(this.#workers.map((worker) => worker.start()));
    await this.balancer.start(clients);
  }

  /**
   * Restarts one process, or without a name all of them in turn: each worker when the one before is ready again, the balancer
   * last. Workers hand their sessions over first. Rejects when one does not become ready, and does not restart the rest.
   */
  async restart(name: string | undefined, progress: Progress): Promise<void> {
    // An unknown name fails at once. It is looked up again later, because queued changes may add or remove processes.
    this.#named(name);
    await this.#inTurn(() => this.#restartAll(this.#named(name), progress), progress);
  }

  /**
   * Starts or stops workers until there are `count`; those that stop, the last ones, hand their sessions over first. Rejects
   * when a new worker does not become ready, and drops it.
   */
  scale(count: number, progress: Progress): Promise<void> {
    return this.#inTurn(async () => {
      while (this.#workers.length < count && !this.#isStopping) await this.#addWorker(progress);
      if (!this.#isStopping) await this.#removeWorkers(this.#workers.slice(count), progress);
      this.#deps.onReady();
    }, progress);
  }

  /** Sends SIGHUP to every process. */
  reload(): void {
    for (const child of [this.balancer, ...this.#workers]) child.reload();
  }

  /** Resolves when every process is gone. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#notReadyTimer.cancel();
    // All at once, also with a shared store: each drain takes its time, and a container has a limit for all of them.
    const times = stopTimes(this.#deps.settings);
    const all = [this.balancer, ...this.#workers];
    await Promise.all(
      all.map((child) => {
        const plan = this.#stopPlan(all, child, ignoreProgress);
        return child.stop({ ...plan, scope: "edge", ...times });
      }),
    );
  }

  // --- building processes ---

  #buildWorker(index: number): Child {
    const { settings } = this.#deps;
    const id = workerName(settings, hostname(), index);
    return this.#build("worker", id, { workerId: id, ...workerPorts(settings, index) });
  }

  #build(role: ChildRole, name: string, own: Partial<Settings>): Child {
    const { settings, storeSocket } = this.#deps;
    const env = {
      ...inherited(process.env),
      ...environmentOf({ ...settings, storeSocket, ...own }, role),
    };
    const child: Child = new Child({
      ...this.#deps,
      role,
      name,
      script: scriptOf(role),
      env,
      // The other workers may take its sessions over at once, and after its restart it takes up those that are left:
      // whichever is first brings the peers back, and a worker that cannot start again does not keep them waiting.
      onExit: () => {
        if (role === "worker") this.#tellOthersOfExit(name);
      },
      onStopWanted: () => this.#restartAfterSignal(child),
    });
    return child;
  }

  // --- messages ---

  #tellOthersOfExit(name: string): void {
    for (const worker of this.#workers) if (worker.name !== name) worker.tellExit(name);
  }

  #tellNotReady(): void {
    const failing = this.#workers.filter(({ state }) => state === "failing");
    this.balancer.tellNotReady(
      failing.map(({ name, lastEnd }) => `${name} keeps failing (${lastEnd})`),
    );
  }

  // --- changes ---

  async #inTurn<T>(change: () => Promise<T>, progress: Progress): Promise<T> {
    if (this.#pendingChanges > 0) progress("waiting until another change is done");
    this.#pendingChanges++;
    const turn = this.#lastChange.then(change).finally(() => {
      this.#pendingChanges--;
    });
    this.#lastChange = turn.catch(() => {});
    return turn;
  }

  /** The processes of `ending` stop, among them `child`; all other workers keep running. */
  #stopPlan(ending: readonly Child[], child: Child, progress: Progress): StopPlan {
    const others = this.#workers.filter((worker) => worker !== child);
    const names = (isEnding: boolean): string[] =>
      others.filter((other) => ending.includes(other) === isEnding).map(({ name }) => name);
    return {
      scope: "process",
      siblings: names(false),
      ending: names(true),
      ...drainTimes(this.#deps.settings),
      progress,
    };
  }

  /** Throws `UnknownProcessError`. */
  #named(name: string | undefined): readonly Child[] {
    const all = [...this.#workers, this.balancer];
    if (name === undefined) return all;
    const matching = all.filter((child) => child.name === name);
    if (matching.length > 0) return matching;
    const names = all.map((child) => child.name).join(", ");
    throw new UnknownProcessError(`there is no process ${name}; processes are ${names}`);
  }

  async #restartAll(children: readonly Child[], progress: Progress): Promise<void> {
    for (const [index, child] of children.entries()) {
      const left = children.slice(index + 1).map(({ name }) => name);
      if (this.#isStopping) throw cutShort("the edge stops", [child.name, ...left]);
      try {
        await child.restart(this.#stopPlan([child], child, progress));
      } catch (error) {
        if (left.length === 0 || !(error instanceof EdgeError)) throw error;
        throw cutShort(`${child.name}: ${error.message}`, left);
      }
    }
  }

  /** Restarts a process that received SIGTERM as an operator's restart would, unless it has ended before its turn. */
  #restartAfterSignal(child: Child): void {
    const { pid } = child;
    const { log } = this.#deps;
    log.info({ child: child.name, pid }, "a process received SIGTERM and is restarted");
    this.#inTurn(async () => {
      if (this.#isStopping || child.pid !== pid) return;
      await child.restart(this.#stopPlan([child], child, ignoreProgress));
    }, ignoreProgress).catch((error: unknown) =>
      log.error({ child: child.name, err: error }, "a process could not be restarted"),
    );
  }

  async #addWorker(progress: Progress): Promise<void> {
    const worker = this.#buildWorker(this.#workers.length);
    this.#workers = [...this.#workers, worker];
    try {
      await worker.start();
      progress(`${worker.name}: started (pid ${worker.pid})`);
    } catch (error) {
      this.#workers = this.#workers.filter((other) => other !== worker);
      throw error;
    }
  }

  /** All at once: none of them hands sessions to another one that stops too. */
  async #removeWorkers(removed: readonly Child[], progress: Progress): Promise<void> {
    await Promise.all(
      removed.map(async (worker) => {
        await worker.stop(this.#stopPlan(removed, worker, progress));
        this.#workers = this.#workers.filter((other) => other !== worker);
        // It does not come back, so the others need not wait until its lease expires.
        this.#tellOthersOfExit(worker.name);
        progress(`${worker.name}: removed`);
      }),
    );
  }
}

type DrainSettings = Pick<Settings, "drainDelayMs" | "drainTimeoutMs">;

type StopTimes = Pick<StopPlan, "deadlineMs" | "handoverMs">;

/** Time for a process to end when the whole edge stops: with a shared store it drains to other machines first. */
export function stopTimes(settings: DrainSettings & Pick<Settings, "redisUrl">): StopTimes {
  return settings.redisUrl === undefined
    ? { deadlineMs: STOP_MS, handoverMs: 0 }
    : drainTimes(settings);
}

function drainTimes({ drainDelayMs, drainTimeoutMs }: DrainSettings): StopTimes {
  return { deadlineMs: drainDelayMs + drainTimeoutMs + STOP_MS, handoverMs: HANDOVER_MS };
}

function cutShort(why: string, left: readonly string[]): RestartCutShortError {
  return new RestartCutShortError(`${why}; not restarted: ${left.join(", ")}`);
}

/** Ports of the worker at `index`. When either setting is 0, the status port is any free port too. */
function workerPorts(
  settings: Settings,
  index: number,
): Pick<Settings, "workerPort" | "statusPort"> {
  if (settings.workerPort === 0) return { workerPort: 0, statusPort: 0 };
  const workerPort = settings.workerPort + index;
  const statusPort = settings.statusPort === 0 ? 0 : workerPort + STATUS_PORT_DISTANCE;
  return { workerPort, statusPort };
}

/**
 * The part of the edge's own environment that children inherit: not the settings, which they get in their checked form, and
 * not npm's variables, with which only the edge itself watches npm.
 */
function inherited(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && !/^(CT_|npm_)/.test(name)) kept[name] = value;
  }
  return kept;
}
