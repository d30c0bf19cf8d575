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
import { afterEnd, type BackOff, isFailing, NO_BACK_OFF, STEADY_MS } from "./back-off.ts";

export type ChildRole = "balancer" | "worker";

/** What a process reports when it can be used: its ports. */
export type ReadyReport = z.infer<typeof readySchema>;

/**
 * `starting`: it has not said yet that it can be used · `up` · `waiting`: it ended by itself and is started again in a
 * moment · `failing`: so it did again and again, and still is tried · `stopped`: it was asked to end.
 */
export type ChildState = "starting" | "up" | "waiting" | "failing" | "stopped";

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
  /** Ends it and starts it anew. Resolves when it is ready; when it does not come up, it rejects and it is tried on. */
  restart(): Promise<void>;
  /** Tells it that the process of another worker has ended. */
  tellExit(workerId: string): void;
  /** Tells it why the edge as a whole wants no traffic; empty: nothing speaks against it. */
  tellNotReady(reasons: readonly string[]): void;
  /** SIGHUP: it reads its certificates and opens its logs anew. */
  reload(): void;
  /** Ends it: asks, and kills it after `stopMs`. Resolves when it is gone. */
  stop(): Promise<void>;
}

/** A process did not come up. The message is the process's own when it gave one. */
export class ChildFailedError extends EdgeError {
  readonly code = "EDGE_CHILD_FAILED";
  readonly source = "internal";
  readonly retryable = false;
}

/** Time that a process has to become ready. */
const START_MS = 30_000;
/**
 * A process is asked this often whether its event loop turns, and replaced when it leaves so many questions in a row without
 * an answer: 30 s. Questions are counted, not time, because this process may have been stopped meanwhile itself.
 */
const PING_MS = 5000;
const MAX_UNANSWERED = 6;
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
  z.object({ type: z.literal("pong") }),
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
  /** Time that it has to end in order, in ms. */
  stopMs: number;
}): Child {
  const { clock, log, name, role } = needs;
  let running: ChildProcess | undefined;
  let startedMs = 0;
  let ready: ReadyReport | undefined;
  /** Asked to end: its end is no failure. */
  let isEnding = false;
  /** For good. */
  let isStopped = false;
  let again: Timer | undefined;
  let backOff: BackOff = NO_BACK_OFF;
  let restarts = 0;
  let lastEnd: string | undefined;

  /** Starts the process once. Resolves when it is ready, rejects when it ends or hangs before that. */
  function launch(): Promise<void> {
    return new Promise((resolve, reject) => {
      isEnding = false;
      startedMs = clock.nowMs();
      const child = spawn(role, { ...needs.env, CT_RESTARTS: String(restarts) });
      running = child;
      let failure: string | undefined;
      const errors = holdErrors(child, (line) => log.warn({ from: name, line }, "standard error"));
      forwardLines(child.stdout, (line) => needs.lines.write(`${line}\n`));
      const deadline = clock.after(START_MS, () => {
        failure = `${name} did not become ready within ${START_MS / 1000} s`;
        child.kill("SIGKILL");
      });
      const pings = createPings(child, clock, () => {
        log.error({ child: name, pid: child.pid }, "a process does not answer and is replaced");
        child.kill("SIGKILL");
      });
      child.on("message", (message) => {
        const report = reportSchema.safeParse(message).data;
        if (report === undefined) return;
        switch (report.type) {
          case "pong":
            pings.answered();
            break;
          case "failed":
            failure = report.message;
            break;
          case "ready":
            deadline.cancel();
            errors.release();
            ready = report;
            pings.start();
            needs.onReady();
            resolve();
        }
      });
      child.on("error", (error) => {
        failure ??= error.message;
      });
      child.once("close", (code, signal) => {
        deadline.cancel();
        pings.stop();
        if (failure === undefined) errors.release();
        const wasReady = ready !== undefined;
        running = undefined;
        ready = undefined;
        lastEnd = signal ?? `status ${code}`;
        if (wasReady) comeBack(clock.nowMs() - startedMs);
        else {
          const why = failure ?? `${name} ended at its start (${lastEnd}); see the log`;
          reject(new ChildFailedError(why));
        }
      });
    });
  }

  /** It ended by itself, after it ran for `ranMs` (0: it did not come up): tries again, for ever. */
  function comeBack(ranMs: number): void {
    if (isEnding) return;
    needs.onExit();
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
    launch().catch((error: unknown) => {
      log.error({ child: name, err: error }, "a process could not be started again");
      comeBack(0);
    });
  }

  async function end(): Promise<void> {
    isEnding = true;
    again?.cancel();
    const child = running;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
    if (child.connected) child.send({ type: "stop" }, () => {});
    const kill = clock.after(needs.stopMs, () => {
      log.warn({ child: name }, "a process did not stop in time and is killed");
      child.kill("SIGKILL");
    });
    await gone;
    kill.cancel();
  }

  return {
    name,
    role,
    script: scriptOf(role),
    get pid() {
      return running?.pid;
    },
    get state() {
      if (isEnding) return "stopped";
      if (isFailing(backOff) && !isSteady()) return "failing";
      if (running === undefined) return "waiting";
      return ready === undefined ? "starting" : "up";
    },
    get uptimeMs() {
      return running === undefined ? undefined : clock.nowMs() - startedMs;
    },
    get restarts() {
      return restarts;
    },
    get lastEnd() {
      return lastEnd;
    },
    get ready() {
      return ready;
    },
    start: launch,
    async restart() {
      await end();
      // Whoever stops everything may have come meanwhile.
      if (isStopped) return;
      backOff = NO_BACK_OFF;
      try {
        await launch();
      } catch (error) {
        comeBack(0);
        throw error;
      }
    },
    tellExit(workerId) {
      if (running?.connected) running.send({ type: "exited", workerId }, () => {});
    },
    tellNotReady(reasons) {
      if (running?.connected) running.send({ type: "not-ready", reasons }, () => {});
    },
    reload() {
      // Before it is ready it may not have said yet what it does at SIGHUP, and would end.
      if (ready !== undefined) running?.kill("SIGHUP");
    },
    stop() {
      isStopped = true;
      return end();
    },
  };

  function isSteady(): boolean {
    return ready !== undefined && clock.nowMs() - startedMs >= STEADY_MS;
  }
}

/** Asks a process whether its event loop turns, and calls `onHung` when it leaves too many questions without an answer. */
function createPings(child: ChildProcess, clock: Clock, onHung: () => void) {
  let unanswered = 0;
  let timer: Timer | undefined;
  return {
    start(): void {
      timer ??= clock.every(PING_MS, () => {
        if (unanswered >= MAX_UNANSWERED) {
          timer?.cancel();
          onHung();
          return;
        }
        unanswered++;
        if (child.connected) child.send({ type: "ping" }, () => {});
      });
    },
    answered(): void {
      unanswered = 0;
    },
    stop(): void {
      timer?.cancel();
    },
  };
}

function spawn(role: ChildRole, env: Readonly<Record<string, string>>): ChildProcess {
  return fork(scriptOf(role), [], { env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
}

/** The same kind of file as this one: dist/*.js when built, *.ts under tsx. */
function scriptOf(role: ChildRole): string {
  const file = fileURLToPath(import.meta.url);
  return fileURLToPath(new URL(`../${role}/main${extname(file)}`, import.meta.url));
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
