/** Runs one benchmark in a process group of its own, which ends with it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { forgetResults, noteOtherLoad } from "./results.ts";
import type { Form } from "./sizes.ts";

export interface Outcome {
  readonly name: string;
  readonly seconds: number;
  /** Why there are no figures, or not all of them. */
  readonly failure?: string;
  /** What other programs took of the machine's cores meanwhile, in %; more than that if it killed parents before children. */
  readonly otherLoad: number;
  /** Not in the run of all, but later. */
  readonly isAlone?: true;
}

const PROGRAM = fileURLToPath(new URL("run-one.ts", import.meta.url));

interface RunOptions {
  readonly form: Form;
  /** Ends it. */
  readonly limit?: AbortSignal;
  /** Default: bench/NAME.ts. */
  readonly file?: string;
}

/** The results of an earlier run are gone if a short one fails. Does not reject. */
export async function runBenchmark(
  name: string,
  { form, limit, file = fileOf(name) }: RunOptions,
): Promise<Outcome> {
  if (form === "short") forgetResults(name);
  const before = cpuTicks();
  const startMs = performance.now();
  const child = spawn(process.execPath, ["--import", "tsx", PROGRAM, file], {
    env: { ...process.env, BENCH_FORM: form },
    stdio: ["ignore", "inherit", "pipe"],
    detached: true,
  });
  let errors = "";
  child.stderr.on("data", (bytes: Buffer) => {
    process.stderr.write(bytes);
    errors = (errors + bytes.toString()).slice(-10_000);
  });
  const endGroup = (): void => {
    try {
      process.kill(-(child.pid ?? 0), "SIGKILL");
    } catch {
      // All of its processes have ended.
    }
  };
  const interrupt = (): void => {
    endGroup();
    process.exit(130);
  };
  process.once("exit", endGroup);
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  limit?.addEventListener("abort", endGroup);
  const [status] = (await once(child, "exit")) as [number | null];
  limit?.removeEventListener("abort", endGroup);
  endGroup();
  process.off("exit", endGroup);
  process.off("SIGINT", interrupt);
  process.off("SIGTERM", interrupt);
  const otherLoad = otherLoadSince(before);
  noteOtherLoad(name, form, otherLoad);
  const seconds = (performance.now() - startMs) / 1000;
  const failure =
    limit?.aborted === true ? `ended after ${seconds.toFixed(0)} s` : reasonOf(status, errors);
  return { name, seconds, otherLoad, ...(failure !== undefined && { failure }) };
}

function fileOf(name: string): string {
  return fileURLToPath(new URL(`../${name}.ts`, import.meta.url));
}

/** Node prints the message of an uncaught error after its class. */
function reasonOf(status: number | null, errors: string): string | undefined {
  if (status === 0) return undefined;
  return /^\w*Error[^:]*: (.+)$/m.exec(errors)?.[1] ?? `exit status ${status}`;
}

// --- other load ---

interface CpuTicks {
  readonly busy: number;
  readonly total: number;
  /** Of this process and of all that it has waited for. */
  readonly own: number;
}

/** proc(5): the first line of /proc/stat; fields 14 to 17 of /proc/self/stat. Linux only: elsewhere zeros. */
function cpuTicks(): CpuTicks {
  try {
    const all = (readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "").split(/ +/).slice(1, 9);
    const [user, nice, system, idle, waiting, irq, softirq, steal] = all.map(Number);
    const busy = sum([user, nice, system, irq, softirq, steal]);
    const stat = readFileSync("/proc/self/stat", "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { busy, total: busy + sum([idle, waiting]), own: sum(fields.slice(11, 15).map(Number)) };
  } catch {
    return { busy: 0, total: 0, own: 0 };
  }
}

function otherLoadSince(before: CpuTicks): number {
  const now = cpuTicks();
  const total = now.total - before.total;
  const other = now.busy - before.busy - (now.own - before.own);
  return total === 0 ? 0 : Math.max(0, Math.round((100 * other) / total));
}

function sum(values: readonly (number | undefined)[]): number {
  return values.reduce<number>((total, value) => total + (value ?? 0), 0);
}
