/**
 * One file of the audit log, to which a worker appends. A write that fails leaves nothing behind: what was written of it is cut off
 * before the next one.
 */
import { access, type FileHandle, mkdir, open, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { AUDIT_FILE_MODE, AUDIT_FOLDER_MODE, releasePath } from "../../shared/audit/files.ts";
import { errorCode } from "../../shared/base/errors.ts";

/** A seam for tests: a disk that is full. */
export type OpenFile = (path: string, flags: string, mode: number) => Promise<FileHandle>;

export type ChainFile = Awaited<ReturnType<typeof createChainFile>>;

/** Makes the folder when there is none. Rejects with `EEXIST` when the file exists. */
export async function createChainFile(path: string, openFile: OpenFile = open) {
  await makeFolder(dirname(path));
  const file = await openFile(path, "ax", AUDIT_FILE_MODE);
  const { ino } = await file.stat();
  let size = 0;
  let isTorn = false;
  let isDirty = false;

  async function cutOff(): Promise<void> {
    await file.truncate(size);
    isTorn = false;
  }

  /** Resolves when what was appended is on the disk. */
  async function sync(): Promise<void> {
    if (!isDirty) return;
    await file.datasync();
    isDirty = false;
  }

  return {
    path,
    get size(): number {
      return size;
    },
    /** Writes all of it, or rejects. */
    async append(bytes: Buffer): Promise<void> {
      if (isTorn) await cutOff();
      isTorn = true;
      try {
        for (let from = 0; from < bytes.length; ) {
          const { bytesWritten } = await file.write(bytes, from, bytes.length - from, null);
          from += bytesWritten;
        }
      } catch (error) {
        // At once, because the process may end; if that fails, before the next write.
        await cutOff().catch(() => {});
        throw error;
      }
      isTorn = false;
      isDirty = true;
      size += bytes.length;
    },
    sync,
    /** `gone`: deleted, moved or replaced. `wanted`: another program waits until it is closed. */
    async look(): Promise<"in place" | "gone" | "wanted"> {
      const found = await stat(path).catch(noneIfMissing);
      if (found?.ino !== ino) return "gone";
      const isWanted = await access(releasePath(path)).then(
        () => true,
        () => false,
      );
      return isWanted ? "wanted" : "in place";
    },
    /** With the last sync. The file is finished then. */
    async close(): Promise<void> {
      try {
        if (isTorn) await cutOff();
        await sync();
      } finally {
        await file.close();
        // The other program goes on.
        await unlink(releasePath(path)).catch(noneIfMissing);
      }
    },
  };
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: AUDIT_FOLDER_MODE });
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    throw new Error(`${folder} is not a folder`, { cause: error });
  }
}

function noneIfMissing(error: unknown): undefined {
  if (errorCode(error) === "ENOENT") return undefined;
  throw error;
}
