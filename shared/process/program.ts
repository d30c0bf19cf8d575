/**
 * How a program of the edge ends: asked to, because the edge that started it is gone, or with one line for the operator
 * when it cannot start. The other end of the IPC channel is edge/process/process-run.ts.
 */

import { describeError, EdgeError, errorCode } from "../base/errors.ts";
import { isWorkerId, type WorkerId } from "../base/ids.ts";
import type { Log } from "../logs/log.ts";
import { SettingError } from "../settings/read-settings.ts";
import {
  type ProcessMessage,
  parseEdgeMessage,
  type ReceivedEdgeMessage,
  STANDBY_VARIABLE,
  type StopScope,
} from "./edge-channel.ts";

/** The edge confirms within this that it will stop a process that got SIGTERM; else the process ends by itself. */
const CONFIRM_MS = 2000;

/** How a process is asked to end. */
export interface StopRequest {
  /** For the log. */
  readonly why: string;
  readonly scope: StopScope;
  /** Other workers of the edge that started it, which go on. */
  readonly siblings: readonly WorkerId[];
  /** Other workers of that edge, which end too: nothing is handed over to them. */
  readonly ending: readonly WorkerId[];
  /** Whether an edge started this process, which starts it again unless it ends itself. */
  readonly isSupervised: boolean;
}

/** What may come after the first request to end. */
export interface LaterRequests {
  /** Resolves when the process is to end at once: a second signal. */
  readonly urgent: Promise<void>;
  /** Resolves when the edge as a whole ends after it had asked for this process alone. */
  readonly edgeStops: Promise<StopRequest>;
}

/**
 * Calls `stop` once. A process that an edge started ends when the edge says so or is gone. SIGTERM to it is passed on to
 * the edge, which stops one process at a time; a second SIGTERM ends it at once. Ctrl-C reaches the whole process group,
 * and then it waits for the edge.
 */
export function stopOnRequest(
  stop: (request: StopRequest, later: LaterRequests) => Promise<void>,
): void {
  let state: "running" | "asking" | "stopping" = "running";
  const isSupervised = process.channel !== undefined;
  const urgent = createLatch<void>();
  const edgeStops = createLatch<StopRequest>();

  function begin(given: Pick<StopRequest, "why" | "scope"> & Partial<StopRequest>): void {
    const request = { siblings: [], ending: [], isSupervised, ...given };
    if (state === "stopping") {
      if (request.scope === "edge") edgeStops.open(request);
      return;
    }
    state = "stopping";
    stop(request, { urgent: urgent.opened, edgeStops: edgeStops.opened }).catch(fail);
  }

  function onSignal(signal: string): void {
    if (state === "running" && isSupervised) {
      state = "asking";
      const why = `${signal}, and the edge does not answer`;
      askEdgeToStop(() => begin({ why, scope: "process" }));
      return;
    }
    if (state !== "running") urgent.open();
    begin({ why: signal, scope: "process" });
  }

  process.on("SIGTERM", onSignal);
  process.on("SIGINT", (signal) => {
    if (!isSupervised) onSignal(signal);
  });
  // Node's own answer to it is an end without order. It is for logs and certificates, unless a terminal has closed.
  process.on("SIGHUP", (signal) => {
    if (!isSupervised && process.stdin.isTTY) onSignal(signal);
  });
  if (!isSupervised) return;
  process.on("disconnect", () => begin({ why: "the edge is gone", scope: "edge" }));
  onEdgeMessage((message) => {
    if (message.type === "stop") {
      const { scope } = message;
      const why = scope === "edge" ? "the edge stops" : "the edge stops this process";
      const siblings = message.siblings.filter(isWorkerId);
      begin({ why, scope, siblings, ending: message.ending.filter(isWorkerId) });
    }
    if (message.type === "ping") sendToEdge({ type: "pong" });
  });
}

