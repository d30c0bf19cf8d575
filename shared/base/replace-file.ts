/** Replaces a file as a whole: a reader, also after a power cut, finds the old content or the new one. */
import { randomBytes } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";

/**
 * Rejects with the system's error, and then the file is as it was. `mode`: by default only its owner may read it. `modifiedMs`: wall time
 * that it gets as its time of change, by default now.
 */
export async function replaceFile(
  path: string,
  chunks: Iterable<string | Uint8Array>,
  { mode = 0o600, modifiedMs }: { readonly mode?: number; readonly modifiedMs?: number } = {},
): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString("hex")}`;
  const file = await open(temporary, "wx", mode);
  try {
    for (const chunk of chunks) await file.writeFile(chunk);
    if (modifiedMs !== undefined) await file.utimes(modifiedMs / 1000, modifiedMs / 1000);
    // Without it, a power cut may leave the new name on an empty file.
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The same, for start and shutdown, and for small files that one process writes. Throws the system's error. */
export function replaceFileSync(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
