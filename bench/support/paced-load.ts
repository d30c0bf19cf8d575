/**
 * An open-loop load: small GETs at a fixed rate on keep-alive connections, from a process of its own beside the proxy's core.
 * Latency is counted from the time at which a request was due, so that the wait for a stalled proxy is part of it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { CORES } from "./process.ts";

export interface PacedOptions {
  readonly port: number;
  readonly perSecond: number;
  readonly seconds: number;
  readonly connections: number;
  /** Default: `/small`. */
  readonly path?: string;
}

export interface PacedOutcome {
  /** Responses; fewer than the schedule has when the proxy does not keep up. */
  readonly operations: number;
  /** From the first request to the last response. */
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

const PROGRAM = fileURLToPath(new URL("paced-sender.ts", import.meta.url));
const KILL_AFTER_MS = 10_000;

/**
 * Opens the connections. The function that it resolves with sends requests for `seconds`, once, and rejects when one fails. A
 * proxy that does not keep up gets fewer requests, and the wait of the others counts as latency.
 */
export async function openPacedLoad(options: PacedOptions): Promise<() => Promise<PacedOutcome>> {
  const command = [process.execPath, "--import", "tsx", PROGRAM];
  const pinned = CORES === null ? command : ["taskset", "-c", CORES.others, ...command];
  const [file = "", ...args] = pinned;
  const child = spawn(file, args, { stdio: ["ignore", "inherit", "pipe", "ipc"] });
  const kill = setTimeout(() => child.kill("SIGKILL"), options.seconds * 1000 + KILL_AFTER_MS);
  child.once("close", () => clearTimeout(kill));
  const failed = failure(child);
  child.send(options);
  await Promise.race([failed, once(child, "message")]);
  return async () => {
    child.send("go");
    const [outcome] = (await Promise.race([failed, once(child, "message")])) as [PacedOutcome];
    return outcome;
  };
}

/** Rejects with what the child wrote when it ends with an error. */
function failure(child: ChildProcess): Promise<never> {
  let output = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    output += bytes.toString();
  });
  return new Promise((_, reject) => {
    child.once("error", reject);
    child.once("close", (status) => {
      if (status !== 0) reject(new Error(`the paced load failed: ${output}`));
    });
  });
}
