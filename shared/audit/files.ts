/** The files of the audit log: their names, and their lines, which are never all in memory. */
import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  type AuditKeys,
  faultOf,
  type Line,
  MAX_LINE_BYTES,
  type Position,
  parseLine,
  positionOf,
} from "./line.ts";

/** Owner writes, group reads. */
export const AUDIT_FILE_MODE = 0o640;
export const AUDIT_FOLDER_MODE = 0o750;

/** `stamp`: when the chain began. `number`: of the file in the chain, from 1. */
interface AuditFileName {
  readonly worker: string;
  readonly stamp: string;
  readonly number: number;
}

const NAME = /^audit-(.{1,64})-(\d{8}T\d{9}Z)-([1-9]\d{0,8})\.jsonl$/;

/** The folder that `CT_AUDIT_DIR` names, or that of the data directory. */
export function auditFolder({
  auditDir,
  dataDir,
}: {
  readonly auditDir?: string | undefined;
  readonly dataDir: string;
}): string {
  return resolve(auditDir ?? join(dataDir, "audit"));
}

export function fileName({ worker, stamp, number }: AuditFileName): string {
  return `audit-${worker}-${stamp}-${number}.jsonl`;
}

export function parseFileName(name: string): AuditFileName | undefined {
  const [, worker, stamp, number] = NAME.exec(name) ?? [];
  if (worker === undefined || stamp === undefined) return undefined;
  return { worker, stamp, number: Number(number) };
}

export function stampOf(wallMs: number): string {
  return new Date(wallMs).toISOString().replaceAll(/[-:.]/g, "");
}

/** While it exists, `ct-edge audit erase` waits for the worker to continue in another file. */
export function releasePath(path: string): string {
  return `${path}.release`;
}

const COPY = ".jsonl.erasing";

/** Which replaces the file at `path` when it is complete. */
export function copyPath(path: string): string {
  return `${path}.erasing`;
}

export function isCopy(name: string): boolean {
  return name.endsWith(COPY) && name.startsWith("audit-");
}

export interface FoundFile extends AuditFileName {
  readonly path: string;
}

/** The oldest of each worker first. */
export async function findFiles(folder: string): Promise<readonly FoundFile[]> {
  const found = (await readdir(folder)).flatMap((name) => {
    const parts = parseFileName(name);
    return parts === undefined ? [] : [{ ...parts, path: join(folder, name) }];
  });
  return found.sort(
    (a, b) => compare(a.worker, b.worker) || compare(a.stamp, b.stamp) || a.number - b.number,
  );
}

function compare(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

// --- lines ---

export interface RawLine {
  /** Undefined: too long, or not text. */
  readonly text: string | undefined;
  /** From 1. */
  readonly number: number;
  /** Ends with a line feed. */
  readonly isComplete: boolean;
}

const LF = 0x0a;
const CHUNK_BYTES = 256 * 1024;

/** The lines of a file, one after the other. Rejects when it cannot be read. */
export async function* readLines(path: string): AsyncGenerator<RawLine> {
  let number = 0;
  /** The beginning of a line. */
  let kept: Buffer = Buffer.alloc(0);
  let isTooLong = false;
  const chunks = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  for await (const chunk of chunks as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, from)) {
      const bytes = append(kept, chunk.subarray(from, end));
      number++;
      yield { text: isTooLong ? undefined : textOf(bytes), number, isComplete: true };
      kept = Buffer.alloc(0);
      isTooLong = false;
      from = end + 1;
    }
    kept = append(kept, chunk.subarray(from));
    if (kept.length > MAX_LINE_BYTES) {
      isTooLong = true;
      kept = Buffer.alloc(0);
    }
  }
  if (kept.length > 0 || isTooLong) {
    // It may end in the middle of a character.
    yield { text: isTooLong ? undefined : kept.toString(), number: number + 1, isComplete: false };
  }
}

function append(one: Buffer, other: Buffer): Buffer {
  return one.length === 0 ? other : Buffer.concat([one, other]);
}

function textOf(bytes: Buffer): string | undefined {
  return bytes.length <= MAX_LINE_BYTES && isUtf8(bytes) ? bytes.toString() : undefined;
}

/** The last complete line of the log near the end of a file. */
export async function readLastLine(path: string): Promise<Line | undefined> {
  return (await readLastLines(path)).at(-1);
}

/**
 * The last line of a file that is certainly as it was written: its time and number can be relied on. Undefined: there is none near the
 * end, or its key is unknown.
 */
export async function readGenuineEnd(path: string, keys: AuditKeys): Promise<Position | undefined> {
  const lines = await readLastLines(path);
  for (let at = lines.length - 1; at >= 0; at--) {
    const line = lines[at];
    const before = lines[at - 1];
    if (line === undefined) continue;
    const isNext = before?.chain === line.chain && before.seq === line.seq - 1;
    const macBefore = isNext ? before.mac : macBeforeFirst(line);
    if (macBefore !== undefined && faultOf(line, macBefore, keys) === undefined) {
      return positionOf(line);
    }
  }
  return undefined;
}

/** Of the first line of a file, which names the one before it. */
export function macBeforeFirst({ kind, seq, chain, previous }: Line): string | undefined {
  if (kind === "audit.started" && seq === 1) return "";
  const isContinued = previous?.chain === chain && previous.seq === seq - 1;
  return kind === "audit.continued" && isContinued ? previous.mac : undefined;
}

/** Those that can be read. */
async function readLastLines(path: string): Promise<readonly Line[]> {
  const file = await open(path);
  try {
    const texts = (await readEnd(file)).split("\n").slice(0, -1);
    return texts.flatMap((text) => parseLine(text) ?? []);
  } finally {
    await file.close();
  }
}

const END_BYTES = 128 * 1024;

async function readEnd(file: FileHandle): Promise<string> {
  const { size } = await file.stat();
  const length = Math.min(size, END_BYTES);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.subarray(0, bytesRead).toString();
}
