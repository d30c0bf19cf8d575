/**
 * The schedule of an open-loop load: when each request is due, whether or not earlier ones have been answered. A load that
 * waits for responses sends less as soon as the proxy stalls, and so hides the stall from its own figures.
 */
export interface Schedule {
  /** Number of requests. */
  readonly count: number;
  /** Time from the start until request `index` (from 0) is due, in ms. */
  readonly dueMs: (index: number) => number;
}

/** Requests at even distances: `perSecond` of them in each of `seconds`. */
export function evenSchedule(perSecond: number, seconds: number): Schedule {
  return {
    count: Math.round(perSecond * seconds),
    dueMs: (index) => (index * 1000) / perSecond,
  };
}

/**
 * Latencies of a whole schedule: those of the responses, and for requests that were never sent how overdue they were at the
 * end (`endMs` after the start). Those are the ones that waited longest, so that leaving them out would flatter a slow proxy.
 */
export function withUnsent(
  latenciesMs: readonly number[],
  schedule: Schedule,
  sent: number,
  endMs: number,
): number[] {
  const unsent = Array.from({ length: schedule.count - sent }, (_, i) =>
    Math.max(0, endMs - schedule.dueMs(sent + i)),
  );
  return [...latenciesMs, ...unsent];
}
