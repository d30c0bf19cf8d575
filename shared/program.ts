/**
 * How a program of the edge ends: asked to, because the edge that started it is gone, or with one line for the operator
 * when it cannot start. The edge listens on the IPC channel (edge/child.ts).
 */
import { z } from "zod";
import { SettingError } from "./config.ts";
import { describeError, EdgeError, errorCode } from "./errors.ts";
import { isWorkerId, type WorkerId } from "./ids.ts";
import type { Log } from "./log.ts";

/**
 * Calls `stop` once, with the reason; `askedAgain` resolves when it is asked once more: then it shall not take its time. A
 * process that the edge started ends when the edge says so or is gone; Ctrl-C reaches the whole process group, and then it
 * waits for the edge, which stops it in order.
 */
export function stopOnRequest(
  stop: (why: string, askedAgain: Promise<void>) => Promise<void>,
): void {
  let stopping = false;
  let again = (): void => {};
  const askedAgain = new Promise<void>((resolve) => {
    again = resolve;
  });
  const once = (why: string): void => {
    if (stopping) {
      again();
      return;
    }
    stopping = true;
    stop(why, askedAgain).catch((error: unknown) => fail(error));
  };
  const isChild = process.channel !== undefined;
  process.on("SIGTERM", () => once("SIGTERM"));
  process.on("SIGINT", () => {
    if (!isChild) once("SIGINT");
  });
  // Node's own answer to it is an end without order. It is for logs and certificates, unless a terminal has closed.
  process.on("SIGHUP", () => {
    if (!isChild && process.stdin.isTTY) once("SIGHUP");
  });
  if (!isChild) return;
  process.on("disconnect", () => once("the edge is gone"));
  process.on("message", (message) => {
    if (typeof message !== "object" || message === null || !("type" in message)) return;
    if (message.type === "stop") once("the edge stops");
    // Whoever answers is not hung (edge/child.ts).
    if (message.type === "ping") {
      process.send?.({ type: "pong" }, undefined, undefined, ignoreGoneEdge);
    }
  });
}

/** Calls `listener` when the edge says that another worker's process on this machine has ended. */
export function onPeerExit(listener: (workerId: WorkerId) => void): void {
  process.on("message", (message) => {
    if (typeof message !== "object" || message === null || !("type" in message)) return;
    if (message.type !== "exited" || !("workerId" in message)) return;
    if (typeof message.workerId === "string" && isWorkerId(message.workerId)) {
      listener(message.workerId);
    }
  });
}

/**
 * What the edge that started this process says against traffic for it: another process that keeps failing. Empty while it
 * says nothing.
 */
export function watchEdgeReadiness(): { readonly notReady: readonly string[] } {
  let notReady: readonly string[] = [];
  process.on("message", (message) => {
    const told = notReadySchema.safeParse(message).data;
    if (told !== undefined) notReady = told.reasons;
  });
  return {
    get notReady() {
      return notReady;
    },
  };
}

const notReadySchema = z.object({
  type: z.literal("not-ready"),
  reasons: z.array(z.string()),
});

/** Tells the edge, when it started this process, on which ports it can be used. */
export function reportReady(ports: Readonly<Record<string, number>>): void {
  process.send?.({ type: "ready", ...ports }, undefined, undefined, ignoreGoneEdge);
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

function ignoreGoneEdge(): void {
  // The channel's end is reported by itself.
}
