/**
 * The processes of one machine's edge: one balancer and the workers, with the environment that each is started with.
 */

import { hostname } from "node:os";
import type { Clock } from "../../shared/base/clock.ts";
import { EdgeError } from "../../shared/base/errors.ts";
import type { LineSink, Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { environmentOf, type Settings } from "../../shared/settings/read-settings.ts";
import { type Child, createChild, ignoreProgress, type Progress, type StopPlan } from "./child.ts";
import type { ChildRole } from "./process-run.ts";
import { workerName } from "./worker-name.ts";

export interface Supervisor {
  readonly balancer: Child;
  readonly workers: readonly Child[];
  /** Resolves when every process is ready; rejects with the first failure. */
  start(): Promise<void>;
  /**
   * Restarts one process, or without a name all of them: one worker after the other, each when the one before is ready
   * again, and the balancer at last. Workers hand their sessions over first. Rejects when one does not come up, and leaves
   * those after it alone.
   */
  restart(name: string | undefined, progress: Progress): Promise<void>;
  /**
   * Starts more workers, or ends the last ones, which hand their sessions over first, until there are so many. Rejects
   * when a new one does not come up, which is then not kept.
   */
  scale(count: number, progress: Progress): Promise<void>;
  /** SIGHUP for every process. */
  reload(): void;
  /** Resolves when every process is gone. */
  stop(): Promise<void>;
}

/** There is no process of that name here. */
export class UnknownProcessError extends EdgeError {
  readonly code = "EDGE_UNKNOWN_PROCESS";
  readonly source = "settings";
  readonly retryable = false;
}

/** Some processes were not restarted: one before them did not come up, or the edge stops. */
export class RestartCutShortError extends EdgeError {
  readonly code = "EDGE_RESTART_CUT_SHORT";
  readonly source = "internal";
  readonly retryable = true;
}

/** Status ports are this far from the traffic port. */
const STATUS_PORT_DISTANCE = 1000;
const BALANCER_STATUS_PORT = 1081;
/**
 * Time that a process has to end when it has nothing to hand over, or has done so. An edge with a store of its own has 3 s
 * as a whole.
 */
const STOP_MS = 2000;
/** How soon the balancer hears that another process is failing, or is not any more. */
const NOT_READY_PERIOD_MS = 1000;

export function createSupervisor(needs: {
  /** With secret, certificate and data directory filled in. */
  settings: Settings;
  /** Undefined with a store that others share. */
  storeSocket: string | undefined;
  clock: Clock;
  log: Log;
  lines: LineSink;
  counters: Counters;
  /** Called whenever a process became ready, also after a restart. */
  onReady: () => void;
}): Supervisor {
  const { settings } = needs;
  const build = (role: ChildRole, name: string, own: Partial<Settings>): Child => {
    const all: Partial<Settings> = { ...settings, storeSocket: needs.storeSocket, ...own };
    const env = { ...inherited(process.env), ...environmentOf(all, role) };
    // Others may take its sessions over at once. It takes up itself what nobody has taken when it is back: whichever is
    // first brings the peers back sooner, and a worker that cannot start again keeps nobody waiting.
    const onExit = (): void => {
      if (role !== "worker") return;
      for (const worker of workers) if (worker.name !== name) worker.tellExit(name);
    };
    const child: Child = createChild({
      ...needs,
      role,
      name,
      env,
      onExit,
      onStopWanted: () => restartAsSignalled(child),
    });
    return child;
  };
  const balancer = build("balancer", "balancer", {
    statusPort: settings.statusPort ?? BALANCER_STATUS_PORT,
  });
  let workers = Array.from({ length: settings.workerCount }, (_, index) => buildWorker(index));
  /** One change at a time: two that scale at once would start the same worker twice. */
  let changing: Promise<unknown> = Promise.resolve();
  /** Changes that are not done. */
  let waiting = 0;
  let isStopping = false;

  function buildWorker(index: number): Child {
    const id = workerName(settings, hostname(), index);
    return build("worker", id, { workerId: id, ...workerPorts(settings, index) });
  }

  async function inTurn<T>(change: () => Promise<T>, progress: Progress): Promise<T> {
    if (waiting > 0) progress("waiting until another change is done");
    waiting++;
    const turn = changing.then(change).finally(() => {
      waiting--;
    });
    changing = turn.catch(() => {});
    return turn;
  }

  /** Only `ending` end, among them `child`; all other workers go on. */
  function stopPlan(ending: readonly Child[], child: Child, progress: Progress): StopPlan {
    const others = workers.filter((worker) => worker !== child);
    const names = (isEnding: boolean): string[] =>
      others.filter((other) => ending.includes(other) === isEnding).map(({ name }) => name);
    return {
      scope: "process",
      siblings: names(false),
      ending: names(true),
      deadlineMs: drainDeadlineMs(settings),
      progress,
    };
  }

  function chosen(name: string | undefined): readonly Child[] {
    const all = [...workers, balancer];
    if (name === undefined) return all;
    const found = all.filter((child) => child.name === name);
    if (found.length > 0) return found;
    const names = all.map((child) => child.name).join(", ");
    throw new UnknownProcessError(`there is no process ${name}; there are ${names}`);
  }

  async function restartAll(children: readonly Child[], progress: Progress): Promise<void> {
    for (const [index, child] of children.entries()) {
      const left = children.slice(index + 1).map(({ name }) => name);
      if (isStopping) throw cutShort("the edge stops", [child.name, ...left]);
      try {
        await child.restart(stopPlan([child], child, progress));
      } catch (error) {
        if (left.length === 0 || !(error instanceof EdgeError)) throw error;
        throw cutShort(`${child.name}: ${error.message}`, left);
      }
    }
  }

  /** A process that got SIGTERM is restarted as if an operator had asked for it, unless it has ended before its turn. */
  function restartAsSignalled(child: Child): void {
    const { pid } = child;
    needs.log.info({ child: child.name, pid }, "a process got SIGTERM and is restarted");
    inTurn(async () => {
      if (!isStopping && child.pid === pid)
        await child.restart(stopPlan([child], child, ignoreProgress));
    }, ignoreProgress).catch((error: unknown) =>
      needs.log.error({ child: child.name, err: error }, "a process could not be restarted"),
    );
  }

  async function addWorker(progress: Progress): Promise<void> {
    const worker = buildWorker(workers.length);
    workers = [...workers, worker];
    try {
      await worker.start();
      progress(`${worker.name}: started (pid ${worker.pid})`);
    } catch (error) {
      workers = workers.filter((other) => other !== worker);
      throw error;
    }
  }

  /** All at once: none of them hands anything to another one that ends too. */
  async function removeWorkers(removed: readonly Child[], progress: Progress): Promise<void> {
    await Promise.all(
      removed.map(async (worker) => {
        await worker.stop(stopPlan(removed, worker, progress));
        workers = workers.filter((other) => other !== worker);
        // It is gone for good: the others need not wait for its lease to run out.
        for (const other of workers) other.tellExit(worker.name);
        progress(`${worker.name}: removed`);
      }),
    );
  }

  /** Again and again, because a balancer that was started anew knows nothing. */
  const telling = needs.clock.every(NOT_READY_PERIOD_MS, tellNotReady);

  function tellNotReady(): void {
    const failing = workers.filter(({ state }) => state === "failing");
    balancer.tellNotReady(failing.map(({ name, lastEnd }) => `${name} keeps failing (${lastEnd})`));
  }

  return {
    balancer,
    get workers() {
      return workers;
    },
    async start() {
      // Workers first: they take up their sessions of the last run before a client asks another one for them.
      await Promise.all(workers.map((worker) => worker.start()));
      await balancer.start();
    },
    async restart(name, progress) {
      // Who asks for one that is not there need not wait; which ones there are may change until it is its turn.
      chosen(name);
      await inTurn(() => restartAll(chosen(name), progress), progress);
    },
    scale: (count, progress) =>
      inTurn(async () => {
        while (workers.length < count && !isStopping) await addWorker(progress);
        if (!isStopping) await removeWorkers(workers.slice(count), progress);
        needs.onReady();
      }, progress),
    reload() {
      for (const child of [balancer, ...workers]) child.reload();
    },
    async stop() {
      isStopping = true;
      telling.cancel();
      // With a shared store all leave at once: each takes its time, and a container has a limit for all of it.
      const deadlineMs = stopMsOf(settings);
      const all = [balancer, ...workers];
      await Promise.all(
        all.map((child) => {
          const plan = stopPlan(all, child, ignoreProgress);
          return child.stop({ ...plan, scope: "edge", deadlineMs });
        }),
      );
    },
  };
}

type DrainTimes = Pick<Settings, "drainDelayMs" | "drainTimeoutMs">;

/**
 * Time that a process has to end when the edge as a whole does: with a store that others share, it has somebody to leave
 * its clients to.
 */
export function stopMsOf(settings: DrainTimes & Pick<Settings, "redisUrl">): number {
  return settings.redisUrl === undefined ? STOP_MS : drainDeadlineMs(settings);
}

/** Time that a process has to hand over what it has, and to end then. */
function drainDeadlineMs({ drainDelayMs, drainTimeoutMs }: DrainTimes): number {
  return drainDelayMs + drainTimeoutMs + STOP_MS;
}

function cutShort(why: string, left: readonly string[]): RestartCutShortError {
  return new RestartCutShortError(`${why}; not restarted: ${left.join(", ")}`);
}

/** Ports of the worker at `index`. When one port of a process is to be any free one, so is the other. */
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
 * What a child gets of the edge's own environment: all but settings, which it gets checked, and npm's variables, by which
 * only the edge itself watches npm.
 */
function inherited(env: NodeJS.ProcessEnv): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && !/^(CT_|npm_)/.test(name)) kept[name] = value;
  }
  return kept;
}
