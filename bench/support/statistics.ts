/** Summarizes the rounds of one measurement. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function summarize(rounds: readonly number[]): Summary {
  const sorted = [...rounds].sort((a, b) => a - b);
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  return {
    median: (lower + upper) / 2,
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
  };
}

/**
 * `ours` / `theirs` of each round, summarized. Both were measured shortly after each other in the same round, so that other
 * load on the machine changes their ratio less than the figures.
 */
export function summarizeRatios(ours: readonly number[], theirs: readonly number[]): Summary {
  return summarize(ours.map((figure, round) => figure / (theirs[round] ?? Number.NaN)));
}

/** The smallest of `values` that at least `share` (0 to 1) of them do not exceed; NaN without values. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
