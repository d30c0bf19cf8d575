/** Alerts on the audit log. */
import { type Alert, ofOneWorker, samples } from "../rules/alert.ts";
import { metric } from "../rules/metric.ts";

const PROBLEM = metric("worker.audit.problem");

export const AUDIT_ALERTS: readonly Alert[] = [
  {
    name: "AuditProblem",
    severity: "warning",
    expr: `${PROBLEM} > 0`,
    for: "30s",
    summary: "The audit log of {{ $labels.instance }} is not written, secured or sent",
    description:
      "Its disk takes nothing, the store takes no checkpoints, or syslog cannot be reached. With CT_AUDIT_FAILURE=refuse nobody can start a session there. The dashboard's check Audit says which.",
    runbook: [
      "A worker with CT_AUDIT has had a problem for half a minute: its dashboard's check *Audit* and its log say which ([audit](audit.md)).",
      "- `cannot write`: the disk of CT_AUDIT_DIR is full, read-only or gone. Up to 10,000 events wait in memory; make room before that many have come.",
      "- `no checkpoint could be stored since`: the store has been away for more than a minute. Lines are written, but nobody would notice that the newest ones were cut off. Repair Redis, or the network to it.",
      "- `cannot send to syslog`: the server of CT_AUDIT_SYSLOG is away, or its certificate is not accepted. The files are complete.",
      "- With `CT_AUDIT_FAILURE=refuse` the first two let nobody start sessions on this worker; open ones go on.",
    ],
    fires: {
      series: [samples(ofOneWorker(PROBLEM), "0x8 1x20")],
      labels: { job: "codetogether-worker", instance: "worker-1" },
    },
    staysQuiet: { series: [samples(ofOneWorker(PROBLEM), "0x8 1x4 0x14")] },
  },
];
