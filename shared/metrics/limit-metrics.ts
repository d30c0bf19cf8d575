/** Metrics of the limits for each address. */
import type { Metric } from "./metric.ts";

export const LIMIT_METRICS = {
  "balancer.limited": {
    scope: "balancer",
    kind: "counter",
    unit: "requests",
    meaning:
      "connections and requests beyond the limits of their address (CT_LIMIT_…), by kind; refused, unless CT_LIMIT_DRY_RUN is on",
    tag: "kind",
    values: ["connections", "handshakes", "requests", "logins", "creates"],
  },
  "balancer.limited_addresses": {
    scope: "balancer",
    kind: "gauge",
    unit: "number",
    meaning:
      "addresses that have used some of what CT_LIMIT_… allows, and have not got it back yet",
  },
} as const satisfies Record<string, Metric>;
