/**
 * The embedded store's memory beyond its process: an append-only file of lines `[[key, value], …]`, one for each operation
 * that changed records; an entry without a value deletes. The last entry of a key counts.
 *
 * A change is written before its answer is sent, so it survives the death of the process (SIGKILL). It is not synced
 * each time: a crash of the whole machine may lose the last seconds, which epochs made of store time allow for. The file
 * is synced when it is compacted and when it is closed.
 *
 * When the file has grown well beyond what lives in it, a new one is written beside it, a slice at a time, and takes its
 * place. The same heals a full disk: the store goes on in memory, and writes a new file as soon as that works.
 */
import fs from "node:fs";
import path from "node:path";
import type { Clock } from "../../base/clock.ts";
import { errorCode } from "../../base/errors.ts";
import type { Log } from "../../logs/log.ts";
import type { Counters } from "../../metrics/metrics.ts";
import { createLineReader } from "./format/lines.ts";
import type { Write } from "./state/effects.ts";

/** A smaller file is never compacted. */
const MIN_COMPACTION_BYTES = 4 * 1024 * 1024;
/** The file may be this many times as large as after its last compaction. */
const MAX_GROWTH = 4;
/** How often it is looked whether the file has grown too much, or has to be tried again after a failure. */
const CHECK_PERIOD_MS = 3000;
/** Written in one go while compacting: about a millisecond. */
const SLICE_CHARS = 256 * 1024;
const READ_BYTES = 1024 * 1024;

/** The disk is full or fails: no reason to stop a store that can do without it for a while. */
const DISK_TROUBLE = new Set(["ENOSPC", "EDQUOT", "EIO", "EFBIG"]);

export interface Journal {
  /** Writes the changes of one operation before it returns. Never throws: what fails is made good later. */
  append(writes: readonly Write[]): void;
  /** Syncs and closes the file. Never throws. */
  close(): void;
}

// --- reading ---

/**
 * What `file` holds, by key, in the order of first appearance; empty when there is no file. `parse` checks each value and
 * returns undefined for one that makes no sense. A torn last line is passed over; when other lines make no sense, the
 * whole file is kept aside under another name, with a warning, and the rest is used. Throws what the system throws when
 * the file cannot be read or kept.
 */
