/**
 * Writes all live records to a new file beside the journal: in slices with other work in between, or at once.
 */
import fs from "node:fs";
import type { Write } from "../state/effects.ts";
import { type AppendFile, appendTo, createFile, discardFile, toLine } from "./append-file.ts";

/** One synchronous write: about a millisecond. */
const SLICE_CHARS = 256 * 1024;

interface Source {
  /** The journal; the new file has the suffix `.new`. */
  readonly file: string;
  readonly entries: Iterable<Write>;
  /** Called with the complete, synced file. The file is discarded when it throws. */
  readonly onReady: (file: AppendFile) => void;
}

/** A rewrite in the background. */
export type Rewrite = ReturnType<typeof startRewrite>;

/** Throws when the file cannot be created; later errors go to `onFailed`. */
export function startRewrite(source: Source & { readonly onFailed: (error: unknown) => void }) {
  const dump = createDump(source);
  let state: "dumping" | "syncing" | "over" = "dumping";

  function fail(error: unknown): void {
    state = "over";
    discardFile(dump.file);
    source.onFailed(error);
  }

  function continueDump(): void {
    if (state === "over") return;
    try {
      if (!dump.writeSlice()) {
        setImmediate(continueDump);
        return;
      }
    } catch (error) {
      fail(error);
      return;
    }
    state = "syncing";
    fs.fsync(dump.file.descriptor, finish);
  }

  function finish(syncError: Error | null): void {
    if (state === "over") {
      discardFile(dump.file);
      return;
    }
    try {
      if (syncError !== null) throw syncError;
      source.onReady(dump.file);
      state = "over";
    } catch (error) {
      fail(error);
    }
  }

  setImmediate(continueDump);
  return {
    /** Adds the line of a change that came meanwhile. Throws when it cannot be written. */
    append: (line: string) => dump.append(line),
    abandon(): void {
      // `finish` discards a file that is being synced.
      if (state === "dumping") discardFile(dump.file);
      state = "over";
    },
  };
}

/** Synchronous: for start and shutdown, when no client is waiting. Throws, and discards the file then. */
export function rewriteNow(source: Source): void {
  const dump = createDump(source);
  try {
    while (!dump.writeSlice());
    fs.fsyncSync(dump.file.descriptor);
    source.onReady(dump.file);
  } catch (error) {
    discardFile(dump.file);
    throw error;
  }
}

function createDump({ file: journal, entries }: Source) {
  const file = createFile(`${journal}.new`);
  const iterator = entries[Symbol.iterator]();
  /** Changes since the start: they come after the dump, which may have older or newer values. */
  let tail: string[] = [];
  let isDone = false;

  return {
    file,
    /** Returns whether all records are in the file. */
    writeSlice(): boolean {
      let slice = "";
      while (slice.length < SLICE_CHARS && !isDone) {
        const next = iterator.next();
        if (next.done === true) {
          slice += tail.join("");
          tail = [];
          isDone = true;
        } else {
          slice += toLine([next.value]);
        }
      }
      appendTo(file, slice);
      return isDone;
    },
    append(line: string): void {
      if (isDone) appendTo(file, line);
      else tail.push(line);
    },
  };
}
