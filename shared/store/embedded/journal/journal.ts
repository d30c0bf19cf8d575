/**
 * The journal of the embedded store: an append-only file of lines `[[key, value], …]`, one for each operation that changed
 * records. An entry without a value deletes; the last entry of a key counts.
 *
 * A change is written before its response is sent, so it survives SIGKILL. It is not synced each time: a crash of the
 * machine may lose the last seconds, which epochs made of store time allow for. Compaction and `close` sync the file.
 *
 * When the file has grown well beyond its live records, a new one is written beside it, a slice at a time, and replaces it.
 * That also recovers from a full disk: the store continues in memory, and writes a new file as soon as that works.
 */
import fs from "node:fs";
import path from "node:path";
import type { Clock } from "../../../base/clock.ts";
import { errorCode } from "../../../base/errors.ts";
import type { Log } from "../../../logs/log.ts";
import type { Counters } from "../../../metrics/metrics.ts";
import { createLineReader } from "../format/lines.ts";
import type { Write } from "../state/effects.ts";
import { type AppendFile, appendTo, closeFile, syncFolder, toLine } from "./append-file.ts";
import { type Rewrite, rewriteNow, startRewrite } from "./rewrite.ts";

/** A smaller file is never compacted. */
const MIN_COMPACTION_BYTES = 4 * 1024 * 1024;
/** The file may grow to this many times its size after the last compaction. */
const MAX_GROWTH = 4;
/** How often to check whether the file deps compaction, or a retry after a failure. */
const CHECK_PERIOD_MS = 3000;
const READ_BYTES = 1024 * 1024;

/** The disk is full or fails: the store can continue in memory. */
const DISK_ERRORS = new Set(["ENOSPC", "EDQUOT", "EIO", "EFBIG"]);

// --- reading ---

/**
 * The records in `file` by key, in order of first appearance; empty when there is no file. `parse` returns undefined for an
 * invalid value. Skips a torn last line; when other lines are invalid, backs the file up under another name, logs a warning
 * and returns the valid records. Throws the system's error when the file cannot be read or backed up.
 */
export function readJournal<T>(deps: {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly parse: (key: string, value: unknown) => T | undefined;
}): Map<string, T> {
  const records = new Map<string, T>();
  let badLines = 0;

  function readLine(line: Buffer): void {
    const entries = parseLine(line);
    let isBad = entries === undefined;
    for (const [key, ...value] of entries ?? []) {
      if (value.length === 0) {
        records.delete(key);
        continue;
      }
      const record = deps.parse(key, value[0]);
      if (record === undefined) isBad = true;
      else records.set(key, record);
    }
    if (isBad) badLines++;
  }

  const rest = readLines(deps.file, readLine);
  // A last line without its line feed was torn when the process died, unless only the line feed is missing.
  if (parseLine(rest) !== undefined) readLine(rest);
  if (badLines > 0) {
    const backup = backUp(deps.file, deps.clock);
    deps.log.warn(
      { file: deps.file, badLines },
      `corrupt journal: backed up to ${backup}, valid records restored`,
    );
  }
  return records;
}

type Entry = readonly [key: string] | readonly [key: string, value: unknown];

