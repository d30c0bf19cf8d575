/** The ways to sign in that the settings turn on, in the order in which clients are offered them. */
import type { Settings } from "../../shared/config.ts";
import { createApiKeyLogin } from "./api-key.ts";
import { simpleLogin } from "./simple.ts";
import type { SignInWay } from "./way.ts";

export function signInWays(settings: Pick<Settings, "loginSimple" | "loginApiKey">): SignInWay[] {
  const ways: SignInWay[] = [];
  if (settings.loginSimple) ways.push(simpleLogin);
  if (settings.loginApiKey !== undefined) ways.push(createApiKeyLogin(settings.loginApiKey));
  return ways;
}
