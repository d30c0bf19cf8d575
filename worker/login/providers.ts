/** The sign-in methods that the settings enable, in the order in which clients show them. */
import { parseApiKeys } from "../../shared/settings/api-keys.ts";
import { SettingError, type Settings } from "../../shared/settings/read-settings.ts";
import { createApiKeyLogin } from "./api-key.ts";
import type { SignInWay } from "./form-provider.ts";
import { createSimpleLogin } from "./simple.ts";

/** Throws `SettingError` when the list of API keys is malformed, which `readSettings` has ruled out. */
export function signInWays(
  settings: Pick<Settings, "loginSimple" | "loginApiKey" | "loginUnverifiedEmail">,
): SignInWay[] {
  const ways: SignInWay[] = [];
  if (settings.loginSimple) {
    ways.push(createSimpleLogin({ keepsEmail: settings.loginUnverifiedEmail === "keep" }));
  }
  if (settings.loginApiKey !== undefined) {
    const keys = parseApiKeys(settings.loginApiKey);
    if (typeof keys === "string") throw new SettingError(`CT_LOGIN_API_KEY: ${keys}`);
    ways.push(createApiKeyLogin(keys));
  }
  return ways;
}
