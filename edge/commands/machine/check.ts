/**
 * `ct-edge check`: reports all problems of the settings at once, without starting anything.
 */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { type Command, Option } from "commander";
import { findKept, type Kept } from "../../../balancer/acme/kept.ts";
import { wantedCertificate } from "../../../balancer/acme/start.ts";
import { loadCertificates } from "../../../balancer/certificates/certificates.ts";
import { readTrustedProxies } from "../../../balancer/http1/forwarding.ts";
import { auditFolder } from "../../../shared/audit/files.ts";
import { describeError } from "../../../shared/base/errors.ts";
import { parseWorkerNetworks } from "../../../shared/membership/member-verification.ts";
import { parseNetworks } from "../../../shared/net/networks.ts";
import { findLicense } from "../../../shared/settings/license-file.ts";
import {
  collectSettings,
  formatValue,
  readNamedFile,
  SettingError,
  type Settings,
  settingOptions,
  settingsOf,
  unknownSettings,
} from "../../../shared/settings/read-settings.ts";
import { parseRedisUrl } from "../../../shared/store/redis/connection/target.ts";
import { checkEdgeSettings, EDGE_DEFAULTS } from "../../start/edge-settings.ts";
import { findSecret } from "../../start/secret-file.ts";
import { createCommand } from "../command.ts";

const ROLES = ["edge", "balancer", "worker"] as const;
type CheckedRole = (typeof ROLES)[number];

export function checkCommand(): Command {
  const command = createCommand<Record<string, unknown> & { readonly role: CheckedRole }>({
    name: "check",
    description: "Reports all problems of the settings, without starting anything.",
    options: [
      new Option("--role <role>", "The program that the settings are for.")
        .choices([...ROLES])
        .default("edge"),
    ],
    async run(flags) {
      const { out, problems, settings } = check(flags.role, process.env, flags);
      const kept = await keptCertificate(flags.role, settings);
      const all = [
        ...problems,
        ...(await problemsOfPolicy(flags.role, settings)),
        ...(await problemsOfWebhooks(flags.role, settings)),
        ...problemsOfAudit(flags.role, settings),
        ...(kept?.problem === undefined ? [] : [kept.problem]),
      ];
      const obtained =
        kept === undefined ? "" : `${"certificate obtained".padEnd(32)}${kept.text}\n`;
      const warning = kept?.warning === undefined ? "" : `! ${kept.warning}\n`;
      return { out: out + obtained + warning, notes: all, status: all.length === 0 ? 0 : 1 };
    },
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

/** The settings that would be used, without secrets, and the problems that a start would fail with. */
export function check(
  role: CheckedRole,
  env: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, unknown>>,
): {
  readonly out: string;
  readonly problems: readonly string[];
  readonly settings: Settings;
} {
  const defaults = role === "edge" ? EDGE_DEFAULTS : {};
  const { settings, problems: found } = collectSettings({ role, env, flags, defaults });
  const problems = [...found, ...problemsOf(role, settings)];
  const lines = settingsOf(role).map(
    ([name, setting]) => `${setting.env.padEnd(32)}${formatValue(setting, settings[name])}`,
  );
  const unknown = unknownSettings(env).map((name) => `! ${name} is not a setting`);
  return { out: [...lines, ...unknown].map((line) => `${line}\n`).join(""), problems, settings };
}

async function keptCertificate(role: CheckedRole, settings: Settings): Promise<Kept | undefined> {
  if (role === "worker") return undefined;
  const { secret, dataDir } = settings;
  const find = () => secret ?? (role === "edge" ? findSecret(dataDir) : undefined);
  return findKept(settings, find, Date.now());
}

/** Problems that need a look into a value, or at several settings together. */
function problemsOf(role: CheckedRole, settings: Settings): string[] {
  const checks: (() => unknown)[] = [
    () => readTrustedProxies(settings),
    () => parseNetworks("CT_WEBHOOK_NETWORKS", settings.webhookNetworks),
    () => parseWorkerNetworks(settings.workerNetworks),
    () => settings.redisUrl === undefined || parseRedisUrl(settings.redisUrl),
    () => findLicense(settings),
    ...(role === "edge" ? [() => checkEdgeSettings(settings, hostname())] : []),
    ...(role === "worker" ? [] : [() => checkCertificates(settings)]),
  ];
  return checks.flatMap((runCheck) => {
    try {
      runCheck();
      return [];
    } catch (error) {
      return [describeError(error)];
    }
  });
}

/** Loads a parser of YAML, which no other command needs. */
async function problemsOfPolicy(role: CheckedRole, { policy }: Settings): Promise<string[]> {
  if (policy === undefined || role === "balancer") return [];
  const { PolicyError, readPolicyFile } = await import("../../../shared/policy/policy-file.ts");
  try {
    readPolicyFile(policy);
    return [];
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.problems.map((problem) => `CT_POLICY=${JSON.stringify(policy)}: ${problem}`);
  }
}

/** Loads a parser of YAML too. */
async function problemsOfWebhooks(
  role: CheckedRole,
  { webhooks, webhookNetworks }: Settings,
): Promise<string[]> {
  if (webhooks === undefined || role === "balancer") return [];
  const { ReceiversError, readReceiversAndRules } = await import(
    "../../../worker/webhooks/try-receiver.ts"
  );
  try {
    readReceiversAndRules(webhooks, webhookNetworks);
    return [];
  } catch (error) {
    // The networks are among the other problems.
    if (error instanceof SettingError) return [];
    if (!(error instanceof ReceiversError)) throw error;
    return error.problems.map((problem) => `CT_WEBHOOKS=${JSON.stringify(webhooks)}: ${problem}`);
  }
}

/** A worker would start, and try again. */
function problemsOfAudit(role: CheckedRole, settings: Settings): string[] {
  if (!settings.audit || role === "balancer") return [];
  const problems: string[] = [];
  const folder = auditFolder(settings);
  try {
    const place = nearestFolder(folder);
    if (!statSync(place).isDirectory()) throw new Error(`${place} is not a folder`);
    accessSync(place, constants.W_OK);
  } catch (error) {
    problems.push(
      `CT_AUDIT_DIR=${JSON.stringify(folder)}: the audit log cannot be written there: ${describeError(error)}`,
    );
  }
  const { auditSyslogCa } = settings;
  try {
    if (auditSyslogCa !== undefined) readNamedFile("CT_AUDIT_SYSLOG_CA", auditSyslogCa, "PEM file");
  } catch (error) {
    problems.push(describeError(error));
  }
  return problems;
}

/** The folder itself, or the one in which it would be made. */
function nearestFolder(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestFolder(dirname(path));
}

/** `checkEdgeSettings` reports when only one of the two is set. */
function checkCertificates(settings: Settings): void {
  const { tlsCert, tlsKey } = settings;
  wantedCertificate(settings);
  if (tlsCert.length > 0 && tlsKey.length > 0) loadCertificates({ cert: tlsCert, key: tlsKey });
}
