/** Replaces a file as a whole: a reader, also after a power cut, finds the old content or the new one. */
import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";

/** Only its owner may read it. Rejects with the system's error, and then the file is as it was. */
export async function replaceFile(path: string, chunks: Iterable<string>): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString("hex")}`;
  const file = await open(temporary, "wx", 0o600);
  try {
    for (const chunk of chunks) await file.writeFile(chunk);
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
