/** Parses `CT_AUDIT_SYSLOG`. Pure. */
import { MAX_PORT } from "./setting.ts";

export interface SyslogTarget {
  readonly protocol: "udp" | "tls";
  readonly host: string;
  readonly port: number;
  /** For logs. */
  readonly label: string;
}

const PROBLEM = "use udp://HOST:514 or tls://HOST:6514";
const DEFAULT_PORTS = { udp: 514, tls: 6514 } as const;

/** The server, or a problem for the operator. */
export function parseSyslogTarget(text: string): SyslogTarget | string {
  const [, protocol, bracketed, name, digits] =
    /^(udp|tls):\/\/(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?\/?$/.exec(
      text,
    ) ?? [];
  const host = bracketed ?? name;
  if ((protocol !== "udp" && protocol !== "tls") || host === undefined) return PROBLEM;
  const port = digits === undefined ? DEFAULT_PORTS[protocol] : Number(digits);
  return port >= 1 && port <= MAX_PORT ? { protocol, host, port, label: text } : PROBLEM;
}
