/**
 * The worker as a process: its identity, clock, counters and log, and the states in which it starts, runs and stops.
 *
 *     starting ──▶ running ──▶ stopping
 *         └────────────────────────┘
 *
 * Only a running worker drains before it stops; one that stops while it starts leaves its sessions in the store.
 */
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import { type Incarnation, newIncarnation, type WorkerId } from "../../shared/base/ids.ts";
import { createProgramSink, type SharedSink } from "../../shared/cluster/log-stream.ts";
import { LINK_VERSION } from "../../shared/link/frames.ts";
import { createLog, type Log } from "../../shared/logs/log.ts";
import { type Counters, createCounters } from "../../shared/metrics/metrics.ts";
import { endOnBugs, type StopRequest, stopOnRequest } from "../../shared/process/program.ts";
import { notifyStopping } from "../../shared/process/service-manager.ts";
import { createShutdown, type Shutdown } from "../../shared/process/shutdown.ts";
import { RESUME_VERSION } from "../../shared/resume/frames.ts";
import { createKeyring, type Keyring, logSwitch } from "../../shared/settings/keyring.ts";
import type { WorkerOptions } from "./options.ts";

export interface WorkerProcess {
  readonly self: {
    readonly id: WorkerId;
    readonly incarnation: Incarnation;
    readonly linkVersion: number | undefined;
    readonly resumeVersion: number | undefined;
  };
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  /** Where `log` writes; the lines may be shared with the edge's other machines. */
  readonly logSink: SharedSink;
  /** Writes to standard output only: for the generated password, which must not get into the store. */
  readonly localLog: Log;
  /** For the lines that operators' scripts look for under the name `root`. */
  readonly rootLog: Log;
  /** Closes the parts in the reverse order in which they were added. */
  readonly shutdown: Shutdown;
  readonly phase: Phase;
  /** The worker runs from now on. False when it was asked to stop meanwhile. */
  setRunning(drain: DrainBeforeStop): boolean;
  stop(exitStatus: number): Promise<never>;
}

export type Phase = "starting" | "running" | "stopping";

export interface DrainBeforeStop {
  /** Whether the worker drains first when it is asked to stop like this. */
  isWanted(request: StopRequest): boolean;
  run(): Promise<void>;
}

type State =
  | { readonly phase: "starting" }
  | { readonly phase: "running"; readonly drain: DrainBeforeStop }
  | { readonly phase: "stopping" };

/** The edge kills a process that has not ended 2 s after it was asked to. */
const STOP_DEADLINE_MS = 1700;

export function openProcess(
  options: Pick<WorkerOptions, "id" | "secret" | "secretPrevious" | "log" | "http" | "drain">,
): WorkerProcess {
  const { id, drain: drainTimes } = options;
  const clock = systemClock;
  const counters = createCounters();
  const logSink = createProgramSink(process.stdout, counters);
  const format = { level: options.log.logLevel, format: options.log.logFormat };
  const log = createLog({ ...format, name: id, sink: logSink });
  endOnBugs(log);
  const shutdown = createShutdown({
    clock,
    report: (part, problem) => log.error({ part, problem }, "a part could not be stopped"),
  });
  let state: State = { phase: "starting" };

  async function stop(exitStatus: number): Promise<never> {
    state = { phase: "stopping" };
    await shutdown.run(STOP_DEADLINE_MS);
    process.exit(exitStatus);
  }

  stopOnRequest(async (request, { urgent, edgeStops }) => {
    notifyStopping(drainTimes.delayMs + drainTimes.timeoutMs + STOP_DEADLINE_MS);
    log.info({ why: request.why }, "stopping");
    if (state.phase === "running" && state.drain.isWanted(request)) {
      const { drain } = state;
      state = { phase: "stopping" };
      const edgeStopsWithoutDrain = edgeStops.then((later) =>
        drain.isWanted(later) ? new Promise(() => {}) : later,
      );
      await Promise.race([drain.run(), urgent, edgeStopsWithoutDrain]);
    }
    await stop(0);
  });

  const { secret, secretPrevious: previous } = options;
  const keyring = createKeyring({ secret, previous }, (isNew) => logSwitch(log, isNew));
  return {
    self: {
      id,
      incarnation: newIncarnation(),
      linkVersion: options.http.hasLinks ? LINK_VERSION : undefined,
      resumeVersion: options.http.hasLinks ? RESUME_VERSION : undefined,
    },
    keyring,
    clock,
    counters,
    log,
    logSink,
    localLog: createLog({ ...format, name: id, sink: process.stdout }),
    rootLog: createLog({ ...format, name: "root", sink: process.stdout }),
    shutdown,
    get phase() {
      return state.phase;
    },
    setRunning(drain) {
      if (state.phase !== "starting") return false;
      state = { phase: "running", drain };
      return true;
    },
    stop,
  };
}
