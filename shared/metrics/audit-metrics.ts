/** Metrics of the audit log. */
import type { Metric } from "./metric.ts";

export const AUDIT_METRICS = {
  "worker.audit.lines": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "lines written to the audit log",
  },
  "worker.audit.dropped": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "events that the audit log does not have, because its disk took none for too long",
  },
  "worker.audit.syslog_dropped": {
    scope: "worker",
    kind: "counter",
    unit: "events",
    meaning: "events that were not sent to CT_AUDIT_SYSLOG, because it took none for too long",
  },
  "worker.audit.problem": {
    scope: "worker",
    kind: "gauge",
    unit: "number",
    meaning:
      "1 while events cannot be written to the audit log, not be secured by checkpoints for a minute, or not be sent to CT_AUDIT_SYSLOG",
  },
} as const satisfies Record<string, Metric>;
