/** Deletes the files of the audit log whose last line is older than CT_AUDIT_DAYS. */
import { readdir, stat, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { findFiles, isCopy, readGenuineEnd } from "../../shared/audit/files.ts";
import type { AuditKeys } from "../../shared/audit/line.ts";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import type { Log } from "../../shared/logs/log.ts";

/** For the line about it: by `chain` and `seq`, the last line, `ct-edge audit verify` knows what is missing for a reason. */
export type Removed = Readonly<Record<string, string | number>>;

/** Of all workers, because some are gone. `beforeMs`: wall time; older ones are deleted. Never rejects. */
export async function removeExpired(deps: {
  readonly folder: string;
  readonly beforeMs: number;
  readonly keys: AuditKeys;
  readonly log: Log;
}): Promise<readonly Removed[]> {
  const { folder, beforeMs, keys, log } = deps;
  const removed: Removed[] = [];
  // Without a folder there is nothing to delete.
  for (const { path } of await findFiles(folder).catch(() => [])) {
    const file = basename(path);
    try {
      // Only of a line that nobody has changed: what is recorded here excuses that lines are missing.
      const end = await readGenuineEnd(path, keys);
      const lastMs = end?.atMs ?? (await stat(path)).mtimeMs;
      if (lastMs >= beforeMs) continue;
      await unlink(path);
      removed.push({ file, ...(end && { chain: end.chain, seq: end.seq }) });
      log.info({ file }, "this file of the audit log was older than CT_AUDIT_DAYS and is deleted");
    } catch (error) {
      // Another worker was faster.
      if (errorCode(error) === "ENOENT") continue;
      log.error(
        { file, reason: describeError(error) },
        "this file of the audit log cannot be deleted",
      );
    }
  }
  await removeOldCopies(folder, beforeMs);
  return removed;
}

/** Of an interrupted `ct-edge audit erase`. */
async function removeOldCopies(folder: string, beforeMs: number): Promise<void> {
  for (const name of (await readdir(folder).catch(() => [])).filter(isCopy)) {
    const path = join(folder, name);
    const isOld = await stat(path).then(
      ({ mtimeMs }) => mtimeMs < beforeMs,
      () => false,
    );
    if (isOld) await unlink(path).catch(() => {});
  }
}
