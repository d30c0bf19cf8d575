/**
 * Pieces of files in memory, shared by all downloads: when a new version is out, everybody fetches the same file. A bounded
 * number is kept, those that were used last; what a slow client still has to take is kept beyond that, one piece for each.
 */
import type { FileHandle } from "node:fs/promises";

export interface Pieces {
  /** Bytes of one piece. */
  readonly size: number;
  /** The piece `index` of a file, shorter at its end, from memory or read by `handle`. Release it when it was sent. */
  hold(file: OpenFile, index: number): Promise<Piece>;
}

export interface OpenFile {
  /** Of the file in its present state; another state has another one. */
  readonly key: string;
  readonly handle: FileHandle;
}

export interface Piece {
  readonly bytes: Buffer;
  /** Its memory may be used for another piece. Without it the memory is never used again. */
  release(): void;
}

interface Entry {
  readonly buffer: Buffer;
  readonly loaded: Promise<number>;
  users: number;
}

/** The best of five sizes (bench/downloads.ts): smaller ones cost calls, larger ones the processor's caches. */
const PIECE_BYTES = 256 * 1024;
/** 32 MiB: an ordinary plugin or two. */
const MAX_PIECES = 128;
/** Buffers that wait for use; asking the system for memory again and again is what costs most. */
const MAX_FREE = 32;

export function createPieces(
  limits: { readonly size?: number; readonly maxPieces?: number } = {},
): Pieces {
  const size = limits.size ?? PIECE_BYTES;
  const maxPieces = limits.maxPieces ?? MAX_PIECES;
  /** Least recently used first. */
  const entries = new Map<string, Entry>();
  const free: Buffer[] = [];

  function recycle(entry: Entry): void {
    if (entry.users === 0 && free.length < MAX_FREE) free.push(entry.buffer);
  }

  function forget(key: string, entry: Entry): void {
    if (entries.get(key) !== entry) return;
    entries.delete(key);
    recycle(entry);
  }

  function find(key: string, read: (buffer: Buffer) => Promise<number>): Entry {
    const known = entries.get(key);
    if (known !== undefined) {
      entries.delete(key);
      entries.set(key, known);
      return known;
    }
    const buffer = free.pop() ?? Buffer.allocUnsafeSlow(size);
    const entry = { buffer, loaded: read(buffer), users: 0 };
    entries.set(key, entry);
    for (const [oldest, other] of entries) {
      if (entries.size <= maxPieces) break;
      forget(oldest, other);
    }
    return entry;
  }

  return {
    size,
    async hold(file, index) {
      const key = `${index} ${file.key}`;
      const entry = find(key, (buffer) => fill(buffer, file.handle, index * size));
      entry.users++;
      const release = (): void => {
        entry.users--;
        if (entries.get(key) !== entry) recycle(entry);
      };
      try {
        const bytes = await entry.loaded;
        return { bytes: entry.buffer.subarray(0, bytes), release };
      } catch (error) {
        // Whoever asks next tries again.
        entries.delete(key);
        throw error;
      }
    },
  };
}

/** Reads until the buffer is full or the file ends. */
async function fill(buffer: Buffer, handle: FileHandle, start: number): Promise<number> {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await handle.read({
      buffer,
      offset: filled,
      length: buffer.length - filled,
      position: start + filled,
    });
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}
