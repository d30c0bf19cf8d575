/** Resources of this process or another one, for tests of leaks. Linux only (/proc). */
import { readdirSync, readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

export interface Holdings {
  /** Used bytes of the heap after a garbage collection. */
  readonly heap: number;
  readonly descriptors: number;
  /** Resources that keep the process alive, except timers. */
  readonly handles: number;
}

export function holdings(): Holdings {
  collectGarbage();
  collectGarbage();
  return {
    heap: process.memoryUsage().heapUsed,
    descriptors: readdirSync("/proc/self/fd").length,
    handles: process.getActiveResourcesInfo().filter((name) => name !== "Timeout").length,
  };
}

/** Bytes of the buffers of this process, after a garbage collection. */
export function bufferBytes(): number {
  collectGarbage();
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

/** Bytes of the heap and outside of it, after a garbage collection. */
export function usedBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Resident memory of another process, in bytes. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(line) * 1024;
}

/** CPU time of another process so far, in ms (proc(5): fields 14 and 15, in ticks of 10 ms). */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
