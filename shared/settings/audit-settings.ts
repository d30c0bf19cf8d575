/** Settings of the audit log. */
import { join, resolve } from "node:path";
import type { Setting } from "./setting.ts";

export const AUDIT_SETTINGS = {
  audit: {
    env: "CT_AUDIT",
    type: "flag",
    default: false,
    roles: ["edge", "worker"],
    why: "Records who signed in, hosted, asked, was let in or refused and by whom, and what operators did, in files that show whether they were changed (docs/operators/audit.md).",
  },
  auditDir: {
    env: "CT_AUDIT_DIR",
    type: "text",
    default: undefined,
    roles: ["edge", "worker", "command"],
    why: "Folder of the audit log (default: audit/ in CT_DATA_DIR); several workers may share it.",
  },
  auditDays: {
    env: "CT_AUDIT_DAYS",
    type: "number",
    default: 90,
    min: 0,
    max: 36_500,
    roles: ["edge", "worker", "command"],
    why: "Days after which files of the audit log are deleted; 0 keeps them.",
  },
  auditFailure: {
    env: "CT_AUDIT_FAILURE",
    type: "choice",
    default: "continue",
    choices: ["continue", "refuse"],
    roles: ["edge", "worker"],
    why: "While the audit log cannot be written, as on a full disk, or has no checkpoints, because the store is away for a minute: continue, and record what is missing, or refuse new sessions.",
  },
  auditSyslog: {
    env: "CT_AUDIT_SYSLOG",
    type: "text",
    default: undefined,
    problemOf(value): string | undefined {
      return parseSyslogTarget(value) === undefined
        ? "use udp://HOST:514 or tls://HOST:6514"
        : undefined;
    },
    roles: ["edge", "worker"],
    why: "Syslog server that receives the events of the audit log too, like udp://log.example.com:514 or tls://log.example.com:6514.",
  },
  auditSyslogCa: {
    env: "CT_AUDIT_SYSLOG_CA",
    type: "text",
    default: undefined,
    roles: ["edge", "worker"],
    why: "PEM file of the authority that has signed the certificate of the syslog server.",
  },
} as const satisfies Record<string, Setting>;

export interface SyslogTarget {
  readonly protocol: "udp" | "tls";
  readonly host: string;
  readonly port: number;
  /** For logs. */
  readonly label: string;
}

const DEFAULT_PORTS = { udp: 514, tls: 6514 } as const;

export function parseSyslogTarget(text: string): SyslogTarget | undefined {
  const [, protocol, bracketed, name, digits] =
    /^(udp|tls):\/\/(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?\/?$/.exec(
      text,
    ) ?? [];
  const host = bracketed ?? name;
  if ((protocol !== "udp" && protocol !== "tls") || host === undefined) return undefined;
  const port = digits === undefined ? DEFAULT_PORTS[protocol] : Number(digits);
  return port >= 1 && port <= 65_535 ? { protocol, host, port, label: text } : undefined;
}

export function auditFolder({
  auditDir,
  dataDir,
}: {
  readonly auditDir?: string | undefined;
  readonly dataDir: string;
}): string {
  return resolve(auditDir ?? join(dataDir, "audit"));
}
