/** What the programs read without any settings. Fixtures begin with it, so that a new setting has its default in them too. */
import { readSettings } from "../../shared/settings/read-settings.ts";

export const BALANCER_DEFAULTS = readSettings({ role: "balancer", env: {} });
export const WORKER_DEFAULTS = readSettings({ role: "worker", env: {} });
