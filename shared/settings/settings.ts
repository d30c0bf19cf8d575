/**
 * The schema of settings: each is declared once, with its environment variable, type, default, bounds and description.
 * `--help` and the README's table are generated from it. How values are found and checked: read-settings.ts.
 */
import { BALANCER_SETTINGS } from "./balancer-settings.ts";
import { DEPLOYMENT_SETTINGS } from "./deployment-settings.ts";
import { OPERATION_SETTINGS } from "./operation-settings.ts";
import type { Setting } from "./setting.ts";
import { WORKER_SETTINGS } from "./worker-settings.ts";

/** In the order of the README and of `--help`. */
export const SETTINGS = {
  ...DEPLOYMENT_SETTINGS,
  ...WORKER_SETTINGS,
  ...BALANCER_SETTINGS,
  ...OPERATION_SETTINGS,
} satisfies Record<string, Setting>;

export type SettingName = keyof typeof SETTINGS;