export function readJournal<T>(needs: {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly parse: (key: string, value: unknown) => T | undefined;
}): Map<string, T> {
  const records = new Map<string, T>();
  let badLines = 0;

  function take(line: Buffer): void {
    const entries = parseLine(line);
    let isBad = entries === undefined;
    for (const [key, ...value] of entries ?? []) {
      if (value.length === 0) {
        records.delete(key);
        continue;
      }
      const record = needs.parse(key, value[0]);
      if (record === undefined) isBad = true;
      else records.set(key, record);
    }
    if (isBad) badLines++;
  }

  const rest = readLines(needs.file, take);
  // What has no line feed was torn when the process died, unless only the line feed is missing.
  if (parseLine(rest) !== undefined) take(rest);
  if (badLines > 0) {
    const backup = backUp(needs.file, needs.clock);
    needs.log.warn(
      { file: needs.file, badLines },
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

/** Calls `onLine` for each line and returns what follows the last line feed. */
function readLines(file: string, onLine: (line: Buffer) => void): Buffer {
  let descriptor: number;
  try {
    descriptor = fs.openSync(file, "r");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
  // However long a line is, only that one makes no sense; what comes after it must not be lost with it.
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

/** Keeps a copy of the damaged file; as a second name for it, where that is possible, because the disk may be full. */
function backUp(file: string, clock: Clock): string {
  const time = new Date(clock.wallMs()).toISOString().replaceAll(":", "-");
  const aside = `${file}.bad-${time}`;
  try {
    fs.linkSync(file, aside);
  } catch (error) {
    if (errorCode(error) === "EEXIST") return aside;
    fs.copyFileSync(file, aside);
  }
  return aside;
}

// --- writing ---

/**
 * Opens the journal for the changes to come. It begins with a new file that holds `entries`, so whatever was wrong with
 * the old one ends here. Throws what the system throws when the file cannot be made, unless the disk is full or fails.
 */
export function openJournal(needs: {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters?: Pick<Counters, "count">;
  /** Every record that lives now. */
  readonly entries: () => Iterable<Write>;
}): Journal {
  const { file, clock, log } = needs;
  /** Undefined while nothing can be written. */
  let current: OpenFile | undefined;
  let compactedBytes = 0;
  let rewrite: Rewrite | undefined;
  /** From the first failure until a new file holds everything. */
  let isFailing = false;

  function countFailure(): void {
    needs.counters?.count("store.failures", "journal");
  }

  function loseCurrent(error: unknown): void {
    countFailure();
    isFailing = true;
    log.error(
      { file, err: error },
      "cannot write the journal; continuing in memory and retrying, but a restart now would lose changes: check the disk",
    );
    if (current !== undefined) close(current);
    current = undefined;
  }

  function check(): void {
    const limit = Math.max(MIN_COMPACTION_BYTES, MAX_GROWTH * compactedBytes);
    if (rewrite === undefined && (current === undefined || current.bytes > limit)) startRewrite();
  }

  // --- a new file takes the old one's place ---

  function startRewrite(): void {
    try {
      const job = beginRewrite(file, needs.entries());
      rewrite = job;
      setImmediate(() => continueRewrite(job));
    } catch (error) {
      reportRewrite(error);
    }
  }

  /** Slice after slice with the store's work in between, then a sync that does not hold it up either. */
  function continueRewrite(job: Rewrite): void {
    if (job.isOver) return;
    try {
      writeSlice(job);
    } catch (error) {
      endRewrite(job);
      reportRewrite(error);
      return;
    }
    if (!job.isDumped) {
      setImmediate(() => continueRewrite(job));
      return;
    }
    job.isSyncing = true;
    fs.fsync(job.target.descriptor, (error) => {
      job.isSyncing = false;
      finishRewrite(job, error);
    });
  }

  function finishRewrite(job: Rewrite, syncError: Error | null): void {
    if (job.isOver) {
      discard(job.target);
      return;
    }
    try {
      if (syncError !== null) throw syncError;
      replaceCurrent(job);
    } catch (error) {
      endRewrite(job);
      reportRewrite(error);
    }
  }

  function replaceCurrent(job: Rewrite): void {
    fs.renameSync(job.target.path, file);
    if (isFailing) log.info({ file }, "journal writable again, no changes lost");
    isFailing = false;
    if (current !== undefined) close(current);
    current = job.target;
    compactedBytes = current.bytes;
    rewrite = undefined;
    syncRouter(path.dirname(file));
  }

  /** Gives a rewrite up. A file that is being synced is left to the end of that. */
  function endRewrite(job: Rewrite): void {
    job.isOver = true;
    rewrite = undefined;
    if (!job.isSyncing) discard(job.target);
  }

  function reportRewrite(error: unknown): void {
    countFailure();
    // That nothing can be written has been said already.
    if (!isFailing) log.warn({ file, err: error }, "cannot compact the journal");
  }

  /** All at once: at the start and at the end nobody waits for the store. */
  function rewriteNow(): void {
    const job = beginRewrite(file, needs.entries());
    try {
      while (!job.isDumped) writeSlice(job);
      fs.fsyncSync(job.target.descriptor);
      replaceCurrent(job);
    } catch (error) {
      endRewrite(job);
      throw error;
    }
  }

  try {
    rewriteNow();
  } catch (error) {
    if (!DISK_TROUBLE.has(errorCode(error) ?? "")) throw error;
    loseCurrent(error);
  }
  const checks = clock.every(CHECK_PERIOD_MS, check);

  return {
    append(writes) {
      const line = toLine(writes);
      try {
        if (current !== undefined) write(current, line);
      } catch (error) {
        loseCurrent(error);
      }
      if (rewrite === undefined) return;
      try {
        if (rewrite.isDumped) write(rewrite.target, line);
        else rewrite.tail.push(line);
      } catch (error) {
        endRewrite(rewrite);
        reportRewrite(error);
      }
    },
    close() {
      checks.cancel();
      if (rewrite !== undefined) endRewrite(rewrite);
      try {
        if (current === undefined) rewriteNow();
        else fs.fsyncSync(current.descriptor);
      } catch (error) {
        countFailure();
        log.error(
          { file, err: error },
          "cannot complete the journal, recent changes are lost; check the disk",
        );
      }
      if (current !== undefined) close(current);
      current = undefined;
    },
  };
}

// --- the steps of a rewrite ---

interface Rewrite {
  readonly target: OpenFile;
  readonly entries: Iterator<Write>;
  /** Lines of changes since the beginning: they come after what is being dumped, which may be older or newer. */
  tail: string[];
  /** Everything is in the new file; changes go straight there now. */
  isDumped: boolean;
  isSyncing: boolean;
  /** Given up. */
  isOver: boolean;
}

function beginRewrite(file: string, entries: Iterable<Write>): Rewrite {
  return {
    target: create(`${file}.new`),
    entries: entries[Symbol.iterator](),
    tail: [],
    isDumped: false,
    isSyncing: false,
    isOver: false,
  };
}

function writeSlice(job: Rewrite): void {
  let slice = "";
  while (slice.length < SLICE_CHARS && !job.isDumped) {
    const next = job.entries.next();
    if (next.done === true) {
      slice += job.tail.join("");
      job.tail = [];
      job.isDumped = true;
    } else {
      slice += toLine([next.value]);
    }
  }
  write(job.target, slice);
}

function toLine(writes: readonly Write[]): string {
  const entries = writes.map(([key, value]) => (value === undefined ? [key] : [key, value]));
  return `${JSON.stringify(entries)}\n`;
}

// --- files ---

interface OpenFile {
  readonly path: string;
  readonly descriptor: number;
  /** Its length: all of it whole lines. */
  bytes: number;
}

function create(file: string): OpenFile {
  fs.rmSync(file, { force: true });
  return { path: file, descriptor: fs.openSync(file, "ax", 0o600), bytes: 0 };
}

/** Appends all of `text`, or throws and leaves the file as it was, as far as the disk allows. */
function write(file: OpenFile, text: string): void {
  const bytes = Buffer.from(text);
  let written = 0;
  try {
    while (written < bytes.length) written += fs.writeSync(file.descriptor, bytes, written);
  } catch (error) {
    ignoreFailure(() => fs.ftruncateSync(file.descriptor, file.bytes));
    throw error;
  }
  file.bytes += bytes.length;
}

function close(file: OpenFile): void {
  ignoreFailure(() => fs.closeSync(file.descriptor));
}

function discard(file: OpenFile): void {
  close(file);
  ignoreFailure(() => fs.rmSync(file.path, { force: true }));
}

/** Makes a rename last. Not every system can sync a folder; the file itself is synced anyway. */
function syncRouter(directory: string): void {
  ignoreFailure(() => {
    const descriptor = fs.openSync(directory, "r");
    try {
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  });
}

/** For what is done as well as possible while another failure is being dealt with, or is not needed for correctness. */
function ignoreFailure(action: () => void): void {
  try {
    action();
  } catch {}
}
