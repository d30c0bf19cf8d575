/** The state of a process in /proc (proc(5)). */
import { readFileSync } from "node:fs";

export interface ProcessStat {
  readonly name: string;
  /** `Z`: a zombie, which has ended and was not waited for. */
  readonly state: string;
  readonly parent: number;
  /** Its start, in ticks since the system's; differs when the pid was reused. */
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
  // The name is in parentheses and may contain any character, so fields are counted after the last parenthesis.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  const [state, parent] = fields;
  // Field 22 of the line is the 20th after the name.
  const started = fields[19];
  if (state === undefined || parent === undefined || started === undefined) return undefined;
  return { name: text.slice(text.indexOf("(") + 1, end), state, parent: Number(parent), started };
}
