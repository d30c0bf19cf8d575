/** Notices when files of an operator have changed and the change is complete: an editor may write it in several steps. */
import { type Stats, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import type { Clock } from "../base/clock.ts";
import { describeError } from "../base/errors.ts";
import { startPeriodicTask } from "../base/periodic-task.ts";
import type { Log } from "../logs/log.ts";

export type WatchedFiles = ReturnType<typeof watchFiles>;

interface WatchDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly onChange: () => Promise<void> | void;
}

/** A change is reported after two looks at most: one sees it, the next sees that it is complete. */
const LOOK_MS = 500;

/**
 * Calls `onChange` after each change from now on, also when the file has gone, and waits for it before it looks again. Create it before
 * the first read.
 */
export function watchFile(path: string, deps: WatchDeps): Pick<WatchedFiles, "close"> {
  const files = watchFiles(deps);
  files.add(path);
  return files;
}

/** The same for files that belong together: a change of several at once is complete when all are. */
export function watchFiles({ clock, log, onChange }: WatchDeps) {
  /** By path: the version that was last read. */
  const seen = new Map<string, string>();
  let changing: string | undefined;

  async function look(): Promise<void> {
    const paths = [...seen.keys()];
    const versions = await Promise.all(
      paths.map((path) => stat(path).then(describeVersion, describeError)),
    );
    if (paths.every((path, index) => seen.get(path) === versions[index])) return;
    const now = versions.join("\n");
    if (now !== changing) {
      changing = now;
      return;
    }
    changing = undefined;
    for (const [index, path] of paths.entries()) seen.set(path, versions[index] ?? "");
    await onChange();
  }

  const looks = startPeriodicTask({
    clock,
    periodMs: LOOK_MS,
    work: look,
    onError: (err) => log.error({ files: [...seen.keys()], err }, "files could not be read again"),
  });
  return {
    /** Watches this file too. Call it before each read, so that no change between the two is missed. */
    add: (path: string): void => void seen.set(path, versionOf(path)),
    /** Watches none of them, until they are added again. */
    clear: () => seen.clear(),
    close: () => looks.close(),
  };
}

function versionOf(path: string): string {
  try {
    return describeVersion(statSync(path));
  } catch (error) {
    return describeError(error);
  }
}

/** A file that is replaced has another inode, and one that is written another time or size. */
function describeVersion({ ino, mtimeMs, size }: Stats): string {
  return [ino, mtimeMs, size].join(" ");
}
