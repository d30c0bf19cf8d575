/**
 * Watches the programs that started this one, for `npm start`: npm and its shell. When one of them dies without passing a
 * signal on (SIGKILL, a closed terminal), the edge would stay behind, unseen, on its ports.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { readStat } from "./process-stat.ts";

/** How soon a death is noticed. */
const POLL_MS = 250;

/**
 * Calls `onGone` once, when npm, or the shell between npm and this process, is gone. Returns the way to stop watching.
 * Under anything but npm nothing is watched: a program started from a shell may outlive it.
 */
export function watchParents(needs: {
  clock: Clock;
  env: Readonly<Record<string, string | undefined>>;
  onGone: () => void;
}): () => void {
  if (needs.env["npm_lifecycle_event"] === undefined) return () => {};
  const parent = process.ppid;
  const parents = chainToNpm(parent);
  const timer: Timer = needs.clock.every(POLL_MS, () => {
    // `ppid` works everywhere; /proc, on Linux, also tells of npm behind a shell that lives on.
    if (process.ppid === parent && parents.every(isAlive)) return;
    timer.cancel();
    needs.onGone();
  });
  return () => timer.cancel();
}

/** A process and when it started: pids are used again. */
interface Parent {
  readonly pid: number;
  readonly started: string;
}

/** The parent, and its parent when the first is only npm's shell. Empty where there is no /proc. */
function chainToNpm(pid: number): Parent[] {
  const shell = readStat(pid);
  if (shell === undefined) return [];
  const chain = [{ pid, started: shell.started }];
  if (shell.name.startsWith("npm")) return chain;
  const npm = readStat(shell.parent);
  if (npm?.name.startsWith("npm") !== true) return chain;
  return [...chain, { pid: shell.parent, started: npm.started }];
}

function isAlive(parent: Parent): boolean {
  const stat = readStat(parent.pid);
  return stat !== undefined && stat.started === parent.started && stat.state !== "Z";
}
