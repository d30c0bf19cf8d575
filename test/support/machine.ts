/**
 * How slow the machine is while a test runs, so that limits of time judge the product and not what else runs here. A
 * process of its own does the same small piece of work four times a second and says how much longer than its time on the
 * CPU that took: 1 when it had a core to itself, 4 when it had a quarter of one. It uses nothing of the product, so a
 * product that gets slow does not make its own limits wider.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll } from "vitest";
import { until } from "./until.ts";

export interface Machine {
  /** How much longer than alone work has taken since `sinceMs` (`performance.now()`); never below 1. */
  stretchSince(sinceMs: number): number;
  /** What is promised for a machine without other load, as a limit for what was done here since `sinceMs`. */
  limitMs(sinceMs: number, promised: Promised): number;
}

export interface Promised {
  /** On a machine without other load. */
  readonly promisedMs: number;
  /** The part of it that timers of the product and of clients take on any machine (leases, back-off): it does not stretch. */
  readonly waitsMs?: number;
}

/** For the whole test file: called at its top level. */
export function watchMachine(): Machine {
  const pieces: { readonly atMs: number; readonly stretch: number }[] = [];
  let child: ChildProcess | undefined;

  beforeAll(async () => {
    const started = spawn(process.execPath, ["-e", WORK], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    child = started;
    started.on("message", (stretch: number) => {
      pieces.push({ atMs: performance.now(), stretch });
      if (pieces.length > MAX_PIECES) pieces.shift();
    });
    // A test that is cut short leaves nothing behind: it ends with its channel.
    await until("the machine is measured", () => pieces.length > 0, START_TIMEOUT_MS);
  }, 2 * START_TIMEOUT_MS);

  afterAll(async () => {
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });

  function stretchSince(sinceMs: number): number {
    // A short time has few pieces or none: those just before speak for it too.
    const since = Math.min(sinceMs, performance.now() - SHORT_MS);
    const seen = pieces.filter(({ atMs }) => atMs >= since);
    // The median: one piece that was put off for long says little about all that was done.
    const stretches = seen.map(({ stretch }) => stretch).sort((a, b) => a - b);
    // No piece in so long: the process that does them did not get to run at all.
    return Math.max(1, stretches[Math.floor(stretches.length / 2)] ?? STARVED);
  }

  return {
    stretchSince,
    limitMs: (sinceMs, { promisedMs, waitsMs = 0 }) =>
      waitsMs + (promisedMs - waitsMs) * stretchSince(sinceMs),
  };
}

const START_TIMEOUT_MS = 30_000;
/** Of 20 minutes. */
const MAX_PIECES = 4800;
const SHORT_MS = 2000;
const STARVED = 20;

/** 20 ms on the CPU, four times a second. Ends when its channel does. */
const WORK = `
const { createHash } = require("node:crypto");
const block = Buffer.alloc(65536);
function piece() {
  const startMs = performance.now();
  const start = process.cpuUsage();
  let usedMs = 0;
  while (usedMs < 20) {
    createHash("sha256").update(block).digest();
    const { user, system } = process.cpuUsage(start);
    usedMs = (user + system) / 1000;
  }
  process.send((performance.now() - startMs) / usedMs, () => setTimeout(piece, 230));
}
process.on("disconnect", () => process.exit());
piece();
`;
