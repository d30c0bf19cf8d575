/** What the system says about a process (proc(5)). */
import { readFileSync } from "node:fs";

export interface ProcessStat {
  readonly name: string;
  /** `Z`: it has ended and nobody has asked how. */
  readonly state: string;
  readonly parent: number;
  /** Its start, in ticks since the system's: tells a pid that is used again. */
  readonly started: string;
}

/** Undefined when there is no such process, and where there is no /proc. */
export function readStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The name stands in brackets and may hold anything, so fields are counted after the last one.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  const [state, parent] = fields;
  // Field 22 of the line is the 20th after the name.
  const started = fields[19];
  if (state === undefined || parent === undefined || started === undefined) return undefined;
  return { name: text.slice(text.indexOf("(") + 1, end), state, parent: Number(parent), started };
}
