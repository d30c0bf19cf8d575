/**
 * `ct-balancer --processes n`: n complete, independent balancers on the same public ports. This process only starts them,
 * restarts those that end, and passes signals on. No connection of a client goes through it.
 */
import cluster from "node:cluster";
import { availableParallelism } from "node:os";
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import { Child, ignoreProgress, type StopPlan } from "../../shared/children/child.ts";
import { CHILD_STDIO, scriptOf } from "../../shared/children/process-run.ts";
import { createProgramSink } from "../../shared/cluster/log-stream.ts";
import { createLog, type LineSink, type Log } from "../../shared/logs/log.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import {
  endOnBugs,
  fail,
  openPort,
  reportReady,
  stopOnRequest,
} from "../../shared/process/program.ts";
import { notifyStopping } from "../../shared/process/service-manager.ts";
import { environmentOf, type Settings } from "../../shared/settings/read-settings.ts";
import { SETTINGS } from "../../shared/settings/settings.ts";
import { openPublic, reservePort } from "./public-host.ts";

/** Time for a process to end after its drain. */
const STOP_MS = 2000;

/** The name of one of several processes in logs. */
export function processName(processNumber: number): string {
  return `balancer-${processNumber}`;
}

/** Why so many processes are of no use on this machine; undefined if they are. */
export function describeTooMany(processes: number): string | undefined {
  const cores = availableParallelism();
  if (processes <= cores) return undefined;
  return `CT_PROCESSES=${processes} is more than the ${cores} cores of this machine; processes that share a core serve no more than one`;
}

/**
 * Starts the processes that `settings` ask for; process k has the status port `firstStatusPort` + k - 1. Resolves when all are
 * ready. Rejects when a port is in use or a process cannot start, and leaves the others to the exit of this process.
 */
export async function startProcesses(settings: Settings, firstStatusPort: number): Promise<void> {
  const clock = systemClock;
  const lines = createProgramSink(process.stdout, createCounters());
  const { logLevel: level, logFormat: format } = settings;
  const log = createLog({ name: "balancer", level, format, sink: lines });
  endOnBugs(log);
  const tooMany = describeTooMany(settings.processes);
  if (tooMany !== undefined) log.warn({}, tooMany);
  const ports = await reservePorts(settings);
  // The processes accept by themselves, instead of getting each connection from this one.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ exec: scriptOf("balancer"), args: [], stdio: CHILD_STDIO });
  const children = createChildren(settings, { ports, firstStatusPort, clock, log, lines });

  let isStopping = false;
  stopOnRequest(async ({ why }, { urgent }) => {
    notifyStopping(stopPlan(settings).deadlineMs);
    log.info({ why }, "stopping all processes");
    isStopping = true;
    void urgent.then(() => {
      for (const child of children) child.cutShort();
    });
    await Promise.all(children.map((child) => child.stop(stopPlan(settings))));
    process.exit(0);
  });
  process.on("SIGHUP", () => {
    for (const child of children) child.reload();
  });
  try {
    await Promise.all(children.map((child) => child.start()));
  } catch (error) {
    // Processes that are stopped while they start fail to start.
    if (!isStopping) fail(error);
    return;
  }
  reportAll(children, log);
}

interface Ports {
  readonly port: number;
  readonly tlsPort: number;
}

/**
 * Finds the public ports free, or fails as a single process would: processes that share a port would also share it with those
 * of another balancer. A port 0 becomes a number that all of them can use.
 */
async function reservePorts(settings: Settings): Promise<Ports> {
  const { bind, port, tlsPort, tlsCert } = settings;
  const reserve = (name: string, wanted: number) =>
    openPort(name, wanted, () => openPublic(bind, (host) => reservePort(host, wanted)));
  const plain = await reserve("CT_PORT", port);
  const tls = tlsCert.length > 0 ? await reserve("CT_TLS_PORT", tlsPort) : undefined;
  await Promise.all([plain.release(), tls?.release()]);
  return { port: plain.port, tlsPort: tls?.port ?? tlsPort };
}

interface ChildParts {
  readonly ports: Ports;
  readonly firstStatusPort: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly lines: LineSink;
}

/** The processes, not started yet. One that gets SIGTERM is restarted when no other is being restarted. */
function createChildren(settings: Settings, parts: ChildParts): readonly Child[] {
  const { ports, firstStatusPort, ...deps } = parts;
  let lastRestart: Promise<void> = Promise.resolve();
  return Array.from({ length: settings.processes }, (_, index) => {
    const number = index + 1;
    const child: Child = new Child({
      ...deps,
      role: "balancer",
      name: processName(number),
      script: scriptOf("balancer"),
      env: {
        ...environmentOf(
          {
            ...settings,
            ...ports,
            statusPort: firstStatusPort === 0 ? 0 : firstStatusPort + index,
          },
          "balancer",
        ),
        [SETTINGS.processNumber.env]: String(number),
      },
      fork: (env) => cluster.fork(env).process,
      // They count in a page of metrics that this process does not have.
      counters: createCounters(),
      onReady() {},
      onExit() {},
      onStopWanted: () => {
        const { pid } = child;
        deps.log.info({ child: child.name, pid }, "a process received SIGTERM and is restarted");
        lastRestart = lastRestart.then(() => restart(child, pid, settings, deps.log));
      },
    });
    return child;
  });
}

/** Never rejects. Does nothing if the process has ended meanwhile. */
async function restart(
  child: Child,
  pid: number | undefined,
  settings: Settings,
  log: Log,
): Promise<void> {
  if (child.pid !== pid) return;
  try {
    await child.restart(stopPlan(settings));
  } catch (err) {
    // A stop in the middle of a restart is none of its failures.
    if (child.state === "stopping" || child.state === "stopped") return;
    log.error({ child: child.name, err }, "a process could not be restarted");
  }
}

function stopPlan({ drainDelayMs, drainTimeoutMs }: Settings): StopPlan {
  const deadlineMs = drainDelayMs + drainTimeoutMs + STOP_MS;
  const noWorkers = { siblings: [], ending: [], handoverMs: 0 };
  return { scope: "process", ...noWorkers, deadlineMs, progress: ignoreProgress };
}

function reportAll(children: readonly Child[], log: Log): void {
  const reports = children.flatMap(({ ready }) => ready ?? []);
  const [first] = reports;
  if (first === undefined) return;
  const { httpPort, tlsPort } = first;
  const ports = { httpPort, ...(tlsPort !== undefined && { tlsPort }) };
  const statusPorts = reports.map(({ statusPort }) => statusPort);
  log.info({ processes: children.length, ...ports, statusPorts }, "all processes are listening");
  reportReady({ ...ports, statusPort: first.statusPort });
}
