/**
 * `ct-edge check`: everything that is wrong with the settings, at once, without starting anything.
 */
import { hostname } from "node:os";
import { Command, Option } from "commander";
import { loadCertificates } from "../../balancer/server/certificates.ts";
import { describeError } from "../../shared/base/errors.ts";
import { parseWorkerNetworks } from "../../shared/membership/member-verification.ts";
import { parseNetworks } from "../../shared/net/networks.ts";
import { findLicense } from "../../shared/settings/license-file.ts";
import {
  collectSettings,
  formatValue,
  type Settings,
  settingOptions,
  settingsOf,
  unknownSettings,
} from "../../shared/settings/read-settings.ts";
import { parseRedisUrl } from "../../shared/store/redis/connection/target.ts";
import { fail } from "../output/fail.ts";
import { checkEdgeSettings, EDGE_DEFAULTS } from "../start/edge-settings.ts";
import { print } from "./command.ts";

const ROLES = ["edge", "balancer", "worker"] as const;
type CheckedRole = (typeof ROLES)[number];

export function checkCommand(): Command {
  const command = new Command("check")
    .description("Says all that is wrong with the settings, without starting anything.")
    .allowExcessArguments(false)
    .addOption(
      new Option("--role <role>", "For which program they are.")
        .choices([...ROLES])
        .default("edge"),
    )
    .action(async (flags: Record<string, unknown> & { role: CheckedRole }) => {
      try {
        const { out, problems } = check(flags.role, process.env, flags);
        await print(out);
        for (const problem of problems) process.stderr.write(`ct-edge: ${problem}\n`);
        process.exit(problems.length === 0 ? 0 : 1);
      } catch (error) {
        fail(error);
      }
    });
  const known = new Set(command.options.map(({ long }) => long));
  for (const role of ROLES) {
    for (const option of settingOptions(role)) {
      if (known.has(option.long)) continue;
      known.add(option.long);
      command.addOption(option);
    }
  }
  return command;
}

/** What would be used, and what a start would fail for. Secrets are not shown. */
export function check(
  role: CheckedRole,
  env: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, unknown>>,
): { readonly out: string; readonly problems: readonly string[] } {
  const defaults = role === "edge" ? EDGE_DEFAULTS : {};
  const { settings, problems: found } = collectSettings({ role, env, flags, defaults });
  const problems = [...found, ...problemsOf(role, settings)];
  const lines = settingsOf(role).map(
    ([name, setting]) => `${setting.env.padEnd(32)}${formatValue(setting, settings[name])}`,
  );
  const unknown = unknownSettings(env).map((name) => `! ${name} is not a setting`);
  return { out: [...lines, ...unknown].map((line) => `${line}\n`).join(""), problems };
}

/** What only shows when values are looked into, or at each other. */
function problemsOf(role: CheckedRole, settings: Settings): string[] {
  const looks: (() => unknown)[] = [
    () => parseNetworks("CT_TRUSTED_PROXIES", settings.trustedProxies),
    () => parseWorkerNetworks(settings.workerNetworks),
    () => settings.redisUrl === undefined || parseRedisUrl(settings.redisUrl),
    () => findLicense(settings),
    ...(role === "edge" ? [() => checkEdgeSettings(settings, hostname())] : []),
    ...(role === "worker" ? [] : [() => checkCertificates(settings)]),
  ];
  return looks.flatMap((look) => {
    try {
      look();
      return [];
    } catch (error) {
      return [describeError(error)];
    }
  });
}

/** That one of the two is missing is said of the settings together. */
function checkCertificates({ tlsCert, tlsKey }: Settings): void {
  if (tlsCert.length > 0 && tlsKey.length > 0) loadCertificates({ cert: tlsCert, key: tlsKey });
}
