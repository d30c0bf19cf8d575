/**
 * Reading the end of a log, and on from there, over its rotations: what was written to a file before it was renamed is
 * read too. Work and memory are bounded, however long the log or a line is.
 */
import { type FileHandle, open, stat } from "node:fs/promises";
import { errorCode } from "../base/errors.ts";
import { rotatedNumbers, rotatedPath } from "./rotation.ts";

/** Up to where a reader has read: which file it was, by whatever name, and how many bytes of it. */
export interface LogPosition {
  readonly inode: number;
  readonly offset: number;
  /** The bytes before that place, as base64: a file that was emptied and has grown beyond it has others there. */
  readonly before: string;
  /** It is in the midst of a line that was too long to be read whole; the rest of that is passed over. */
  readonly isWithinLine: boolean;
}

export interface LogPiece {
  /** The oldest first, without line feeds. */
  readonly lines: string[];
  /** Lines that came before these, after the last position, and were too much to be read. */
  readonly skipped: number;
  readonly next: LogPosition;
}

/** A part of one file. */
interface Segment {
  readonly handle: FileHandle;
  readonly inode: number;
  readonly from: number;
  readonly to: number;
}

/** The last lines of the log at `path`, of `maxBytes` at most, with those of the file before; undefined: there is no log. */
export async function readLogEnd(path: string, maxBytes: number): Promise<LogPiece | undefined> {
  const opened: Segment[] = [];
  try {
    for (const name of [path, rotatedPath(path, 1)]) await openPart(opened, name);
    if (opened.length === 0) return undefined;
    let room = maxBytes;
    const ends = opened.map((part) => {
      const from = Math.max(0, part.to - room);
      room -= part.to - from;
      return { ...part, from };
    });
    const isWithinLine = ends.some(({ from }) => from > 0);
    return { ...(await readParts(ends.reverse(), maxBytes, isWithinLine)), skipped: 0 };
  } finally {
    await closeAll(opened);
  }
}

/**
 * What was written after `position`, of `maxBytes` at most, the newest. When the file of then is gone, the one at `path`
 * is read from its beginning. Undefined: there is none, or nothing new.
 */
export async function readLogFrom(
  path: string,
  position: LogPosition,
  maxBytes: number,
): Promise<LogPiece | undefined> {
  const now = await statOf(path);
  const { inode, offset } = position;
  if (now === undefined || (now.ino === inode && now.size === offset)) return undefined;
  const opened: Segment[] = [];
  try {
    await openPart(opened, path);
    let found = await isThere(opened, position);
    // A file of the same name that was emptied is begun anew.
    if (!found && now.ino !== inode) {
      for (const number of await rotatedNumbers(path)) {
        await openPart(opened, rotatedPath(path, number));
        found = await isThere(opened, position);
        if (found) break;
      }
    }
    const parts = found ? opened : opened.slice(0, 1);
    const last = parts.at(-1);
    if (last === undefined) return undefined;
    if (found) parts[parts.length - 1] = { ...last, from: offset };
    return await readParts([...parts].reverse(), maxBytes, found && position.isWithinLine);
  } finally {
    await closeAll(opened);
  }
}

async function isThere(
  opened: readonly Segment[],
  { inode, offset, before }: LogPosition,
): Promise<boolean> {
  const last = opened.at(-1);
  if (last === undefined || last.inode !== inode || last.to < offset) return false;
  return (await readBefore(last.handle, offset)) === before;
}

const BEFORE_BYTES = 64;

async function readBefore(handle: FileHandle, offset: number): Promise<string> {
  const bytes = await readBytes(handle, Math.max(0, offset - BEFORE_BYTES), offset);
  return bytes.toString("base64");
}

async function statOf(path: string): Promise<{ ino: number; size: number } | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Opens the file unless it is not there, or was opened by another name already: a rotation may be under way. */
async function openPart(opened: Segment[], path: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  const { ino, size } = await handle.stat();
  if (opened.some(({ inode }) => inode === ino)) await handle.close();
  else opened.push({ handle, inode: ino, from: 0, to: size });
}

async function closeAll(segments: readonly Segment[]): Promise<void> {
  for (const { handle } of segments) await handle.close();
}

const LINE_FEED = 0x0a;

/** `parts`: one at least, the oldest first. */
async function readParts(
  parts: readonly Segment[],
  maxBytes: number,
  isWithinLine: boolean,
): Promise<LogPiece> {
  const total = parts.reduce((sum, { from, to }) => sum + to - from, 0);
  let tooMuch = Math.max(0, total - maxBytes);
  const isCut = tooMuch > 0;
  let skipped = 0;
  const read: Buffer[] = [];
  const last = parts.at(-1) as Segment;
  for (const { handle, from, to } of parts) {
    const passed = Math.min(tooMuch, to - from);
    tooMuch -= passed;
    skipped += await countLines(handle, from, from + passed);
    const bytes = await readBytes(handle, from + passed, to);
    read.push(bytes);
    // Half a line at the end of a file that was put aside will not go on in the next one.
    if (handle !== last.handle && bytes.length > 0 && bytes.at(-1) !== LINE_FEED) {
      read.push(Buffer.of(LINE_FEED));
    }
  }
  const text = Buffer.concat(read);
  const end = text.lastIndexOf(LINE_FEED) + 1;
  // A line that alone is more than may be read will not be whole the next time either.
  const isTooLong = end === 0 && text.length >= maxBytes;
  const begin = isCut || isWithinLine ? text.indexOf(LINE_FEED) + 1 : 0;
  // The one whose beginning was passed over, or that is too long.
  if ((isCut && begin > 0) || (isTooLong && !isWithinLine)) skipped++;
  const lines = end > begin ? text.toString("utf8", begin, end - 1).split("\n") : [];
  const rest = Math.min(text.length - end, last.to - last.from);
  const offset = isTooLong ? last.to : last.to - rest;
  return {
    lines,
    skipped,
    next: {
      inode: last.inode,
      offset,
      before: await readBefore(last.handle, offset),
      isWithinLine: isTooLong || (isWithinLine && end === 0),
    },
  };
}

const COUNTED_AT_ONCE = 1024 * 1024;

async function countLines(handle: FileHandle, from: number, to: number): Promise<number> {
  let count = 0;
  for (let at = from; at < to; at += COUNTED_AT_ONCE) {
    const bytes = await readBytes(handle, at, Math.min(to, at + COUNTED_AT_ONCE));
    for (let i = bytes.indexOf(LINE_FEED); i !== -1; i = bytes.indexOf(LINE_FEED, i + 1)) count++;
  }
  return count;
}

async function readBytes(handle: FileHandle, from: number, to: number): Promise<Buffer> {
  const bytes = Buffer.alloc(to - from);
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, from);
  return bytes.subarray(0, bytesRead);
}
