/**
 * Measures how slow the machine is during a test, so that time limits test the product rather than other load. A separate
 * process does the same small piece of work four times a second and reports how much longer it took than its CPU time: 1 with a
 * core of its own, 4 with a quarter of a core. It uses no code of the product, so a slow product does not widen its own limits.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, expect } from "vitest";
import { until } from "./until.ts";

export interface Machine {
  /** By which factor other load has slowed work down since `sinceMs` (`performance.now()`); at least 1. */
  stretchSince(sinceMs: number): number;
  /** Converts a limit for a machine without other load to a limit for work done here since `sinceMs`. */
  limitMs(sinceMs: number, promised: Promised): number;
  /** Fails when more time than that has passed since `sinceMs`. */
  expectWithin(sinceMs: number, promised: Promised): void;
}

export interface Promised {
  readonly promisedMs: number;
  /** The part of it that is spent in timers (leases, backoff) and does not depend on the machine. */
  readonly waitsMs?: number;
}

/** Measures during the whole test file; must be called at its top level. */
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
    // If the test is interrupted, the process ends with its IPC channel.
    await until("the machine is measured", () => pieces.length > 0, START_TIMEOUT_MS);
  }, 2 * START_TIMEOUT_MS);

  afterAll(async () => {
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });

  function stretchSince(sinceMs: number): number {
    // A short period has few pieces of work, so those just before count too.
    const since = Math.min(sinceMs, performance.now() - SHORT_MS);
    const recent = pieces.filter(({ atMs }) => atMs >= since);
    // The median, because one delayed piece says little about the whole period.
    const stretches = recent.map(({ stretch }) => stretch).sort((a, b) => a - b);
    // Without a piece in this period, the measuring process has not run at all.
    return Math.max(1, stretches[Math.floor(stretches.length / 2)] ?? STARVED);
  }

  const limitMs = (sinceMs: number, { promisedMs, waitsMs = 0 }: Promised): number =>
    waitsMs + (promisedMs - waitsMs) * stretchSince(sinceMs);

  return {
    stretchSince,
    limitMs,
    expectWithin(sinceMs, promised) {
      const tookMs = performance.now() - sinceMs;
      expect(tookMs).toBeLessThan(limitMs(sinceMs, promised));
    },
  };
}

const START_TIMEOUT_MS = 30_000;
/** 20 minutes. */
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
