/**
 * The dashboard's history: one worker at a time writes samples of the whole edge into the store, at three resolutions, so
 * that a restart empties no chart. What is not known leaves a gap.
 */
import { z } from "zod";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LeaderElection } from "../../shared/membership/leader-election.ts";
import { type Store, StoreAwayError, type StreamName } from "../../shared/store/store.ts";
import type { HistoryRange, HistoryResponse } from "./responses.ts";

/** The numbers of the edge at one moment; null: not known. */
export interface Sample {
  readonly users: number | null;
  readonly sessions: number | null;
  readonly connections: number | null;
  readonly lagMs: number | null;
  /** Sessions that were ever hosted. */
  readonly hostedTotal: number | null;
}

/** A sample as it stands in the store: `atMs` is the store's time at the end of its step. */
interface Kept {
  readonly atMs: number;
  readonly users: number | null;
  readonly sessions: number | null;
  readonly peakSessions: number | null;
  readonly connections: number | null;
  readonly lagMs: number | null;
  readonly hosted: number | null;
}

/** As many steps of each range are kept as the store's streams hold (store.ts). */
export const RANGES: Readonly<Record<HistoryRange, { stream: StreamName; stepMs: number }>> = {
  hour: { stream: "history-hour", stepMs: 10_000 },
  day: { stream: "history-day", stepMs: 120_000 },
  month: { stream: "history-month", stepMs: 3_600_000 },
};
const RANGE_NAMES = Object.keys(RANGES) as HistoryRange[];

const number = z.number().nullable();
const keptSchema = z.object({
  atMs: z.number(),
  users: number,
  sessions: number,
  peakSessions: number,
  connections: number,
  lagMs: number,
  hosted: number,
});

/** One step that is being collected. */
export interface Step {
  add(sample: Sample): void;
  /** What is kept of it; the next step begins. */
  take(atMs: number): Kept;
}

/** Means of the numbers, the peak of the sessions, and how many began. Pure. */
export function createStep(): Step {
  let samples: Sample[] = [];
  let hostedBefore: number | null = null;

  return {
    add(sample) {
      samples.push(sample);
    },
    take(atMs) {
      const hostedNow = lastKnown(samples.map(({ hostedTotal }) => hostedTotal));
      const kept: Kept = {
        atMs,
        users: mean(samples.map(({ users }) => users)),
        sessions: mean(samples.map(({ sessions }) => sessions)),
        peakSessions: peak(samples.map(({ sessions }) => sessions)),
        connections: mean(samples.map(({ connections }) => connections)),
        lagMs: mean(samples.map(({ lagMs }) => lagMs)),
        // A total that went back (a flushed store) says nothing of this step.
        hosted:
          hostedNow !== null && hostedBefore !== null && hostedNow >= hostedBefore
            ? hostedNow - hostedBefore
            : null,
      };
      hostedBefore = hostedNow ?? hostedBefore;
      samples = [];
      return kept;
    },
  };
}

function known(values: readonly (number | null)[]): number[] {
  return values.filter((value) => value !== null);
}

function mean(values: readonly (number | null)[]): number | null {
  const all = known(values);
  if (all.length === 0) return null;
  const sum = all.reduce((total, value) => total + value, 0);
  return Math.round((sum / all.length) * 100) / 100;
}

function peak(values: readonly (number | null)[]): number | null {
  const all = known(values);
  return all.length === 0 ? null : Math.max(...all);
}

function lastKnown(values: readonly (number | null)[]): number | null {
  return known(values).at(-1) ?? null;
}

// --- writing ---

/** Takes a sample every 10 s and writes it, while this worker is the one that does. */
export function recordHistory(needs: {
  readonly store: Pick<Store, "appendToStream" | "timeMs">;
  readonly clock: Clock;
  readonly log: Log;
  readonly leadership: Pick<LeaderElection, "isLeading">;
  readonly sample: () => Promise<Sample>;
}): { close(): void } {
  const { store, clock, log, leadership } = needs;
  let steps = RANGE_NAMES.map(beginRange);
  let isRecording = false;

  async function record(): Promise<void> {
    if (isRecording) return;
    if (!leadership.isLeading) {
      // Whoever leads meanwhile writes these steps; what is here would be told as if it were of a later one.
      steps = RANGE_NAMES.map(beginRange);
      return;
    }
    isRecording = true;
    try {
      const [sample, atMs] = await Promise.all([needs.sample(), store.timeMs()]);
      for (const range of steps) {
        range.step.add(sample);
        // Steps end at whole multiples, so that another worker's go on where this one's ended.
        if (atMs < range.endsMs) continue;
        const isFirst = Number.isNaN(range.endsMs);
        range.endsMs = (Math.floor(atMs / range.stepMs) + 1) * range.stepMs;
        const kept = range.step.take(atMs);
        // The first one may be the rest of a step that another worker has begun.
        if (isFirst && range.stepMs > RANGES.hour.stepMs) continue;
        await store.appendToStream(range.stream, [JSON.stringify(kept)]);
      }
    } catch (error) {
      if (!(error instanceof StoreAwayError)) {
        log.error({ err: error }, "cannot write the dashboard history");
      }
    } finally {
      isRecording = false;
    }
  }

  const timer = clock.every(RANGES.hour.stepMs, () => void record());
  return { close: () => timer.cancel() };
}

function beginRange(range: HistoryRange) {
  return { ...RANGES[range], step: createStep(), endsMs: Number.NaN };
}

// --- reading ---

/** The samples of a range. A hole of more than two steps is shown as one. */
export async function readHistory(
  store: Pick<Store, "readStream">,
  range: HistoryRange,
): Promise<HistoryResponse> {
  const { stream, stepMs } = RANGES[range];
  const entries = await store.readStream(stream, { limit: 1000 });
  const samples = entries.flatMap(({ text }) => parseKept(text) ?? []);
  const whole: Kept[] = [];
  for (const sample of samples.sort((a, b) => a.atMs - b.atMs)) {
    const before = whole.at(-1);
    if (before !== undefined && sample.atMs - before.atMs > 2.5 * stepMs) {
      whole.push({ ...NOTHING, atMs: before.atMs + stepMs });
    }
    whole.push(sample);
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

const NOTHING: Kept = {
  atMs: 0,
  users: null,
  sessions: null,
  peakSessions: null,
  connections: null,
  lagMs: null,
  hosted: null,
};

function parseKept(text: string): Kept | undefined {
  try {
    return keptSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
