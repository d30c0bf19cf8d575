/**
 * Reports of members, in Redis.
 */
import { isWorkerId } from "../../../base/ids.ts";
import { MAX_REPORT_BYTES, type ReportKind, type Store } from "../../store.ts";
import type { Runner } from "../connection/connection.ts";
import { limited, toMs } from "../values/arguments.ts";
import type { Ignored } from "../values/ignored.ts";
import { expectReply, pairsOf, repliesSchema } from "../values/replies.ts";

export function createReports(
  connection: Runner,
  ignored: Ignored,
): Pick<Store, "report" | "readReports"> {
  /** `census`: the name of `usage` in the version before. */
  async function read(kind: ReportKind | "census"): Promise<Record<string, string>> {
    const reply = await connection.run("readReports", "read_reports", kind);
    const pairs = pairsOf(expectReply(repliesSchema, reply));
    const reports = pairs.filter(([id, text]) => isWorkerId(id) && text !== "?");
    ignored.count("report", pairs.length - reports.length);
    return Object.fromEntries(reports);
  }

  return {
    async report(kind, id, text, ttlMs) {
      const checked = limited("a report", text, MAX_REPORT_BYTES);
      await connection.run("report", "report", kind, id, checked, toMs(ttlMs));
    },
    async readReports(kind) {
      // One version: workers of the previous version report their usage as `census`.
      const [old, reports] = await Promise.all([
        kind === "usage" ? read("census") : {},
        read(kind),
      ]);
      return { ...old, ...reports };
    },
  };
}
