/** All alerts, in the groups of the rule file. */

import { AUDIT_ALERTS } from "./alerts/audit.ts";
import { PROCESS_ALERTS } from "./alerts/processes.ts";
import { ROUTING_ALERTS } from "./alerts/routing.ts";
import { SESSION_ALERTS } from "./alerts/sessions.ts";
import { STORE_ALERTS } from "./alerts/store.ts";
import { TRAFFIC_ALERTS } from "./alerts/traffic.ts";
import { WEBHOOK_ALERTS } from "./alerts/webhooks.ts";
import type { Alert } from "./rules/alert.ts";

export interface AlertGroup {
  readonly name: string;
  /** Heading in docs/operators/alerts.md. */
  readonly title: string;
  readonly alerts: readonly Alert[];
}

export const ALERT_GROUPS: readonly AlertGroup[] = [
  { name: "codetogether-processes", title: "Processes", alerts: PROCESS_ALERTS },
  { name: "codetogether-store", title: "The store", alerts: STORE_ALERTS },
  { name: "codetogether-routing", title: "Workers and links", alerts: ROUTING_ALERTS },
  { name: "codetogether-traffic", title: "Requests and connections", alerts: TRAFFIC_ALERTS },
  { name: "codetogether-sessions", title: "Sessions and sign-in", alerts: SESSION_ALERTS },
  { name: "codetogether-webhooks", title: "Webhooks", alerts: WEBHOOK_ALERTS },
  { name: "codetogether-audit", title: "Audit log", alerts: AUDIT_ALERTS },
];

export const ALERTS: readonly Alert[] = ALERT_GROUPS.flatMap(({ alerts }) => alerts);
