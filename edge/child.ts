/**
 * One process of the edge, a balancer or a worker: started, listened to, started again when it ends by itself, stopped.
 * It is told to stop over its IPC channel, and ends by itself when that channel closes, so that it never outlives the edge.
 */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Clock, Timer } from "../shared/clock.ts";
import { EdgeError } from "../shared/errors.ts";
import type { LineSink, Log } from "../shared/log.ts";
import type { Counters } from "../shared/metrics.ts";

export type ChildRole = "balancer" | "worker";

/** What a process reports when it can be used: its ports. */
export type ReadyReport = z.infer<typeof readySchema>;

export interface Child {
  readonly name: string;
  readonly pid: number | undefined;
  /** The last report; undefined while the process starts. */
  readonly ready: ReadyReport | undefined;
  /** Starts it. Resolves when it is ready; rejects with `ChildFailedError` when the first start fails. */
  start(): Promise<void>;
  /** Tells it that the process of another worker has ended. */
  tellExit(workerId: string): void;
  /** Ends it: asks, and kills it after `STOP_MS`. Resolves when it is gone. */
  stop(): Promise<void>;
}

/** A process did not come up. The message is the process's own when it gave one. */
export class ChildFailedError extends EdgeError {
  readonly code = "EDGE_CHILD_FAILED";
  readonly source = "internal";
  readonly retryable = false;
}

/** Time that a process has to end in order. The edge as a whole has 3 s. */
const STOP_MS = 2000;
/** Time that a process has to become ready. */
const START_MS = 30_000;
const FIRST_RESTART_DELAY_MS = 100;
const MAX_RESTART_DELAY_MS = 5000;
/** A process that ran this long is started again with the first delay. */
const STEADY_MS = 30_000;
/** Lines of standard error that are kept while a process starts. */
const MAX_HELD_LINES = 100;

const readySchema = z.object({
  type: z.literal("ready"),
  /** Balancer: public HTTP port. */
  httpPort: z.number().optional(),
  tlsPort: z.number().optional(),
  /** Worker: traffic port. */
  port: z.number().optional(),
  statusPort: z.number(),
});
const reportSchema = z.discriminatedUnion("type", [
  readySchema,
  z.object({ type: z.literal("failed"), message: z.string() }),
]);

export function createChild(needs: {
  role: ChildRole;
  name: string;
  /** Its whole environment. */
  env: Readonly<Record<string, string>>;
  clock: Clock;
  log: Log;
  /** Where its log lines go. */
  lines: LineSink;
  counters: Counters;
  /** Called at each start that succeeded. */
  onReady: () => void;
  /** Called when it has ended by itself, after it was ready. */
  onExit: () => void;
}): Child {
  const { clock, log, name } = needs;
  let running: ChildProcess | undefined;
  let ready: ReadyReport | undefined;
  let stopping = false;
  let restart: Timer | undefined;
  let restartDelayMs = FIRST_RESTART_DELAY_MS;

  /** Starts the process once. Resolves when it is ready, rejects when it ends or hangs before that. */
  function launch(): Promise<void> {
    return new Promise((resolve, reject) => {
      const startedMs = clock.nowMs();
      const child = spawn(needs.role, needs.env);
      running = child;
      let failure: string | undefined;
      const errors = holdErrors(child, (line) => log.warn({ from: name, line }, "standard error"));
      forwardLines(child.stdout, (line) => needs.lines.write(`${line}\n`));
      const deadline = clock.after(START_MS, () => {
        failure = `${name} did not become ready within ${START_MS / 1000} s`;
        child.kill("SIGKILL");
      });
      child.on("message", (message) => {
        const report = reportSchema.safeParse(message);
        if (!report.success) return;
        if (report.data.type === "failed") {
          failure = report.data.message;
          return;
        }
        deadline.cancel();
        errors.release();
        ready = report.data;
        needs.onReady();
        resolve();
      });
      child.on("error", (error) => {
        failure ??= error.message;
      });
      child.once("close", (code, signal) => {
        deadline.cancel();
        if (failure === undefined) errors.release();
        const wasReady = ready !== undefined;
        running = undefined;
        ready = undefined;
        const how = signal ?? `status ${code}`;
        if (wasReady) comeBack(how, clock.nowMs() - startedMs);
        else
          reject(
            new ChildFailedError(failure ?? `${name} ended at its start (${how}); see the log`),
          );
      });
    });
  }

  function comeBack(how: string, ranMs: number): void {
    if (stopping) return;
    needs.onExit();
    if (ranMs >= STEADY_MS) restartDelayMs = FIRST_RESTART_DELAY_MS;
    needs.counters.count("edge.restarts", needs.role);
    log.error({ child: name, how, restartInMs: restartDelayMs }, "a process ended unexpectedly");
    restart = clock.after(restartDelayMs, () => {
      launch().catch((error: unknown) => {
        log.error({ child: name, err: error }, "a process could not be started again");
        comeBack("failed start", 0);
      });
    });
    restartDelayMs = Math.min(restartDelayMs * 2, MAX_RESTART_DELAY_MS);
  }

  return {
    name,
    get pid() {
      return running?.pid;
    },
    get ready() {
      return ready;
    },
    start: launch,
    tellExit(workerId) {
      if (running?.connected) running.send({ type: "exited", workerId }, () => {});
    },
    async stop() {
      stopping = true;
      restart?.cancel();
      const child = running;
      if (child === undefined) return;
      const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
      if (child.connected) child.send({ type: "stop" }, () => {});
      const kill = clock.after(STOP_MS, () => {
        log.warn({ child: name }, "a process did not stop in time and is killed");
        child.kill("SIGKILL");
      });
      await gone;
      kill.cancel();
    },
  };
}

function spawn(role: ChildRole, env: Readonly<Record<string, string>>): ChildProcess {
  // The same kind of file as this one: dist/*.js when built, *.ts under tsx.
  const file = fileURLToPath(import.meta.url);
  const program = fileURLToPath(new URL(`../${role}/main${extname(file)}`, import.meta.url));
  return fork(program, [], { env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
}

function forwardLines(stream: Readable | null, write: (line: string) => void): void {
  if (stream === null) return;
  createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on("line", write);
}

/**
 * Standard error of a process that starts is held back: when it reports why it failed, that one sentence says it all,
 * and otherwise the lines are wanted.
 */
function holdErrors(child: ChildProcess, write: (line: string) => void): { release(): void } {
  let held: string[] | undefined = [];
  forwardLines(child.stderr, (line) => {
    if (held === undefined) write(line);
    else if (held.length < MAX_HELD_LINES) held.push(line);
  });
  return {
    release() {
      for (const line of held ?? []) write(line);
      held = undefined;
    },
  };
}
