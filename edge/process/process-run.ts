/**
 * One run of a process of the edge, from its start to its end. It is told to stop over its IPC channel, and ends by itself
 * when that channel closes, so that it never outlives the edge.
 */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { EdgeError } from "../../shared/base/errors.ts";
import type { LineSink, Log } from "../../shared/logs/log.ts";
import {
  type EdgeMessage,
  type ProcessMessage,
  parseProcessMessage,
  type ReadyReport,
  type StopScope,
} from "../../shared/process/edge-channel.ts";

export type ChildRole = "balancer" | "worker";

/** A process did not come up. The message is the process's own when it gave one. */
export class ChildFailedError extends EdgeError {
  readonly code = "EDGE_CHILD_FAILED";
  readonly source = "internal";
  readonly retryable = false;
}

/** How a run ended. */
export interface RunEnd {
  /** `SIGKILL`, `status 1`. */
  readonly how: string;
  readonly wasReady: boolean;
  /** It was asked to stop, or had asked for it (`stop-wanted`): its end is no failure. */
  readonly wasWanted: boolean;
  readonly ranMs: number;
}

export interface ProcessRun {
  readonly pid: number | undefined;
  readonly uptimeMs: number;
  /** The last report; undefined while the process starts. */
  readonly ready: ReadyReport | undefined;
  readonly isStopping: boolean;
  /** Resolves when it can be used; rejects with `ChildFailedError` when it ends before that. */
  readonly becameReady: Promise<void>;
  readonly ended: Promise<RunEnd>;
  /** Resolves with true when the process sends a message of this type, with false when it ends before that. */
  heard(type: ProcessMessage["type"]): Promise<boolean>;
  send(message: EdgeMessage): void;
  kill(signal: NodeJS.Signals): void;
  /**
   * Asks it to end, and kills it `deadlineMs` later; with an earlier deadline when it was asked before. Resolves when it is
   * gone.
   */
  stop(how: {
    readonly scope: StopScope;
    readonly siblings: readonly string[];
    readonly ending: readonly string[];
    readonly deadlineMs: number;
  }): Promise<RunEnd>;
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

export function startRun(needs: {
  readonly role: ChildRole;
  readonly name: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
  /** Where its log lines go. */
  readonly lines: LineSink;
  /** Called with `stop-wanted`, `draining` and `drained`. */
  readonly onMessage: (message: ProcessMessage) => void;
}): ProcessRun {
  const { clock, log, name } = needs;
  const startedMs = clock.nowMs();
  const child = fork(scriptOf(needs.role), [], {
    env: needs.env,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let ready: ReadyReport | undefined;
  let failure: string | undefined;
  let isStopping = false;
  let wantsStop = false;
  const errors = holdErrors(child, (line) => log.warn({ from: name, line }, "standard error"));
  forwardLines(child.stdout, (line) => needs.lines.write(`${line}\n`));
  const startDeadline = clock.after(START_MS, () => {
    failure = `${name} did not become ready within ${START_MS / 1000} s`;
    child.kill("SIGKILL");
  });
  let stopDeadline: Timer | undefined;
  const pings = createPings(child, clock, () => {
    log.error({ child: name, pid: child.pid }, "a process does not answer and is replaced");
    child.kill("SIGKILL");
  });
  child.on("error", (error) => {
    failure ??= error.message;
  });

  const ended = new Promise<RunEnd>((resolve) => {
    child.once("close", (code, signal) => {
      startDeadline.cancel();
      stopDeadline?.cancel();
      pings.stop();
      if (failure === undefined) errors.release();
      const how = signal ?? `status ${code}`;
      const wasReady = ready !== undefined;
      ready = undefined;
      const ranMs = clock.nowMs() - startedMs;
      resolve({ how, wasReady, wasWanted: isStopping || wantsStop, ranMs });
    });
  });
  const becameReady = new Promise<void>((resolve, reject) => {
    child.on("message", (received) => {
      const message = parseProcessMessage(received);
      if (message === undefined) return;
      switch (message.type) {
        case "pong":
          pings.answered();
          return;
        case "failed":
          failure = message.message;
          return;
        case "ready":
          startDeadline.cancel();
          errors.release();
          ready = message;
          pings.start();
          resolve();
          return;
        case "stop-wanted":
          wantsStop = true;
          send({ type: "stop-queued" });
          needs.onMessage(message);
          return;
        case "draining":
        case "drained":
          needs.onMessage(message);
          return;
        case "standby":
        case "ports-released":
        // Whoever waits for them hears them by `heard`.
      }
    });
    void ended.then(({ how }) => {
      const why = failure ?? `${name} ended at its start (${how}); see the log`;
      reject(new ChildFailedError(why));
    });
  });
  // Whoever does not wait for it hears of the end by `ended`.
  becameReady.catch(() => {});

  function send(message: EdgeMessage): void {
    if (child.connected) child.send(message, () => {});
  }

  return {
    get pid() {
      return child.pid;
    },
    get uptimeMs() {
      return clock.nowMs() - startedMs;
    },
    get ready() {
      return ready;
    },
    get isStopping() {
      return isStopping;
    },
    becameReady,
    ended,
    heard(type) {
      const said = new Promise<true>((resolve) => {
        child.on("message", (received) => {
          if (parseProcessMessage(received)?.type === type) resolve(true);
        });
      });
      return Promise.race([said, ended.then(() => false)]);
    },
    send,
    kill(signal) {
      child.kill(signal);
    },
    stop({ scope, siblings, ending, deadlineMs }) {
      isStopping = true;
      send({ type: "stop", scope, siblings: [...siblings], ending: [...ending] });
      stopDeadline?.cancel();
      stopDeadline = clock.after(deadlineMs, () => {
        log.warn({ child: name }, "a process did not stop in time and is killed");
        child.kill("SIGKILL");
      });
      return ended;
    },
  };
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
        if (child.connected) child.send({ type: "ping" } satisfies EdgeMessage, () => {});
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

/** The same kind of file as this one: dist/*.js when built, *.ts under tsx. */
export function scriptOf(role: ChildRole): string {
  const file = fileURLToPath(import.meta.url);
  return fileURLToPath(new URL(`../../${role}/main${extname(file)}`, import.meta.url));
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
