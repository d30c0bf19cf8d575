/**
 * Reads the end of a log and follows it across rotations, including what was written to a file before it was renamed. Work
 * and memory are bounded for any length of the log or of a line.
 */
import { type FileHandle, open } from "node:fs/promises";
import { errorCode } from "../base/errors.ts";
import { rotatedNumbers, rotatedPath } from "./rotation.ts";

/** How far a reader has read: the file, whatever its current name, and the offset in it. */
export interface LogPosition {
  readonly inode: number;
  readonly offset: number;
  /** The bytes before the offset, as base64. They differ if the file was truncated and has grown beyond the offset since. */
  readonly before: string;
  /** The offset is within a line that was too long to be read; the rest of the line is skipped. */
  readonly isWithinLine: boolean;
}

export interface LogPiece {
  /** Oldest first, without line feeds. */
  readonly lines: string[];
  /** Number of lines between the previous position and `lines` that were left out because of the limit. */
  readonly skipped: number;
  readonly next: LogPosition;
}

interface Segment {
  readonly handle: FileHandle;
  readonly inode: number;
  readonly from: number;
  readonly to: number;
}

/** The last lines of the log at `path` and its previous file, at most `maxBytes`; undefined if there is no log. */
export async function readLogEnd(path: string, maxBytes: number): Promise<LogPiece | undefined> {
  const opened: Segment[] = [];
  try {
    for (const name of [path, rotatedPath(path, 1)]) await openSegment(opened, name);
    if (opened.length === 0) return undefined;
    let room = maxBytes;
    const ends = opened.map((segment) => {
      const from = Math.max(0, segment.to - room);
      room -= segment.to - from;
      return { ...segment, from };
    });
    const isWithinLine = ends.some(({ from }) => from > 0);
    return { ...(await readSegments(ends.reverse(), maxBytes, isWithinLine)), skipped: 0 };
  } finally {
    await closeAll(opened);
  }
}

/**
 * The newest lines written after `position`, at most `maxBytes`. If the file of the position is gone, the one at `path` is
 * read from its start. Undefined if there is no log or nothing new.
 */
export async function readLogFrom(
  path: string,
  position: LogPosition,
  maxBytes: number,
): Promise<LogPiece | undefined> {
  const { inode, offset } = position;
  const opened: Segment[] = [];
  try {
    await openSegment(opened, path);
    const [current] = opened;
    if (current === undefined || (current.inode === inode && current.to === offset)) {
      return undefined;
    }
    let isFound = await isAtPosition(opened, position);
    // A file of the same name that was truncated is read from its start.
    if (!isFound && current.inode !== inode) {
      for (const number of await rotatedNumbers(path)) {
        await openSegment(opened, rotatedPath(path, number));
        isFound = await isAtPosition(opened, position);
        if (isFound) break;
      }
    }
    if (!isFound) return await readSegments([current], maxBytes, false);
    const [oldest = current, ...newer] = opened.toReversed();
    const segments = [{ ...oldest, from: offset }, ...newer];
    return await readSegments(segments, maxBytes, position.isWithinLine);
  } finally {
    await closeAll(opened);
  }
}

async function isAtPosition(
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

/** Opens the file if it exists and is not open under another name already, because of a rotation meanwhile. */
async function openSegment(opened: Segment[], path: string): Promise<void> {
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

/** `segments`: at least one, the oldest first. */
async function readSegments(
  segments: readonly Segment[],
  maxBytes: number,
  isWithinLine: boolean,
): Promise<LogPiece> {
  const total = segments.reduce((sum, { from, to }) => sum + to - from, 0);
  let excessBytes = Math.max(0, total - maxBytes);
  const isCut = excessBytes > 0;
  let skipped = 0;
  const chunks: Buffer[] = [];
  const last = segments.at(-1) as Segment;
  for (const { handle, from, to } of segments) {
    const skippedBytes = Math.min(excessBytes, to - from);
    excessBytes -= skippedBytes;
    skipped += await countLines(handle, from, from + skippedBytes);
    const bytes = await readBytes(handle, from + skippedBytes, to);
    chunks.push(bytes);
    // A partial line at the end of a rotated file does not continue in the next one.
    if (handle !== last.handle && bytes.length > 0 && bytes.at(-1) !== LINE_FEED) {
      chunks.push(Buffer.of(LINE_FEED));
    }
  }
  const text = Buffer.concat(chunks);
  const end = text.lastIndexOf(LINE_FEED) + 1;
  // A line longer than the limit would not be complete on the next read either, so it is skipped.
  const isTooLong = end === 0 && text.length >= maxBytes;
  const start = isCut || isWithinLine ? text.indexOf(LINE_FEED) + 1 : 0;
  // Counts the line whose start was skipped, or that is too long.
  if ((isCut && start > 0) || (isTooLong && !isWithinLine)) skipped++;
  const lines = end > start ? text.toString("utf8", start, end - 1).split("\n") : [];
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

const COUNT_CHUNK_BYTES = 1024 * 1024;

async function countLines(handle: FileHandle, from: number, to: number): Promise<number> {
  let count = 0;
  for (let at = from; at < to; at += COUNT_CHUNK_BYTES) {
    const bytes = await readBytes(handle, at, Math.min(to, at + COUNT_CHUNK_BYTES));
    for (let i = bytes.indexOf(LINE_FEED); i !== -1; i = bytes.indexOf(LINE_FEED, i + 1)) count++;
  }
  return count;
}

async function readBytes(handle: FileHandle, from: number, to: number): Promise<Buffer> {
  const bytes = Buffer.alloc(to - from);
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, from);
  return bytes.subarray(0, bytesRead);
}
