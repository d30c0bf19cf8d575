/**
 * Rotates one log: `server.log` becomes `server.log.1`, `.1` becomes `.2`, and the oldest files are deleted so that the total
 * size stays within its limit. The numbers are logrotate's, which people and scripts know. Nothing here blocks the event
 * loop.
 */
import { open } from "node:fs";
import { readdir, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { promisify } from "node:util";
import { errorCode } from "../base/errors.ts";

/** How much of one log is kept: `maxFiles` files of `maxBytes` each, including the current one. */
export interface LogLimits {
  readonly maxBytes: number;
  /** 0: no rotation here; logrotate does it and sends SIGHUP. */
  readonly maxFiles: number;
}

/** Owner writes, group reads. */
export const LOG_FILE_MODE = 0o640;

/** A descriptor, because Node's FileHandle cannot be written to synchronously when the process exits. */
const openFile = promisify(open);

/** Opens the file at `path` in append mode, which also works when another program truncates it. Returns its descriptor. */
export function openToAppend(path: string): Promise<number> {
  return openFile(path, "a", LOG_FILE_MODE);
}

/**
 * Renames the file at `path` to the first of the rotated ones, opens a new one and returns its descriptor. If `path` is no
 * longer the file `inode`, or becomes another one meanwhile, another program has rotated it, and only the new file is opened.
 * Rejects when a file cannot be renamed or opened; earlier renames are not undone.
 */
export async function startNewFile(
  path: string,
  inode: number,
  limits: LogLimits,
): Promise<number> {
  try {
    if (await isSameFile(path, inode)) await moveAway(path, limits);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  return openToAppend(path);
}

async function moveAway(path: string, limits: LogLimits): Promise<void> {
  await makeRoom(path, limits);
  if (limits.maxFiles > 1) await rename(path, rotatedPath(path, 1));
  else await unlink(path);
}

/** Rejects with ENOENT when there is none. */
async function isSameFile(path: string, inode: number): Promise<boolean> {
  return (await stat(path)).ino === inode;
}

/** Raises the number of each rotated file by one, and deletes the oldest ones beyond the limits. */
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
  // Oldest first, so that no file is overwritten; the new numbers have no gaps.
  for (let at = kept.length; at > 0; at--) {
    const number = kept[at - 1] ?? at;
    if (number !== at + 1) await rename(rotatedPath(path, number), rotatedPath(path, at + 1));
  }
}

/** The numbers of the rotated files of the log at `path`, the newest (lowest) first. */
export async function rotatedNumbers(path: string): Promise<number[]> {
  const prefix = `${basename(path)}.`;
  const numbers: number[] = [];
  for (const name of await readdir(dirname(path))) {
    const number = name.startsWith(prefix) ? name.slice(prefix.length) : "";
    if (/^[1-9]\d{0,5}$/.test(number)) numbers.push(Number(number));
  }
  return numbers.sort((a, b) => a - b);
}

export function rotatedPath(path: string, number: number): string {
  return `${path}.${number}`;
}

export function dayEndMs(wallMs: number): number {
  const date = new Date(wallMs);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTime();
}
