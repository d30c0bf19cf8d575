/**
 * The processes of one machine's edge: one balancer and the workers, with the environment that each is started with.
 */
import { hostname } from "node:os";
import type { Clock } from "../shared/clock.ts";
import { environmentOf, type Settings } from "../shared/config.ts";
import { EdgeError } from "../shared/errors.ts";
import type { LineSink, Log } from "../shared/log.ts";
import type { Counters } from "../shared/metrics.ts";
import { type Child, type ChildRole, createChild } from "./child.ts";
import { workerName } from "./edge-settings.ts";

export interface Supervisor {
  readonly balancer: Child;
  readonly workers: readonly Child[];
  /** Resolves when every process is ready; rejects with the first failure. */
  start(): Promise<void>;
  /** Starts one process anew, or without a name all of them, one after the other. Rejects when one does not come up. */
  restart(name?: string): Promise<void>;
  /**
   * Starts more workers, or ends the last ones, until there are so many. Rejects when a new one does not come up, which
   * is then not kept.
   */
  scale(count: number): Promise<void>;
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

/** Status ports are this far from the traffic port. */
const STATUS_PORT_DISTANCE = 1000;
const BALANCER_STATUS_PORT = 1081;
/** Time that a process has to end in order. An edge with a store of its own has 3 s as a whole. */
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
    return createChild({ ...needs, role, name, env, onExit, stopMs: stopMsOf(settings) });
  };
  const balancer = build("balancer", "balancer", {
    statusPort: settings.statusPort ?? BALANCER_STATUS_PORT,
  });
  let workers = Array.from({ length: settings.workerCount }, (_, index) => buildWorker(index));
  /** One change at a time: two that scale at once would start the same worker twice. */
  let changing: Promise<unknown> = Promise.resolve();
  let isStopping = false;

  function buildWorker(index: number): Child {
    const id = workerName(settings, hostname(), index);
    return build("worker", id, { workerId: id, ...workerPorts(settings, index) });
  }

  function inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = changing.then(change);
    changing = turn.catch(() => {});
    return turn;
  }

  /** Nothing is started once all is being stopped. */
  async function restartAll(children: readonly Child[]): Promise<void> {
    for (const child of children) if (!isStopping) await child.restart();
  }

  async function addWorker(): Promise<void> {
    const worker = buildWorker(workers.length);
    workers = [...workers, worker];
    try {
      await worker.start();
    } catch (error) {
      workers = workers.filter((other) => other !== worker);
      throw error;
    }
  }

  async function removeWorker(): Promise<void> {
    const last = workers.at(-1);
    if (last === undefined) return;
    await last.stop();
    workers = workers.slice(0, -1);
    // It is gone for good: the others need not wait for its lease to run out.
    for (const other of workers) other.tellExit(last.name);
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
    restart(name) {
      const all = [...workers, balancer];
      const chosen = name === undefined ? all : all.filter((child) => child.name === name);
      if (chosen.length === 0) {
        const names = all.map((child) => child.name).join(", ");
        throw new UnknownProcessError(`there is no process ${name}; there are ${names}`);
      }
      return inTurn(() => restartAll(chosen));
    },
    scale: (count) =>
      inTurn(async () => {
        while (workers.length < count && !isStopping) await addWorker();
        while (workers.length > count && !isStopping) await removeWorker();
        needs.onReady();
      }),
    reload() {
      for (const child of [balancer, ...workers]) child.reload();
    },
    async stop() {
      isStopping = true;
      telling.cancel();
      // With a shared store all leave at once: each takes its time, and a container has a limit for all of it.
      await Promise.all([balancer, ...workers].map((child) => child.stop()));
    },
  };
}

/** Time that a process has to end in order: with a store that others share, it has somebody to leave its clients to. */
export function stopMsOf(
  settings: Pick<Settings, "redisUrl" | "drainDelayMs" | "drainTimeoutMs">,
): number {
  if (settings.redisUrl === undefined) return STOP_MS;
  return settings.drainDelayMs + settings.drainTimeoutMs + STOP_MS;
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
