/** Settings of webhooks: which receivers there are, and where they may be. */
import type { Setting } from "./setting.ts";

export const WEBHOOK_SETTINGS = {
  webhooks: {
    env: "CT_WEBHOOKS",
    type: "text",
    default: undefined,
    roles: ["edge", "worker", "command"],
    why: "File (YAML or JSON) with the receivers to which events of people and sessions are sent, and their secrets; read again when it changes. The same for every worker.",
  },
  webhookNetworks: {
    env: "CT_WEBHOOK_NETWORKS",
    type: "list",
    default: [],
    pattern: /^[0-9A-Fa-f:.]+(\/\d{1,3})?$/,
    allowed: "addresses or ranges like 10.0.0.0/8",
    roles: ["edge", "worker", "command"],
    why: "Networks besides the public ones in which receivers of webhooks may be; plain http is allowed only there (default: none).",
  },
} as const satisfies Record<string, Setting>;
