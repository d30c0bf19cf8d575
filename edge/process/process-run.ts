/**
 * One run of a process of the edge, from its start to its end. It is stopped by a message on its IPC channel, and ends by
 * itself when that channel closes, so that it never outlives the edge.
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

/** A process did not become ready. The message is the process's own when it sent one. */
export class ChildFailedError extends EdgeError {
  readonly code = "EDGE_CHILD_FAILED";
  readonly source = "internal";
  readonly retryable = false;
}

export interface RunEnd {
  /** `SIGKILL`, `status 1`. */
  readonly how: string;
  readonly wasReady: boolean;
  /** It was asked to stop, or had asked for it (`stop-wanted`): its end is no failure. */
  readonly wasWanted: boolean;
  /** It did not stop in time and was killed. */
  readonly missedDeadline: boolean;
  readonly ranMs: number;
}

export interface ProcessRun {
  readonly pid: number | undefined;
  readonly uptimeMs: number;
  /** The last report; undefined while the process starts. */
  readonly ready: ReadyReport | undefined;
  readonly isStopping: boolean;
  /** Resolves when it is ready; rejects with `ChildFailedError` when it ends before that. */
  readonly becameReady: Promise<void>;
  readonly ended: Promise<RunEnd>;
  /** Resolves with true when the process sends a message of this type, with false when it ends before that. */
  received(type: ProcessMessage["type"]): Promise<boolean>;
  send(message: EdgeMessage): void;
  kill(signal: NodeJS.Signals): void;
  /**
   * Asks it to stop, and kills it `deadlineMs` later; a worker that is handing a session over then has `handoverMs` more to
   * finish. A later call replaces the deadline. Resolves when the process is gone.
   */
  stop(how: {
    readonly scope: StopScope;
    readonly siblings: readonly string[];
    readonly ending: readonly string[];
    readonly deadlineMs: number;
    readonly handoverMs: number;
  }): Promise<RunEnd>;
}

/** Time that a process has to become ready. */
const START_MS = 30_000;
/**
 * Pings check that the event loop of a process turns; a process that leaves this many in a row unanswered (30 s) is
 * replaced. Pings are counted, not time, because this process may have been stopped itself.
 */
const PING_MS = 5000;
const MAX_UNANSWERED = 6;
/** Lines of standard error kept while a process starts. */
const MAX_BUFFERED_LINES = 100;

export function startRun(deps: {
  readonly name: string;
  /** The file that it runs. */
  readonly script: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
  /** Gets its log lines. */
  readonly lines: LineSink;
  /** Called with `stop-wanted`, `draining` and `drained`. */
  readonly onMessage: (message: ProcessMessage) => void;
}): ProcessRun {
  const { clock, log, name } = deps;
  const startedMs = clock.nowMs();
  const child = fork(deps.script, [], {
    env: deps.env,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let ready: ReadyReport | undefined;
  let failure: string | undefined;
  let isStopping = false;
  let wantsStop = false;
  let isHandingOver = false;
  let hasEnded = false;
  let missedDeadline = false;
  const errors = bufferErrors(child, (line) => log.warn({ from: name, line }, "standard error"));
  forwardLines(child.stdout, (line) => deps.lines.write(`${line}\n`));
  const startDeadline = clock.after(START_MS, () => {
    failure = `${name} did not become ready within ${START_MS / 1000} s`;
    child.kill("SIGKILL");
  });
  let stopDeadline: Timer | undefined;
  const pings = createPings(child, clock, () => {
    log.error({ child: name, pid: child.pid }, "a process does not respond and is replaced");
    child.kill("SIGKILL");
  });
  child.on("error", (error) => {
    failure ??= error.message;
  });

  const ended = new Promise<RunEnd>((resolve) => {
    child.once("close", (code, signal) => {
      hasEnded = true;
      startDeadline.cancel();
      stopDeadline?.cancel();
      pings.stop();
      if (failure === undefined) errors.release();
      const how = signal ?? `status ${code}`;
      const wasReady = ready !== undefined;
      ready = undefined;
      const ranMs = clock.nowMs() - startedMs;
      resolve({ how, wasReady, wasWanted: isStopping || wantsStop, missedDeadline, ranMs });
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
          deps.onMessage(message);
          return;
        case "draining":
        case "drained":
          isHandingOver = message.type === "draining";
          deps.onMessage(message);
          return;
        case "standby":
        case "ports-released":
        // `received` waits for these.
      }
    });
    void ended.then(({ how }) => {
      const why = failure ?? `${name} ended while it started (${how}); see the log`;
      reject(new ChildFailedError(why));
    });
  });
  // The end is also reported by `ended`, so a caller need not wait for this one.
  becameReady.catch(() => {});

  function send(message: EdgeMessage): void {
    if (child.connected) child.send(message, () => {});
  }

  function killLate(): void {
    missedDeadline = true;
    log.warn({ child: name }, "a process did not stop in time and is killed");
    child.kill("SIGKILL");
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
    received(type) {
      const arrived = new Promise<true>((resolve) => {
        child.on("message", (message) => {
          if (parseProcessMessage(message)?.type === type) resolve(true);
        });
      });
      return Promise.race([arrived, ended.then(() => false)]);
    },
    send,
    kill(signal) {
      child.kill(signal);
    },
    stop({ scope, siblings, ending, deadlineMs, handoverMs }) {
      if (hasEnded) return ended;
      isStopping = true;
      send({ type: "stop", scope, siblings: [...siblings], ending: [...ending] });
      stopDeadline?.cancel();
      stopDeadline = clock.after(deadlineMs, () => {
        if (isHandingOver && handoverMs > 0) stopDeadline = clock.after(handoverMs, killLate);
        else killLate();
      });
      return ended;
    },
  };
}

/** Pings a process, and calls `onHung` when too many pings in a row are unanswered. */
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

/** The entry file of the role, of the same kind as this file: dist/*.js when built, *.ts under tsx. */
export function scriptOf(role: ChildRole): string {
  const file = fileURLToPath(import.meta.url);
  return fileURLToPath(new URL(`../../${role}/main${extname(file)}`, import.meta.url));
}

function forwardLines(stream: Readable | null, write: (line: string) => void): void {
  if (stream === null) return;
  createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on("line", write);
}

/**
 * Buffers standard error while a process starts. When the process reports why it failed, that message replaces the lines;
 * otherwise they are logged.
 */
function bufferErrors(child: ChildProcess, write: (line: string) => void): { release(): void } {
  let buffered: string[] | undefined = [];
  forwardLines(child.stderr, (line) => {
    if (buffered === undefined) write(line);
    else if (buffered.length < MAX_BUFFERED_LINES) buffered.push(line);
  });
  return {
    release() {
      for (const line of buffered ?? []) write(line);
      buffered = undefined;
    },
  };
}
