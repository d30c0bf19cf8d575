/**
 * What does the audit log cost a worker? CPU of the process at 100 events a second, with the audit log (files, fdatasync, and
 * checkpoints in Redis), with syslog over UDP too, and without: interleaved rounds, of which those without are subtracted. Half of
 * the events have two people. Redis is a separate process. Before the rounds 10,000 events are recorded, so that the code is compiled as in a
 * worker that has been running for some minutes. Limit: 2 % of a core.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NewEvent } from "../shared/activity/event.ts";
import { auditKeys } from "../shared/audit/line.ts";
import { systemClock } from "../shared/base/clock.ts";
import { newSessionId, type WorkerId } from "../shared/base/ids.ts";
import { createLog } from "../shared/logs/log.ts";
import { createCounters } from "../shared/metrics/metrics.ts";
import { createKeyring } from "../shared/settings/keyring.ts";
import { parseSyslogTarget } from "../shared/settings/syslog-target.ts";
import { openStore, startRedis } from "../test/support/redis.ts";
import { createRecorder } from "../worker/activity/recorder.ts";
import { openAudit } from "../worker/audit/audit.ts";
import { writeResults } from "./support/results.ts";
import { size } from "./support/sizes.ts";
import { type Summary, summarize } from "./support/statistics.ts";

const ROUNDS = size("BENCH_ROUNDS", { long: 5, short: 2 });
const ROUND_MS = size("BENCH_SECONDS", { long: 12, short: 1.5 }) * 1000;
const EVENTS_PER_SECOND = 100;
const WAYS = ["none", "files", "files and syslog"] as const;
type Way = (typeof WAYS)[number];
const WORKER = "worker-1" as WorkerId;

export async function run(): Promise<void> {
  const redis = await startRedis();
  const { store } = openStore(redis.url);
  await store.timeMs();
  const receiver = createSocket("udp4").bind(0, "127.0.0.1");
  await once(receiver, "listening");
  const figures: Record<string, Summary> = {};
  try {
    for (const way of WAYS) await percentOfCore(way, (record) => recordAtOnce(record, 10_000));
    const rounds: Record<Way, number[]> = { none: [], files: [], "files and syslog": [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const way of WAYS) rounds[way].push(await percentOfCore(way, recordSteadily));
    }
    const base = summarize(rounds.none).median;
    for (const way of ["files", "files and syslog"] as const) {
      figures[way] = summarize(rounds[way].map((percent) => percent - base));
    }
  } finally {
    receiver.close();
    await store.close();
    await redis.close();
  }
  const question = `${EVENTS_PER_SECOND} events a second`;
  const unit = "% of a core more than without (limit 2)";
  process.stdout.write(`${question}, ${unit}\n`);
  for (const [way, { median, min, max }] of Object.entries(figures)) {
    const numbers = [median, min, max].map((value) => value.toFixed(2).padEnd(8)).join("");
    process.stdout.write(`  ${way.padEnd(18)}${numbers}\n`);
  }
  writeResults("audit", [{ question, unit, figures }]);

  async function percentOfCore(
    way: Way,
    recordAll: (record: Recorder) => Promise<void>,
  ): Promise<number> {
    const folder = mkdtempSync(join(tmpdir(), "ct-bench-"));
    const clock = systemClock;
    const counters = createCounters();
    const log = createLog({ name: "w", level: "error", format: "text", sink: process.stderr });
    const target = parseSyslogTarget(`udp://127.0.0.1:${receiver.address().port}`);
    if (typeof target === "string") throw new Error(target);
    const syslog = way === "files and syslog" ? { target, authority: undefined } : undefined;
    const keys = auditKeys(
      createKeyring({ secret: "the secret of the benchmark of audit logs" }).audit,
    );
    const options = { folder, days: 90, onFailure: "continue", syslog } as const;
    const audit =
      way === "none"
        ? undefined
        : openAudit({ options, worker: WORKER, keys, store, clock, log, counters });
    const recorder = createRecorder({ workerId: WORKER, clock, audit });
    const begunMs = performance.now();
    const before = process.cpuUsage();
    await recordAll((event) => recorder.record(event));
    const { user, system } = process.cpuUsage(before);
    const tookMs = performance.now() - begunMs;
    await audit?.close();
    rmSync(folder, { recursive: true });
    return (user + system) / 1000 / tookMs / 0.01;
  }
}

type Recorder = (event: NewEvent) => void;

async function recordAtOnce(record: Recorder, count: number): Promise<void> {
  for (let recorded = 0; recorded < count; recorded++) {
    record(eventOf(recorded % 100));
    // In turns, as they come.
    if (recorded % 20 === 0) await delay(1);
  }
}

/** One event every 10 ms: the hardest case, in which none shares a write with another. */
function recordSteadily(record: Recorder): Promise<void> {
  const events = Array.from({ length: 100 }, (_, index) => eventOf(index));
  return new Promise((resolve) => {
    const begunMs = performance.now();
    let recorded = 0;
    const timer = setInterval(() => {
      const passedMs = performance.now() - begunMs;
      for (const due = (passedMs * EVENTS_PER_SECOND) / 1000; recorded < due; recorded++) {
        record(events[recorded % events.length] ?? eventOf(0));
      }
      if (passedMs < ROUND_MS) return;
      clearInterval(timer);
      resolve();
    }, 1000 / EVENTS_PER_SECOND);
  });
}

function eventOf(index: number): NewEvent {
  const person = {
    type: "user",
    id: `aB3xY9aB3xY9aB3xY9aB3x${index}`,
    name: `Person ${index}`,
    email: `person${index}@example.com`,
    way: "Company account",
    address: "192.0.2.17",
    client: "Visual Studio Code@1.99.0",
  } as const;
  return {
    kind: index % 2 === 0 ? "join.approved" : "peer.joined",
    session: newSessionId(),
    actor: person,
    ...(index % 2 === 0 && { target: person }),
    details: { role: "guest", rule: "everyone with an address of ours" },
  };
}
