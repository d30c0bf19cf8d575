/**
 * The configured user and password of the dashboard. The worker checks them; `ct-edge` prints the user and the name of the
 * variable with the password.
 */
import type { Slice } from "./read-settings.ts";

export const CREDENTIAL_SETTINGS = [
  "dashboardUser",
  "dashboardPassword",
  "logsUser",
  "logsPassword",
] as const;
export type CredentialSettings = Slice<typeof CREDENTIAL_SETTINGS>;

/** The user if no credentials are set; its password is generated and logged once. */
export const DEFAULT_USER = "ctuser";

/** The first pair with both values set and not empty. */
export function configuredCredentials(settings: CredentialSettings) {
  const { dashboardUser, dashboardPassword, logsUser, logsPassword } = settings;
  for (const [user, password, passwordSetting] of [
    [dashboardUser, dashboardPassword, "CT_DASHBOARD_PASSWORD"],
    [logsUser, logsPassword, "CT_LOGS_PASSWORD"],
  ] as const) {
    if (user && password) return { user, password, passwordSetting };
  }
  return undefined;
}