function parseLine(line: Buffer): readonly Entry[] | undefined {
  try {
    const parsed: unknown = JSON.parse(line.toString("utf8"));
    return Array.isArray(parsed) && parsed.every(isEntry) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function isEntry(value: unknown): value is Entry {
  return Array.isArray(value) && typeof value[0] === "string" && value.length <= 2;
}

/** Calls `onLine` for each line and returns the bytes after the last line feed. */
function readLines(file: string, onLine: (line: Buffer) => void): Buffer {
  let descriptor: number;
  try {
    descriptor = fs.openSync(file, "r");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
  // No limit: an oversized line is invalid, but the lines after it must not be lost.
  const reader = createLineReader(Number.POSITIVE_INFINITY, (line) => {
    onLine(line);
    return true;
  });
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(READ_BYTES);
      const bytes = fs.readSync(descriptor, chunk);
      if (bytes === 0) return reader.rest();
      reader.push(chunk.subarray(0, bytes));
    }
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Backs the corrupt file up; by a hard link if possible, because the disk may be full. */
function backUp(file: string, clock: Clock): string {
  const time = new Date(clock.wallMs()).toISOString().replaceAll(":", "-");
  const backup = `${file}.bad-${time}`;
  try {
    fs.linkSync(file, backup);
  } catch (error) {
    if (errorCode(error) === "EEXIST") return backup;
    fs.copyFileSync(file, backup);
  }
  return backup;
}

// --- writing ---

/**
 * Opens the journal for writing. Starts with a new file of `entries`, so damage to the old one ends here. Throws the
 * system's error when the file cannot be created, unless the disk is full or fails.
 */
export function openJournal(deps: {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters?: Pick<Counters, "count">;
  /** All live records. */
  readonly entries: () => Iterable<Write>;
}) {
  const { file, clock, log } = deps;
  /** Undefined while writing fails. */
  let current: AppendFile | undefined;
  let compactedBytes = 0;
  let rewrite: Rewrite | undefined;
  /** From the first failure until a new file holds all records. */
  let isFailing = false;

  function countFailure(): void {
    deps.counters?.count("store.failures", "journal");
  }

  function loseCurrent(error: unknown): void {
    countFailure();
    isFailing = true;
    log.error(
      { file, err: error },
      "cannot write the journal; continuing in memory and retrying, but a restart now would lose changes: check the disk",
    );
    if (current !== undefined) closeFile(current);
    current = undefined;
  }

  function check(): void {
    const limit = Math.max(MIN_COMPACTION_BYTES, MAX_GROWTH * compactedBytes);
    if (rewrite === undefined && (current === undefined || current.bytes > limit))
      startCompaction();
  }

  function startCompaction(): void {
    try {
      rewrite = startRewrite({ file, entries: deps.entries(), onReady: replaceCurrent, onFailed });
    } catch (error) {
      onFailed(error);
    }
  }

  function onFailed(error: unknown): void {
    rewrite = undefined;
    countFailure();
    // The failure to write has been logged already.
    if (!isFailing) log.warn({ file, err: error }, "cannot compact the journal");
  }

  function replaceCurrent(next: AppendFile): void {
    fs.renameSync(next.path, file);
    if (isFailing) log.info({ file }, "journal writable again, no changes lost");
    isFailing = false;
    if (current !== undefined) closeFile(current);
    current = next;
    compactedBytes = next.bytes;
    rewrite = undefined;
    syncFolder(path.dirname(file));
  }

  function writeAll(): void {
    rewriteNow({ file, entries: deps.entries(), onReady: replaceCurrent });
  }

  try {
    writeAll();
  } catch (error) {
    if (!DISK_ERRORS.has(errorCode(error) ?? "")) throw error;
    loseCurrent(error);
  }
  const checks = clock.every(CHECK_PERIOD_MS, check);

  return {
    /** Writes the changes of one operation before it returns. Never throws: a later compaction makes up for a failure. */
    append(writes: readonly Write[]): void {
      const line = toLine(writes);
      try {
        if (current !== undefined) appendTo(current, line);
      } catch (error) {
        loseCurrent(error);
      }
      if (rewrite === undefined) return;
      try {
        rewrite.append(line);
      } catch (error) {
        rewrite.abandon();
        onFailed(error);
      }
    },
    /** Syncs and closes the file. Never throws. */
    close(): void {
      checks.cancel();
      rewrite?.abandon();
      rewrite = undefined;
      try {
        if (current === undefined) writeAll();
        else fs.fsyncSync(current.descriptor);
      } catch (error) {
        countFailure();
        log.error(
          { file, err: error },
          "cannot complete the journal, recent changes are lost; check the disk",
        );
      }
      if (current !== undefined) closeFile(current);
      current = undefined;
    },
  };
}
