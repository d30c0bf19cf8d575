/** Notices when the file of an operator has changed and the change is complete: an editor may write it in several steps. */
import { statSync } from "node:fs";
import { stat } from "node:fs/promises";
import type { Clock } from "../base/clock.ts";
import { describeError } from "../base/errors.ts";
import type { Log } from "../logs/log.ts";

export interface WatchedFile {
  close(): void;
}

/** A change is reported after two looks at most: one sees it, the next sees that it is complete. */
const LOOK_MS = 500;

/**
 * Calls `onChange` after each change from now on, also when the file has gone, and waits for it before it looks again. Create it before
 * the first read.
 */
export function watchFile(
  path: string,
  deps: { readonly clock: Clock; readonly log: Log; readonly onChange: () => Promise<void> | void },
): WatchedFile {
  const { clock, log } = deps;
  let seen = versionOf(path);
  let changing: string | undefined;
  let isLooking = false;

  async function look(): Promise<void> {
    const version = await stat(path).then(describeVersion, describeError);
    if (version === seen) return;
    if (version !== changing) {
      changing = version;
      return;
    }
    seen = version;
    changing = undefined;
    await deps.onChange();
  }

  const timer = clock.every(LOOK_MS, () => {
    if (isLooking) return;
    isLooking = true;
    look()
      .catch((error: unknown) => log.error({ path, err: error }, "a file could not be read again"))
      .finally(() => {
        isLooking = false;
      });
  });
  return { close: () => timer.cancel() };
}

function versionOf(path: string): string {
  try {
    return describeVersion(statSync(path));
  } catch (error) {
    return describeError(error);
  }
}

/** A file that is replaced has another inode, and one that is written another time or size. */
function describeVersion({
  ino,
  mtimeMs,
  size,
}: {
  ino: number;
  mtimeMs: number;
  size: number;
}): string {
  return [ino, mtimeMs, size].join(" ");
}
