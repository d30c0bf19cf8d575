/**
 * A file that is appended to, in whole lines also after a failed write.
 */
import fs from "node:fs";
import type { Write } from "../state/effects.ts";

export interface AppendFile {
  readonly path: string;
  readonly descriptor: number;
  /** Its length: complete lines only. */
  bytes: number;
}

export function createFile(path: string): AppendFile {
  fs.rmSync(path, { force: true });
  return { path, descriptor: fs.openSync(path, "ax", 0o600), bytes: 0 };
}

/** Appends all of `text`, or throws and truncates the file to its former length, as far as the disk allows. */
export function appendTo(file: AppendFile, text: string): void {
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

export function closeFile(file: AppendFile): void {
  ignoreFailure(() => fs.closeSync(file.descriptor));
}

export function discardFile(file: AppendFile): void {
  closeFile(file);
  ignoreFailure(() => fs.rmSync(file.path, { force: true }));
}

/** Makes a rename durable. Not every system can sync a folder; the file itself is synced anyway. */
export function syncFolder(directory: string): void {
  ignoreFailure(() => {
    const descriptor = fs.openSync(directory, "r");
    try {
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  });
}

/** A line of the journal. */
export function toLine(writes: readonly Write[]): string {
  const entries = writes.map(([key, value]) => (value === undefined ? [key] : [key, value]));
  return `${JSON.stringify(entries)}\n`;
}

/** For best-effort steps: cleanup after another failure, or not needed for correctness. */
function ignoreFailure(action: () => void): void {
  try {
    action();
  } catch {}
}
