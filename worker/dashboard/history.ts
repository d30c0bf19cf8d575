/**
 * The dashboard's history: the leading worker writes samples of the whole edge to the store, at three resolutions, so that
 * charts survive restarts. Unknown values leave a gap.
 */
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import { readJson } from "../../shared/base/json.ts";
import { startPeriodicTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import type { Store } from "../../shared/store/store.ts";
import type { StreamName } from "../../shared/store/streams.ts";
import { reportUnlessAway } from "../../shared/store/unless-away.ts";
import type { HistoryRange, HistoryResponse } from "./responses.ts";

/** The numbers of the edge at one moment; null: unknown. */
export interface Sample {
  readonly users: number | null;
  readonly sessions: number | null;
  readonly connections: number | null;
  readonly lagMs: number | null;
  readonly hostedTotal: number | null;
}

/** The streams' lengths (shared/store/streams.ts) limit how many steps of each range are kept. */
export const RANGES: Readonly<Record<HistoryRange, { stream: StreamName; stepMs: number }>> = {
  hour: { stream: "history-hour", stepMs: 10_000 },
  day: { stream: "history-day", stepMs: 120_000 },
  month: { stream: "history-month", stepMs: 3_600_000 },
};
const RANGE_NAMES = Object.keys(RANGES) as HistoryRange[];

const number = z.number().nullable();
/** One step as stored; `atMs` is the store's time at its end. */
const storedStepSchema = z.object({
  atMs: z.number(),
  users: number,
  sessions: number,
  peakSessions: number,
  connections: number,
  lagMs: number,
  hosted: number,
});

type StoredStep = Readonly<z.infer<typeof storedStepSchema>>;

/** Computes means, the peak of the sessions, and how many sessions began. Pure. */
export function createStep() {
  let samples: Sample[] = [];
  let hostedBefore: number | null = null;

  return {
    add(sample: Sample): void {
      samples.push(sample);
    },
    /** Summarizes the step and starts the next one. */
    finish(atMs: number): StoredStep {
      const hostedNow = lastKnown(samples.map(({ hostedTotal }) => hostedTotal));
      const step: StoredStep = {
        atMs,
        users: mean(samples.map(({ users }) => users)),
        sessions: mean(samples.map(({ sessions }) => sessions)),
        peakSessions: peak(samples.map(({ sessions }) => sessions)),
        connections: mean(samples.map(({ connections }) => connections)),
        lagMs: mean(samples.map(({ lagMs }) => lagMs)),
        // Unknown when the total decreased: the store was flushed.
        hosted:
          hostedNow !== null && hostedBefore !== null && hostedNow >= hostedBefore
            ? hostedNow - hostedBefore
            : null,
      };
      hostedBefore = hostedNow ?? hostedBefore;
      samples = [];
      return step;
    },
  };
}

function knownOnly(values: readonly (number | null)[]): number[] {
  return values.filter((value) => value !== null);
}

function mean(values: readonly (number | null)[]): number | null {
  const all = knownOnly(values);
  if (all.length === 0) return null;
  const sum = all.reduce((total, value) => total + value, 0);
  return Math.round((sum / all.length) * 100) / 100;
}

function peak(values: readonly (number | null)[]): number | null {
  const all = knownOnly(values);
  return all.length === 0 ? null : Math.max(...all);
}

function lastKnown(values: readonly (number | null)[]): number | null {
  return knownOnly(values).at(-1) ?? null;
}

// --- writing ---

/** Takes a sample every 10 s and writes it, while this worker is the leader. */
export function recordHistory(deps: {
  readonly store: Pick<Store, "appendToStream" | "timeMs">;
  readonly clock: Clock;
  readonly log: Log;
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly sample: () => Promise<Sample>;
}): { close(): void } {
  const { store, clock, log, leadership } = deps;
  let steps = RANGE_NAMES.map(beginRange);

  async function record(): Promise<void> {
    if (!leadership.isLeading) {
      // The leader writes these steps; samples of this worker would end up in a later one.
      steps = RANGE_NAMES.map(beginRange);
      return;
    }
    const [sample, atMs] = await Promise.all([deps.sample(), store.timeMs()]);
    for (const range of steps) {
      range.step.add(sample);
      // Steps end at multiples of their length, so that the next leader continues where this one ended.
      if (atMs < range.endsMs) continue;
      const isFirst = Number.isNaN(range.endsMs);
      range.endsMs = (Math.floor(atMs / range.stepMs) + 1) * range.stepMs;
      const step = range.step.finish(atMs);
      // The first one may be the rest of a step that another leader began.
      if (isFirst && range.stepMs > RANGES.hour.stepMs) continue;
      await store.appendToStream(range.stream, [JSON.stringify(step)]);
    }
  }

  return startPeriodicTask({
    clock,
    periodMs: RANGES.hour.stepMs,
    work: record,
    onError: reportUnlessAway(log, "cannot write the dashboard history"),
  });
}

function beginRange(range: HistoryRange) {
  return { ...RANGES[range], step: createStep(), endsMs: Number.NaN };
}

// --- reading ---

/** The steps of a range. A hole of more than two steps becomes a gap in the chart. */
export async function readHistory(
  store: Pick<Store, "readStream">,
  range: HistoryRange,
): Promise<HistoryResponse> {
  const { stream, stepMs } = RANGES[range];
  const entries = await store.readStream(stream, { limit: 1000 });
  const steps = entries.flatMap(({ text }) => readJson(storedStepSchema, text) ?? []);
  const whole: StoredStep[] = [];
  for (const step of steps.sort((a, b) => a.atMs - b.atMs)) {
    const before = whole.at(-1);
    if (before !== undefined && step.atMs - before.atMs > 2.5 * stepMs) {
      whole.push({ ...GAP, atMs: before.atMs + stepMs });
    }
    whole.push(step);
  }
  return {
    range,
    stepMs,
    atMs: whole.map(({ atMs }) => atMs),
    users: whole.map(({ users }) => users),
    sessions: whole.map(({ sessions }) => sessions),
    peakSessions: whole.map(({ peakSessions }) => peakSessions),
    connections: whole.map(({ connections }) => connections),
    lagMs: whole.map(({ lagMs }) => lagMs),
    hosted: whole.map(({ hosted }) => hosted),
  };
}

const GAP: StoredStep = {
  atMs: 0,
  users: null,
  sessions: null,
  peakSessions: null,
  connections: null,
  lagMs: null,
  hosted: null,
};
