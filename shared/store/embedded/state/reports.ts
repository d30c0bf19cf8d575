/**
 * Reports, in the embedded store: what members tell of themselves for a while. They are gone with their time, and with the
 * store's process: whoever still lives tells anew.
 */
import { MAX_REPORTS, type ReportKind } from "../../store.ts";
import type { Operations } from "./operations.ts";
import type { StoreTime } from "./time.ts";

export interface Reports extends Pick<Operations, "report" | "readReports"> {
  sweep(now: StoreTime): void;
}

interface Report {
  readonly text: string;
  /** On the store's own clock, which does not jump. */
  readonly untilMs: number;
}

export function createReports(): Reports {
  const reports = new Map<ReportKind, Map<string, Report>>();

  function reportsOf(kind: ReportKind): Map<string, Report> {
    const found = reports.get(kind) ?? new Map<string, Report>();
    reports.set(kind, found);
    return found;
  }

  function dropOld({ nowMs }: StoreTime): void {
    for (const byId of reports.values()) {
      for (const [id, { untilMs }] of byId) if (untilMs <= nowMs) byId.delete(id);
    }
  }

  return {
    report(now, kind, id, text, ttlMs) {
      const byId = reportsOf(kind);
      if (!byId.has(id) && byId.size >= MAX_REPORTS) dropOld(now);
      if (!byId.has(id) && byId.size >= MAX_REPORTS) return;
      byId.set(id, { text, untilMs: now.nowMs + ttlMs });
    },
    readReports(now, kind) {
      dropOld(now);
      return Object.fromEntries([...reportsOf(kind)].map(([id, { text }]) => [id, text]));
    },
    sweep: dropOld,
  };
}