/** A promise that is resolved from outside. */
function createLatch<T>(): { readonly opened: Promise<T>; readonly open: (value: T) => void } {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Calls `onSilence` when the edge does not confirm in time. */
function askEdgeToStop(onSilence: () => void): void {
  const timer = setTimeout(onSilence, CONFIRM_MS);
  onEdgeMessage(({ type }) => {
    if (type === "stop-queued" || type === "stop") clearTimeout(timer);
  });
  sendToEdge({ type: "stop-wanted" });
}

/** Calls `listener` for each message of the edge that started this process. */
function onEdgeMessage(listener: (message: ReceivedEdgeMessage) => void): void {
  process.on("message", (received) => {
    const message = parseEdgeMessage(received);
    if (message !== undefined) listener(message);
  });
}

/** Does nothing when no edge started this process, or it is gone: the end of the channel is reported by itself. */
export function sendToEdge(message: ProcessMessage): void {
  process.send?.(message, undefined, undefined, () => {});
}

/** Calls `listener` when the edge says that another worker's process on this machine has ended. */
export function onPeerExit(listener: (workerId: WorkerId) => void): void {
  onEdgeMessage((message) => {
    if (message.type === "exited" && isWorkerId(message.workerId)) listener(message.workerId);
  });
}

/**
 * What the edge that started this process says against traffic for it: another process that keeps failing. Empty while it
 * says nothing.
 */
export function watchEdgeReadiness(): { readonly notReady: readonly string[] } {
  let notReady: readonly string[] = [];
  onEdgeMessage((message) => {
    if (message.type === "not-ready") notReady = message.reasons;
  });
  return {
    get notReady() {
      return notReady;
    },
  };
}

/** Calls `release` when the successor of this process is about to open the same ports, and reports that they are free. */
export function releasePortsOnRequest(release: () => void): void {
  onEdgeMessage(({ type }) => {
    if (type !== "release-ports") return;
    release();
    sendToEdge({ type: "ports-released" });
  });
}

/** Resolves when the ports may be opened: at once, unless this process is the successor of one that has them still. */
export async function portsReleased(): Promise<void> {
  if (process.env[STANDBY_VARIABLE] !== "1") return;
  await new Promise<void>((resolve) => {
    onEdgeMessage(({ type }) => {
      if (type === "open-ports") resolve();
    });
    sendToEdge({ type: "standby" });
  });
}

/** Tells the edge, when it started this process, on which ports it can be used. */
export function reportReady(ports: Omit<Extract<ProcessMessage, { type: "ready" }>, "type">): void {
  sendToEdge({ type: "ready", ...ports });
}

/** A bug anywhere may have left anything half done: the process ends, and the supervisor starts a fresh one. */
export function endOnBugs(log: Log): void {
  process.on("uncaughtException", (error, origin) => {
    log.error({ err: error, origin }, "the process ends because of a bug");
    process.exit(1);
  });
}

/** Ends the process with status 1 and one line on standard error, which the edge gets too. */
export function fail(error: unknown): void {
  const message = error instanceof EdgeError ? error.message : describeBug(error);
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
  if (process.send === undefined) process.exit(1);
  process.send({ type: "failed", message }, undefined, undefined, () => process.exit(1));
}

/** The setting's value, or a `SettingError` that says who gives it. */
export function required<T>(value: T | undefined, name: string, program: string): T {
  if (value !== undefined) return value;
  throw new SettingError(`${name} is not set; start the ${program} through ct-edge, or set it`);
}

/**
 * Opens a port by `open`. What the system says against it becomes a `SettingError` that names the setting, the value and
 * what to do.
 */
export async function openPort<T>(
  setting: string,
  port: number,
  open: () => Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const remedy = PORT_REMEDIES.get(errorCode(error) ?? "");
    if (remedy === undefined) throw error;
    throw new SettingError(`${setting}=${port}: ${remedy(setting)}`);
  }
}

const PORT_REMEDIES: ReadonlyMap<string, (setting: string) => string> = new Map([
  [
    "EADDRINUSE",
    (setting) => `already in use by another program; stop it or set ${setting} to another port`,
  ],
  ["EACCES", (setting) => `this user may not open it; set ${setting} to a port above 1023`],
]);

/** An error that is not ours is a bug or the system's: its stack helps. */
function describeBug(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : describeError(error);
}
