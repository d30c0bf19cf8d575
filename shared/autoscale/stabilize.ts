/**
 * Turns the changing demand into a number of workers that seldom changes: more when it was higher all the time for a while,
 * fewer when it was lower for much longer. Pure.
 */

export interface Windows {
  /** How long the demand must be higher before more workers are wanted, in ms. */
  readonly upMs: number;
  /** How long it must be lower before fewer are. */
  readonly downMs: number;
}

export interface Stabilized {
  /** At least 1. */
  readonly wanted: number;
  /** Since when the demand is known without a gap, on the clock of the samples. */
  readonly sinceMs: number;
  /** Of the longer window, oldest first. */
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly atMs: number;
  /** As in `Demand`. */
  readonly workers: number;
}

/** After this long without a sample, what was before counts no more. */
const MAX_GAP_MS = 10_000;
/** A worker is only given up when the others have this much more than the load needs: without it, two numbers alternate. */
const DOWN_MARGIN = 1.1;

/** `current`: the workers that there are, wanted until the demand is known for long enough. */
export function stabilize(
  before: Stabilized | undefined,
  sample: Sample,
  current: number,
  { upMs, downMs }: Windows,
): Stabilized {
  const nowMs = sample.atMs;
  const last = before?.samples.at(-1);
  const isContinued = before !== undefined && last !== undefined && nowMs - last.atMs <= MAX_GAP_MS;
  const oldestMs = nowMs - Math.max(upMs, downMs);
  const samples = isContinued
    ? [...before.samples.filter(({ atMs }) => atMs >= oldestMs), sample]
    : [sample];
  const sinceMs = isContinued ? before.sinceMs : nowMs;
  const within = (windowMs: number): readonly number[] =>
    samples.filter(({ atMs }) => atMs >= nowMs - windowMs).map(({ workers }) => workers);

  let wanted = before?.wanted ?? Math.max(1, current);
  if (nowMs - sinceMs >= upMs) {
    wanted = Math.max(wanted, Math.ceil(Math.min(...within(upMs))));
  }
  if (nowMs - sinceMs >= downMs) {
    const enough = Math.ceil(Math.max(...within(downMs)) * DOWN_MARGIN);
    wanted = Math.max(1, Math.min(wanted, enough));
  }
  return { wanted, sinceMs, samples };
}
