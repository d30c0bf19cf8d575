/**
 * How a program of the edge stops: on request, because the edge that started it is gone, or with one line for the operator
 * if it cannot start. The other end of the IPC channel is shared/children/process-run.ts.
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
import { notifyReady } from "./service-manager.ts";

/** If the edge does not confirm within this that it will stop a process that got SIGTERM, the process stops by itself. */
const CONFIRM_MS = 2000;

export interface StopRequest {
  /** For the log. */
  readonly why: string;
  readonly scope: StopScope;
  /** Other workers of the edge that started it, which keep running. */
  readonly siblings: readonly WorkerId[];
  /** Other workers of that edge, which stop too, so that no session must be handed over to them. */
  readonly ending: readonly WorkerId[];
  /** Whether an edge started this process; it restarts the process unless the edge itself stops. */
  readonly isSupervised: boolean;
}

interface LaterRequests {
  /** Resolves on a second signal, which forces an immediate stop. */
  readonly urgent: Promise<void>;
  /** Resolves when the whole edge stops after it had asked only this process to stop. */
  readonly edgeStops: Promise<StopRequest>;
}

/**
 * Calls `stop` once. A process that an edge started stops when the edge asks it to or is gone. It forwards SIGTERM to the
 * edge, which stops one process at a time; a second SIGTERM stops it immediately. Ctrl-C reaches the whole process group,
 * so it is ignored here and the process waits for the edge.
 */
export function stopOnRequest(
  stop: (request: StopRequest, later: LaterRequests) => Promise<void>,
): void {
  let state: "running" | "asking" | "stopping" = "running";
  const isSupervised = process.channel !== undefined;
  const urgent = createLatch<void>();
  const edgeStops = createLatch<StopRequest>();

  function begin(partial: Pick<StopRequest, "why" | "scope"> & Partial<StopRequest>): void {
    const request = { siblings: [], ending: [], isSupervised, ...partial };
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
  // By default SIGHUP would end Node. It reloads logs and certificates, except when a terminal was closed.
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

function createLatch<T>(): { readonly opened: Promise<T>; readonly open: (value: T) => void } {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

function askEdgeToStop(onTimeout: () => void): void {
  const timer = setTimeout(onTimeout, CONFIRM_MS);
  onEdgeMessage(({ type }) => {
    if (type === "stop-queued" || type === "stop") clearTimeout(timer);
  });
  sendToEdge({ type: "stop-wanted" });
}

function onEdgeMessage(listener: (message: ReceivedEdgeMessage) => void): void {
  process.on("message", (received) => {
    const message = parseEdgeMessage(received);
    if (message !== undefined) listener(message);
  });
}

/** Does nothing if no edge started this process or the edge is gone; the end of the channel is reported separately. */
export function sendToEdge(message: ProcessMessage): void {
  process.send?.(message, undefined, undefined, () => {});
}

/** Calls `listener` when the edge reports that the process of another worker on this machine has ended. */
export function onPeerExit(listener: (workerId: WorkerId) => void): void {
  onEdgeMessage((message) => {
    if (message.type === "exited" && isWorkerId(message.workerId)) listener(message.workerId);
  });
}

/**
 * Why the edge that started this process is not ready for traffic, such as another process that keeps failing. Empty while
 * it is ready.
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

/** Calls `release` when the successor of this process is about to open the same ports, then reports that they are free. */
export function releasePortsOnRequest(release: () => void): void {
  onEdgeMessage(({ type }) => {
    if (type !== "release-ports") return;
    release();
    sendToEdge({ type: "ports-released" });
  });
}

/** Resolves when the ports may be opened: immediately, unless this process replaces one that still has them open. */
export async function portsReleased(): Promise<void> {
  if (process.env[STANDBY_VARIABLE] !== "1") return;
  await new Promise<void>((resolve) => {
    onEdgeMessage(({ type }) => {
      if (type === "open-ports") resolve();
    });
    sendToEdge({ type: "standby" });
  });
}

/** Reports to the edge, or to systemd, that this process is ready, with its ports. */
export function reportReady(ports: Omit<Extract<ProcessMessage, { type: "ready" }>, "type">): void {
  sendToEdge({ type: "ready", ...ports });
  const named = Object.entries(ports).map(([name, port]) => `${name} ${port}`);
  notifyReady(`listening: ${named.join(", ")}`);
}

/** Ends the process on an uncaught exception, after which its state is unknown; the supervisor restarts it. */
export function endOnBugs(log: Log): void {
  process.on("uncaughtException", (error, origin) => {
    log.error({ err: error, origin }, "uncaught exception: the process exits");
    process.exit(1);
  });
}

/** Ends the process with status 1 and one line on standard error, which is also sent to the edge. */
export function fail(error: unknown): void {
  const message = error instanceof EdgeError ? error.message : describeBug(error);
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
  if (process.send === undefined) process.exit(1);
  process.send({ type: "failed", message }, undefined, undefined, () => process.exit(1));
}

/** The setting's value; throws a `SettingError` that says how to set it if there is none. */
export function required<T>(value: T | undefined, name: string, program: string): T {
  if (value !== undefined) return value;
  throw new SettingError(`${name} is not set; start the ${program} through ct-edge, or set it`);
}

/**
 * Opens a port with `open`. An error of the system becomes a `SettingError` with the setting, the value and the fix.
 */
export async function openPort<T>(
  setting: string,
  port: number,
  open: () => Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const fix = PORT_FIXES.get(errorCode(error) ?? "");
    if (fix === undefined) throw error;
    throw new SettingError(`${setting}=${port}: ${fix(setting)}`);
  }
}

const PORT_FIXES: ReadonlyMap<string, (setting: string) => string> = new Map([
  [
    "EADDRINUSE",
    (setting) => `already in use by another program; stop it or set ${setting} to another port`,
  ],
  ["EACCES", (setting) => `this user may not open it; set ${setting} to a port above 1023`],
]);

/** Errors that are not ours include their stack. */
function describeBug(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : describeError(error);
}
