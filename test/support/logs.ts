/** Logs for tests: one that says nothing, and one whose lines a test reads. */
import { createLog, type Log } from "../../shared/logs/log.ts";

export function silentLog(): Log {
  return createLog({ name: "test", level: "error", format: "text", sink: { write() {} } });
}

/** Collects its lines, those for debugging too. */
export function collectingLog(name = "test"): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const sink = { write: (line: string): unknown => lines.push(line) };
  return { log: createLog({ name, level: "debug", format: "text", sink }), lines };
}
