/**
 * The processes of this machine's edge as `ct-edge ps` and programs get them. Pure, except for the links to their logs.
 */
import { createHash } from "node:crypto";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Child } from "../../shared/children/child.ts";

export const listedProcessSchema = z.object({
  /** Four characters derived from its name, the same at every start. */
  uid: z.string(),
  id: z.string(),
  role: z.enum(["balancer", "worker"]),
  state: z.enum(["starting", "up", "stopping", "waiting", "failing", "stopped"]),
  command: z.string(),
  script: z.string(),
  /** Null while it does not run. */
  pid: z.number().nullable(),
  /** The pid of the edge. */
  supervisorPid: z.number(),
  logFile: z.string(),
  uptimeMs: z.number().nullable(),
  restarts: z.number(),
  /** `SIGKILL`, `status 1`; null when it has never ended. */
  lastEnd: z.string().nullable(),
  port: z.number().nullable(),
  statusPort: z.number().nullable(),
});

export type ListedProcess = z.infer<typeof listedProcessSchema>;

const UID_CHARS = 4;
const ALPHANUMERICS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Four characters that identify a process, as operators' scripts expect them. */
export function uidOf(name: string): string {
  const digest = createHash("sha256").update(name).digest();
  return Array.from(digest.subarray(0, UID_CHARS), (byte) => ALPHANUMERICS[byte % 62]).join("");
}

export function listProcess(child: Child, logFolder: string): ListedProcess {
  const { name, role, state, ready } = child;
  const uid = uidOf(name);
  return {
    uid,
    id: name,
    role,
    state,
    command: process.execPath,
    script: child.script,
    pid: child.pid ?? null,
    supervisorPid: process.pid,
    logFile: join(logFolder, `${uid}.log`),
    uptimeMs: child.uptimeMs === undefined ? null : Math.round(child.uptimeMs),
    restarts: child.restarts,
    lastEnd: child.lastEnd ?? null,
    port: ready?.port ?? ready?.httpPort ?? null,
    statusPort: ready?.statusPort ?? null,
  };
}

/**
 * Fills `folder` with links `<uid>.log`, the log paths that operators expect per process: all lead to server.log, which has
 * the lines of all processes.
 */
export function linkLogs(folder: string, logFile: string, names: readonly string[]): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of names) symlinkSync(logFile, join(folder, `${uidOf(name)}.log`));
}
