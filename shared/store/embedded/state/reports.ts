/**
 * Reports of members, in the embedded store. They are kept in memory only: after a restart members report again.
 */
import { MAX_REPORTS, type ReportKind } from "../../store.ts";
import type { Operations } from "./operations.ts";
import type { StoreTime } from "./time.ts";

export interface Reports extends Pick<Operations, "report" | "readReports"> {
  sweep(now: StoreTime): void;
}

interface Report {
  readonly text: string;
  /** On the monotonic clock. */
  readonly untilMs: number;
}

export function createReports(): Reports {
  const reports = new Map<ReportKind, Map<string, Report>>();

  function reportsOf(kind: ReportKind): Map<string, Report> {
    const found = reports.get(kind) ?? new Map<string, Report>();
    reports.set(kind, found);
    return found;
  }

  function dropExpired({ nowMs }: StoreTime): void {
    for (const byId of reports.values()) {
      for (const [id, { untilMs }] of byId) if (untilMs <= nowMs) byId.delete(id);
    }
  }

  return {
    report(now, kind, id, text, ttlMs) {
      const byId = reportsOf(kind);
      if (!byId.has(id) && byId.size >= MAX_REPORTS) dropExpired(now);
      if (!byId.has(id) && byId.size >= MAX_REPORTS) return;
      byId.set(id, { text, untilMs: now.nowMs + ttlMs });
    },
    readReports(now, kind) {
      dropExpired(now);
      return Object.fromEntries([...reportsOf(kind)].map(([id, { text }]) => [id, text]));
    },
    sweep: dropExpired,
  };
}
