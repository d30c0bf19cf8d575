/**
 * Running processes, read from /proc, for tests that no process is left behind.
 */
import { readdirSync, readFileSync } from "node:fs";

/** A process and its start time, because pids are reused. */
export interface ProcessId {
  readonly pid: number;
  readonly started: string;
  readonly name: string;
}

export function descendantsOf(pid: number): ProcessId[] {
  const all = readdirSync("/proc").flatMap((entry) => {
    const stat = /^\d+$/.test(entry) ? readStat(Number(entry)) : undefined;
    return stat === undefined ? [] : [stat];
  });
  const found: ProcessId[] = [];
  for (let parents = [pid]; parents.length > 0; ) {
    const children = all.filter((stat) => parents.includes(stat.parent));
    found.push(...children);
    parents = children.map((child) => child.pid);
  }
  return found;
}

/** The processes that still run. A zombie has ended, but its parent has not collected its status. */
export function stillRunning(processes: readonly ProcessId[]): ProcessId[] {
  return processes.filter(({ pid, started }) => {
    const stat = readStat(pid);
    return stat !== undefined && stat.started === started && stat.state !== "Z";
  });
}

interface Stat extends ProcessId {
  readonly parent: number;
  readonly state: string;
}

/**
 * proc(5), /proc/pid/stat: the name is in parentheses and may contain any character, so fields are counted after the last
 * one.
 */
function readStat(pid: number): Stat | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  const end = line.lastIndexOf(")");
  const [state = "", parent = "", ...rest] = line.slice(end + 2).split(" ");
  // Field 22 of the line: the 20th after the name.
  const started = rest[17] ?? "";
  return {
    pid,
    name: line.slice(line.indexOf("(") + 1, end),
    state,
    parent: Number(parent),
    started,
  };
}
