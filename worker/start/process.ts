/**
 * The worker as a process: its identity, clock, counters and log, and the states in which it starts, runs and stops.
 *
 *     starting ──▶ running ──▶ stopping
 *         └────────────────────────┘
 *
 * Only a running worker drains before it stops; one that stops while it starts leaves its sessions in the store.
 */
import { systemClock } from "../../shared/base/clock.ts";
import { newIncarnation } from "../../shared/base/ids.ts";
import { createProgramSink } from "../../shared/cluster/log-stream.ts";
import { LINK_VERSION } from "../../shared/link/frames.ts";
import { createLog } from "../../shared/logs/log.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { endOnBugs, type StopRequest, stopOnRequest } from "../../shared/process/program.ts";
import { notifyStopping } from "../../shared/process/service-manager.ts";
import { createShutdown } from "../../shared/process/shutdown.ts";
import { RESUME_VERSION } from "../../shared/resume/frames.ts";
import { createKeyring, logSwitch } from "../../shared/settings/keyring.ts";
import type { WorkerOptions } from "./options.ts";

export type WorkerProcess = ReturnType<typeof openProcess>;

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
) {
  const { id, drain: drainTimes } = options;
  const clock = systemClock;
  const counters = createCounters();
  const logSink = createProgramSink(process.stdout, counters);
  const format = options.log;
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
    /** Where `log` writes; the lines may be shared with the edge's other machines. */
    logSink,
    /** Writes to standard output only: for the generated password, which must not get into the store. */
    localLog: createLog({ ...format, name: id, sink: process.stdout }),
    /** For the lines that operators' scripts look for under the name `root`. */
    rootLog: createLog({ ...format, name: "root", sink: process.stdout }),
    /** Closes the parts in the reverse order in which they were added. */
    shutdown,
    get phase(): Phase {
      return state.phase;
    },
    /** The worker runs from now on. False when it was asked to stop meanwhile. */
    setRunning(drain: DrainBeforeStop): boolean {
      if (state.phase !== "starting") return false;
      state = { phase: "running", drain };
      return true;
    },
    stop,
  };
}
