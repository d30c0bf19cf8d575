/** The settings of identity providers, with the values of a test. */
import type { ProviderSettings } from "../../../shared/settings/identity-providers.ts";
import { readSettings } from "../../../shared/settings/read-settings.ts";

export function providerSettings(values: Partial<ProviderSettings>): ProviderSettings {
  return { ...readSettings({ role: "worker", env: {} }), ...values };
}
