/**
 * One run of a process of the edge, from its start to its end. It is stopped by a message on its IPC channel, and ends by
 * itself when that channel closes, so that it never outlives the edge.
 */
import { type ChildProcess, fork } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Clock, Timer } from "../base/clock.ts";
import { EdgeError } from "../base/errors.ts";
import { IS_SOURCE, productFile } from "../base/product-files.ts";
import type { LineSink, Log } from "../logs/log.ts";
import {
  type EdgeMessage,
  type ProcessMessage,
  parseProcessMessage,
  type ReadyReport,
  type StopScope,
} from "../process/edge-channel.ts";

export type ChildRole = "balancer" | "worker";

/** A process did not become ready. The message is the process's own when it sent one. */
class ChildFailedError extends EdgeError {
  readonly code = "EDGE_CHILD_FAILED";
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

/** What a process of the edge is started with. */
export const CHILD_STDIO: ("ignore" | "pipe" | "ipc")[] = ["ignore", "pipe", "pipe", "ipc"];

export interface RunDeps {
  readonly name: string;
  /** The file that it runs. */
  readonly script: string;
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Starts it in another way than as a plain child process; its output must be piped, and it must have an IPC channel. */
  readonly fork?: ((env: Readonly<Record<string, string>>) => ChildProcess) | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Gets its log lines. */
  readonly lines: LineSink;
  /** Called with `stop-wanted`, `draining` and `drained`. */
  readonly onMessage: (message: ProcessMessage) => void;
}

export interface StopOrder {
  readonly scope: StopScope;
  /** Other workers that keep running. */
  readonly siblings: readonly string[];
  /** Other workers that end too. */
  readonly ending: readonly string[];
  /** It is killed after this. */
  readonly deadlineMs: number;
  /** Added to the deadline of a worker that is handing a session over when it is reached. */
  readonly handoverMs: number;
}

/** Starts the process when it is made. */
export class ProcessRun {
  /** Resolves when it is ready; rejects with `ChildFailedError` when it ends before that. */
  readonly becameReady: Promise<void>;
  readonly ended: Promise<RunEnd>;
  readonly #deps: RunDeps;
  readonly #child: ChildProcess;
  readonly #startedMs: number;
  readonly #errors: { release(): void };
  readonly #startDeadline: Timer;
  #stopDeadline: Timer | undefined;
  #pingTimer: Timer | undefined;
  /** Pings in a row. */
  #unanswered = 0;
  #ready: ReadyReport | undefined;
  /** Why it did not become ready, in one sentence. */
  #failure: string | undefined;
  #isStopping = false;
  #wantsStop = false;
  #isHandingOver = false;
  #hasEnded = false;
  #missedDeadline = false;

  constructor(deps: RunDeps) {
    const { clock, log, name } = deps;
    this.#deps = deps;
    this.#startedMs = clock.nowMs();
    const child =
      deps.fork?.(deps.env) ?? fork(deps.script, [], { env: deps.env, stdio: CHILD_STDIO });
    this.#child = child;
    this.#errors = bufferErrors(child, (line) => log.warn({ from: name, line }, "standard error"));
    forwardLines(child.stdout, (line) => deps.lines.write(`${line}\n`));
    this.#startDeadline = clock.after(START_MS, () => {
      this.#failure = `${name} did not become ready within ${START_MS / 1000} s`;
      child.kill("SIGKILL");
    });
    child.on("error", (error) => {
      this.#failure ??= error.message;
    });
    this.ended = new Promise((resolve) => {
      child.once("close", (code, signal) => resolve(this.#onClose(signal ?? `status ${code}`)));
    });
    this.becameReady = new Promise((resolve, reject) => {
      child.on("message", (received) => {
        const message = parseProcessMessage(received);
        if (message !== undefined) this.#onMessage(message, resolve);
      });
      void this.ended.then(({ how }) => {
        const why = this.#failure ?? `${name} ended while it started (${how}); see the log`;
        reject(new ChildFailedError(why));
      });
    });
    // The end is also reported by `ended`, so a caller need not wait for this one.
    this.becameReady.catch(() => {});
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get uptimeMs(): number {
    return this.#deps.clock.nowMs() - this.#startedMs;
  }

  /** The last report; undefined while the process starts. */
  get ready(): ReadyReport | undefined {
    return this.#ready;
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  send(message: EdgeMessage): void {
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** Resolves with true when the process sends a message of this type, with false when it ends before that. */
  received(type: ProcessMessage["type"]): Promise<boolean> {
    const arrived = new Promise<true>((resolve) => {
      this.#child.on("message", (message) => {
        if (parseProcessMessage(message)?.type === type) resolve(true);
      });
    });
    return Promise.race([arrived, this.ended.then(() => false)]);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /**
   * Asks it to stop, and kills it after the deadline. A later call replaces the deadline. Resolves when the process is gone.
   */
  stop({ scope, siblings, ending, deadlineMs, handoverMs }: StopOrder): Promise<RunEnd> {
    if (this.#hasEnded) return this.ended;
    const { clock } = this.#deps;
    this.#isStopping = true;
    this.send({ type: "stop", scope, siblings: [...siblings], ending: [...ending] });
    this.#stopDeadline?.cancel();
    this.#stopDeadline = clock.after(deadlineMs, () => {
      if (!this.#isHandingOver || handoverMs === 0) this.#killLate();
      else this.#stopDeadline = clock.after(handoverMs, () => this.#killLate());
    });
    return this.ended;
  }

  #killLate(): void {
    this.#missedDeadline = true;
    this.#deps.log.warn({ child: this.#deps.name }, "a process did not stop in time and is killed");
    this.#child.kill("SIGKILL");
  }

  #onMessage(message: ProcessMessage, becomeReady: () => void): void {
    switch (message.type) {
      case "pong":
        this.#unanswered = 0;
        return;
      case "failed":
        this.#failure = message.message;
        return;
      case "ready":
        this.#startDeadline.cancel();
        this.#errors.release();
        this.#ready = message;
        this.#startPinging();
        becomeReady();
        return;
      case "stop-wanted":
        this.#wantsStop = true;
        this.send({ type: "stop-queued" });
        this.#deps.onMessage(message);
        return;
      case "draining":
      case "drained":
        this.#isHandingOver = message.type === "draining";
        this.#deps.onMessage(message);
        return;
      case "standby":
      case "ports-released":
      // `received` waits for these.
    }
  }

  #startPinging(): void {
    const { clock, log, name } = this.#deps;
    this.#pingTimer ??= clock.every(PING_MS, () => {
      if (this.#unanswered < MAX_UNANSWERED) {
        this.#unanswered++;
        this.send({ type: "ping" });
        return;
      }
      this.#pingTimer?.cancel();
      log.error({ child: name, pid: this.pid }, "a process does not respond and is replaced");
      this.kill("SIGKILL");
    });
  }

  #onClose(how: string): RunEnd {
    this.#hasEnded = true;
    this.#startDeadline.cancel();
    this.#stopDeadline?.cancel();
    this.#pingTimer?.cancel();
    if (this.#failure === undefined) this.#errors.release();
    const wasReady = this.#ready !== undefined;
    this.#ready = undefined;
    return {
      how,
      wasReady,
      wasWanted: this.#isStopping || this.#wantsStop,
      missedDeadline: this.#missedDeadline,
      ranMs: this.uptimeMs,
    };
  }
}

/** The entry file of the role, of the same kind as this program: built, or a source under tsx. */
export function scriptOf(role: ChildRole): string {
  return fileURLToPath(productFile(`${role}/main.${IS_SOURCE ? "ts" : "js"}`));
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
