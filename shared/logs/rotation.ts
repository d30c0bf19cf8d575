/**
 * Rotation of one log: `server.log` becomes `server.log.1`, what was `.1` becomes `.2`, and the oldest ones go, so that all
 * of them together never hold more than they may. Numbers as logrotate gives them, because people and their scripts know
 * those. Nothing here blocks the event loop.
 */
import { open } from "node:fs";
import { readdir, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { promisify } from "node:util";
import { errorCode } from "../base/errors.ts";

/** How much of one log is kept: `maxFiles` files, the one that is written included, of `maxBytes` each. */
export interface LogLimits {
  readonly maxBytes: number;
  /** 0: nothing is rotated here; logrotate does it, and says so by SIGHUP. */
  readonly maxFiles: number;
}

/** Owner writes, group reads. */
export const LOG_FILE_MODE = 0o640;

/** A descriptor rather than Node's FileHandle, which cannot be written to synchronously when the process ends. */
const openFile = promisify(open);

/** Opens the file at `path`, to append to it, whoever else empties it meanwhile. Returns its descriptor. */
export function openToAppend(path: string): Promise<number> {
  return openFile(path, "a", LOG_FILE_MODE);
}

/**
 * Puts the file at `path` behind the older ones and opens a new one; returns its descriptor. When `path` is no longer the
 * file `inode`, somebody else has renamed it, and a new one is opened only. Rejects when a file cannot be renamed or
 * opened; what was renamed until then stays so.
 */
export async function startNewFile(
  path: string,
  inode: number,
  limits: LogLimits,
): Promise<number> {
  if (await isStill(path, inode)) {
    await makeRoom(path, limits);
    if (limits.maxFiles > 1) await rename(path, rotatedPath(path, 1));
    else await unlink(path);
  }
  return openToAppend(path);
}

async function isStill(path: string, inode: number): Promise<boolean> {
  try {
    return (await stat(path)).ino === inode;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
}

/** Moves each older file one number up, and deletes those that are too many or too much, the oldest first. */
async function makeRoom(path: string, { maxBytes, maxFiles }: LogLimits): Promise<void> {
  let bytes = (await stat(path)).size;
  const budget = maxBytes * (maxFiles - 1);
  const kept: number[] = [];
  for (const number of await rotatedNumbers(path)) {
    const name = rotatedPath(path, number);
    bytes += (await stat(name)).size;
    if (kept.length + 1 < maxFiles - 1 && bytes <= budget) kept.push(number);
    else await unlink(name);
  }
  // From the oldest, so that none is written over; their new numbers leave no gap.
  for (let at = kept.length; at > 0; at--) {
    const number = kept[at - 1] ?? at;
    if (number !== at + 1) await rename(rotatedPath(path, number), rotatedPath(path, at + 1));
  }
}

/** The numbers of the older files of the log at `path`, the newest (lowest) first. */
export async function rotatedNumbers(path: string): Promise<number[]> {
  const begin = `${basename(path)}.`;
  const numbers: number[] = [];
  for (const name of await readdir(dirname(path))) {
    const number = name.startsWith(begin) ? name.slice(begin.length) : "";
    if (/^[1-9]\d{0,5}$/.test(number)) numbers.push(Number(number));
  }
  return numbers.sort((a, b) => a - b);
}

/** The path of an older file of a log. */
export function rotatedPath(path: string, number: number): string {
  return `${path}.${number}`;
}

/** When the local day of `wallMs` ends. */
export function dayEndMs(wallMs: number): number {
  const date = new Date(wallMs);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
}
