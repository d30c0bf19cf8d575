/**
 * What balancers report of WebSockets that stay open while their sessions move (shared/metrics/resume-metrics.ts), and the sums
 * of it. Commands and the dashboard show them.
 */
import { z } from "zod";
import { LATENCY_BUCKETS_MS } from "../metrics/metric.ts";
import { type Counters, countOf, quantile } from "../metrics/metrics.ts";

const count = z.number().nonnegative();
/** As many as a counter has tags. */
const MAX_REASONS = 64;

/** Of one balancer, since its start. */
export const resumesSchema = z.object({
  /** WebSockets that wait now, open, for another worker to go on with them. */
  waiting: count,
  /** Those that another worker went on with, because theirs gave the session away, or was gone. */
  moved: count,
  crashed: count,
  /** Those that were closed instead, by reason: their clients reconnected. */
  closed: z
    .record(z.string().max(64), count)
    .refine((closed) => Object.keys(closed).length <= MAX_REASONS),
  /** Messages of clients that were sent again, and those that were dropped because their receivers had them. */
  messages: count,
  repeats: count,
  /** Pauses of those that went on, by the buckets of `LATENCY_BUCKETS_MS`. */
  gaps: z.array(count).max(64).readonly(),
});
export type ReportedResumes = Readonly<z.infer<typeof resumesSchema>>;

/** Of one balancer, or of all that report. */
export interface ResumeSummary extends Omit<ReportedResumes, "gaps"> {
  /** Null before the first one went on. */
  readonly gapP50Ms: number | null;
  readonly gapP99Ms: number | null;
}

/** `waiting`: now. */
export function readResumes(counters: Counters, waiting: number): ReportedResumes {
  const closed: Record<string, number> = {};
  let gaps: readonly number[] = [];
  for (const series of counters.series()) {
    if (series.name === "balancer.resume.gap_ms" && series.kind === "histogram") {
      gaps = series.counts;
    } else if (series.name === "balancer.resume.closed" && series.kind === "counter") {
      closed[series.tag] = series.value;
    }
  }
  return {
    waiting,
    moved: counters.value("balancer.resume.done", "move"),
    crashed: counters.value("balancer.resume.done", "crash"),
    closed,
    messages: counters.value("balancer.resume.messages"),
    repeats: counters.value("balancer.resume.repeats"),
    gaps,
  };
}

/** The sum of several reports; undefined without one. */
export function summarizeResumes(reports: readonly ReportedResumes[]): ResumeSummary | undefined {
  if (reports.length === 0) return undefined;
  const sum = (pick: (report: ReportedResumes) => number): number =>
    reports.reduce((total, report) => total + pick(report), 0);
  const closed = new Map<string, number>();
  for (const report of reports) {
    for (const [reason, times] of Object.entries(report.closed)) {
      closed.set(reason, (closed.get(reason) ?? 0) + times);
    }
  }
  // Another version may have other buckets.
  const known = reports.filter(({ gaps }) => gaps.length === LATENCY_BUCKETS_MS.length + 1);
  const counts = Array.from({ length: LATENCY_BUCKETS_MS.length + 1 }, (_, bucket) =>
    known.reduce((total, { gaps }) => total + (gaps[bucket] ?? 0), 0),
  );
  const gap = (share: number): number | null =>
    countOf({ counts }) === 0 ? null : Math.round(quantile({ counts }, share) * 10) / 10;
  return {
    waiting: sum(({ waiting }) => waiting),
    moved: sum(({ moved }) => moved),
    crashed: sum(({ crashed }) => crashed),
    closed: Object.fromEntries([...closed].sort(([a], [b]) => (a < b ? -1 : 1))),
    messages: sum(({ messages }) => messages),
    repeats: sum(({ repeats }) => repeats),
    gapP50Ms: gap(0.5),
    gapP99Ms: gap(0.99),
  };
}
