/**
 * The schema of settings: each is declared once, with its environment variable, type, unit, default, bounds and
 * description. `--help` and the README's table are generated from it. How values are found and checked: read-settings.ts.
 */
import { ACME_SETTINGS } from "./acme-settings.ts";
import { AUDIT_SETTINGS } from "./audit-settings.ts";
import { DEPLOYMENT_SETTINGS } from "./deployment-settings.ts";
import { HOSTING_SETTINGS } from "./hosting-settings.ts";
import { OPERATION_SETTINGS } from "./operation-settings.ts";
import { PROXY_SETTINGS } from "./proxy-settings.ts";
import { SCALING_SETTINGS } from "./scaling-settings.ts";
import type { Setting } from "./setting.ts";
import { WEBHOOK_SETTINGS } from "./webhook-settings.ts";

/** In the order of the README and of `--help`. */
export const SETTINGS = {
  ...DEPLOYMENT_SETTINGS,
  ...ACME_SETTINGS,
  ...HOSTING_SETTINGS,
  ...WEBHOOK_SETTINGS,
  ...AUDIT_SETTINGS,
  ...PROXY_SETTINGS,
  ...SCALING_SETTINGS,
  ...OPERATION_SETTINGS,
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;
