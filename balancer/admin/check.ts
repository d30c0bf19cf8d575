/**
 * `ct-balancer check`: whether a balancer would start with these settings, and what it would use. It contacts neither the
 * store nor workers; it only opens each port briefly.
 */
import { accessSync, constants, existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { defaultBind } from "../../shared/membership/worker-address.ts";
import { isWildcard, urlHost } from "../../shared/net/networks.ts";
import { isStoreLocal } from "../../shared/process/connect-store.ts";
import {
  formatValue,
  type Settings,
  settingsOf,
  unknownSettings,
} from "../../shared/settings/read-settings.ts";
import { deriveKeys, PUBLIC_RING_KEY } from "../../shared/settings/secret.ts";
import { parseRedisUrl } from "../../shared/store/redis/connection/target.ts";
import { findKept } from "../acme/kept.ts";
import { wantedCertificate } from "../acme/start.ts";
import { expiresSoon, loadCertificates } from "../certificates/certificates.ts";
import { createStaticDiscovery } from "../discovery/static-discovery.ts";
import { readTrustedProxies } from "../http1/forwarding.ts";
import { connectionLimit, readDescriptorLimit } from "../server/connection-limit.ts";
import { describeTooMany } from "../server/processes.ts";
import { openEverywhere, reservePort } from "../server/public-host.ts";

export interface CheckReport {
  /** For standard output: the effective settings. */
  readonly lines: readonly string[];
  /** Would not prevent a start. */
  readonly warnings: readonly string[];
  /** Would prevent a start, or does not work now. */
  readonly problems: readonly string[];
}

/** Never rejects: errors are in the report. */
export async function checkSettings(
  settings: Settings,
  deps: { env: Readonly<Record<string, string | undefined>>; nowMs: number; statusPort: number },
): Promise<CheckReport> {
  const lines: string[] = [];
  const warnings: string[] = [];
  const problems: string[] = [];
  const addLine = (name: string, value: string): void => {
    lines.push(`  ${name.padEnd(30)} ${value}`);
  };
  /** An error that `check` throws is a problem. */
  const attempt = (check: () => void): void => {
    try {
      check();
    } catch (error) {
      problems.push(describeError(error));
    }
  };

  for (const [name, setting] of settingsOf("balancer")) {
    addLine(setting.env, formatValue(setting, settings[name]));
  }
  lines.push("");

  const descriptors = readDescriptorLimit();
  const connections = connectionLimit(settings.maxConnections, descriptors);
  addLine("client connections", `${connections} (${descriptors ?? "unknown"} descriptors)`);
  if (connections < (settings.maxConnections ?? 0)) {
    warnings.push(
      `CT_MAX_CONNECTIONS=${settings.maxConnections} is more than ${descriptors} descriptors allow; raise ulimit -n`,
    );
  }
  const tooMany = describeTooMany(settings.processes);
  if (tooMany !== undefined) warnings.push(tooMany);
  attempt(() => readTrustedProxies(settings));
  attempt(() => checkCertificates(settings, deps.nowMs, addLine, warnings));
  const kept = await findKept(settings, () => settings.secret, deps.nowMs);
  if (kept !== undefined) addLine("certificate obtained", kept.text);
  if (kept?.warning !== undefined) warnings.push(kept.warning);
  if (kept?.problem !== undefined) problems.push(kept.problem);
  attempt(() => checkMembers(settings, addLine));
  attempt(() => checkLogDir(settings, addLine));
  const ports: Port[] = [["CT_PORT", settings.bind, settings.port]];
  if (settings.tlsCert.length > 0 || settings.acmeDomains.length > 0) {
    ports.push(["CT_TLS_PORT", settings.bind, settings.tlsPort]);
  }
  let statusBind = settings.statusBind ?? defaultBind(true);
  attempt(() => {
    statusBind = settings.statusBind ?? defaultBind(isStoreLocal(settings));
  });
  for (let index = 0; index < settings.processes; index++) {
    const port = deps.statusPort === 0 ? 0 : deps.statusPort + index;
    ports.push(["CT_STATUS_PORT", statusBind, port]);
  }
  for (const [index, [name, bind, port]] of ports.entries()) {
    const same = ports.slice(0, index).find((other) => collide(other, [name, bind, port]));
    if (same !== undefined) {
      problems.push(`${name}=${port}: ${same[0]} is the same port; set one of them to another`);
      continue;
    }
    const result = await tryPort(bind, port);
    if (result.isUsable) addLine(`${name} ${urlHost(result.host)}:${port}`, result.text);
    else problems.push(`${name}=${port}: ${result.text}`);
  }
  for (const name of unknownSettings(deps.env)) {
    warnings.push(`${name} is not a setting of this program`);
  }
  return { lines, warnings, problems };
}

function checkCertificates(
  settings: Settings,
  nowMs: number,
  addLine: (name: string, value: string) => void,
  warnings: string[],
): void {
  const certificates = loadCertificates({ cert: settings.tlsCert, key: settings.tlsKey });
  const wanted = wantedCertificate(settings);
  if (wanted !== undefined) {
    const names = wanted.domains.join(", ");
    addLine("certificate wanted", `${names}, from ${wanted.directory}`);
  } else if (certificates.length === 0) addLine("certificates", "none: no HTTPS port");
  certificates.forEach((certificate, index) => {
    const days = Math.floor((certificate.expiresMs - nowMs) / 86_400_000);
    const until = new Date(certificate.expiresMs).toISOString().slice(0, 10);
    addLine(
      `certificate ${settings.tlsCert[index]}`,
      `${certificate.names}, until ${until} (${days} days)`,
    );
    if (days < 0) warnings.push(`the certificate ${settings.tlsCert[index]} has expired`);
    else if (expiresSoon(certificate, nowMs)) {
      warnings.push(`the certificate ${settings.tlsCert[index]} expires in ${days} days`);
    }
  });
}

/** Where the workers come from, by the same rules as discovery.ts, without contacting the store. */
function checkMembers(settings: Settings, addLine: (name: string, value: string) => void): void {
  const { workers, secret, storeSocket, redisUrl } = settings;
  if (workers.length > 0) {
    if (storeSocket !== undefined || redisUrl !== undefined) {
      throw new Error("CT_WORKERS and a store are both set; unset one of them");
    }
    const ringKey = secret === undefined ? PUBLIC_RING_KEY : deriveKeys(secret).ring;
    const { ring } = createStaticDiscovery(workers, ringKey);
    addLine("workers", `${workers.length}, fixed; ring ${ring.fingerprint}`);
    return;
  }
  if (secret === undefined)
    throw new Error("CT_SECRET is not set; set it to the same value as on the workers");
  if (storeSocket === undefined && redisUrl === undefined) {
    throw new Error("neither CT_WORKERS nor CT_REDIS_URL is set; a balancer needs one of them");
  }
  if (redisUrl !== undefined) parseRedisUrl(redisUrl);
  addLine("workers", `from the store (${storeSocket === undefined ? "Redis" : "embedded"})`);
}

function checkLogDir(
  { logDir, processes }: Settings,
  addLine: (name: string, value: string) => void,
): void {
  if (logDir === undefined) {
    addLine("access.log, error.log", "not written: CT_LOG_DIR is not set");
    return;
  }
  const folder = resolve(logDir);
  const checked = existsSync(folder) ? folder : dirname(folder);
  try {
    accessSync(checked, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(
      `CT_LOG_DIR=${folder}: access.log and error.log cannot be written there (${describeError(error)}); name a folder that can be written`,
      { cause: error },
    );
  }
  const names = processes === 1 ? "access.log, error.log" : "access-1.log, error-1.log, …";
  addLine(names, folder);
}

/** Setting, address (undefined: the default of CT_BIND) and number. */
type Port = readonly [string, string | undefined, number];

/** Whether one process cannot listen on both. */
function collide([, bind, port]: Port, [, otherBind, otherPort]: Port): boolean {
  if (port === 0 || port !== otherPort) return false;
  return bind === otherBind || isEverywhere(bind) || isEverywhere(otherBind);
}

function isEverywhere(bind: string | undefined): boolean {
  return bind === undefined || isWildcard(bind);
}

/** Opens the port briefly, as a start would. A port in use may be the running balancer's own. */
async function tryPort(
  bind: string | undefined,
  port: number,
): Promise<{ isUsable: boolean; text: string; host: string }> {
  let host = "";
  try {
    const open = async (tried: string): Promise<void> => {
      host = tried;
      await (await reservePort(host, port)).release();
    };
    await (bind === undefined ? openEverywhere(open) : open(bind));
    return { isUsable: true, text: port === 0 ? "any" : "free", host };
  } catch (error) {
    const inUse = errorCode(error) === "EADDRINUSE";
    return { isUsable: inUse, text: inUse ? "in use now" : describeError(error), host };
  }
}
