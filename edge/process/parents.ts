/**
 * Watches npm and its shell, which start this process with `npm start`. When one of them dies without forwarding a signal
 * (SIGKILL, a closed terminal), the edge would keep running unnoticed and keep its ports.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { readStat } from "./process-stat.ts";

const POLL_MS = 250;

/**
 * Calls `onGone` once, when npm, or the shell between npm and this process, is gone. Returns a function that stops watching.
 * Watches only under npm: a program started from a shell may outlive the shell.
 */
export function watchParents(deps: {
  clock: Clock;
  env: Readonly<Record<string, string | undefined>>;
  onGone: () => void;
}): () => void {
  if (deps.env["npm_lifecycle_event"] === undefined) return () => {};
  const parent = process.ppid;
  const parents = chainToNpm(parent);
  const timer: Timer = deps.clock.every(POLL_MS, () => {
    // `ppid` works on every system; /proc, on Linux, also shows the death of npm behind a shell that still runs.
    if (process.ppid === parent && parents.every(isAlive)) return;
    timer.cancel();
    deps.onGone();
  });
  return () => timer.cancel();
}

/** A process and its start time, because pids are reused. */
interface Parent {
  readonly pid: number;
  readonly started: string;
}

/** The parent, and npm when the parent is its shell. Empty where there is no /proc. */
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
