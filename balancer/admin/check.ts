/**
 * `ct-balancer check`: whether a balancer would start with these settings, and what it would use. It starts nothing, and
 * asks neither the store nor a worker; ports are opened for a moment.
 */
import { accessSync, constants, existsSync } from "node:fs";
import { createServer, isIPv6 } from "node:net";
import { dirname, resolve } from "node:path";
import { describeError, errorCode } from "../../shared/base/errors.ts";
import { defaultBind } from "../../shared/membership/reach.ts";
import { isWildcard } from "../../shared/net/networks.ts";
import { isStoreLocal } from "../../shared/process/connect-store.ts";
import {
  formatValue,
  type Settings,
  settingsOf,
  unknownSettings,
} from "../../shared/settings/read-settings.ts";
import { deriveKeys, PUBLIC_RING_KEY } from "../../shared/settings/secret.ts";
import { parseRedisUrl } from "../../shared/store/redis/connection/target.ts";
import { createStaticDiscovery } from "../discovery/static-discovery.ts";
import { createTrustedProxies } from "../http1/forwarding.ts";
import { expiresSoon, loadCertificates } from "../server/certificates.ts";
import { connectionLimit, readDescriptorLimit } from "../server/connection-limit.ts";
import { openEverywhere } from "../server/public-host.ts";

export interface CheckReport {
  /** For standard output: what would be used. */
  readonly lines: readonly string[];
  /** What a start would go on in spite of. */
  readonly warnings: readonly string[];
  /** What a start would fail for. */
  readonly problems: readonly string[];
}

/** Never rejects: whatever is wrong is in the report. */
export async function checkSettings(
  settings: Settings,
  deps: { env: Readonly<Record<string, string | undefined>>; nowMs: number; statusPort: number },
): Promise<CheckReport> {
  const lines: string[] = [];
  const warnings: string[] = [];
  const problems: string[] = [];
  const say = (name: string, value: string): void => {
    lines.push(`  ${name.padEnd(30)} ${value}`);
  };
  /** What `look` throws is a problem. */
  const attempt = (look: () => void): void => {
    try {
      look();
    } catch (error) {
      problems.push(describeError(error));
    }
  };

  for (const [name, setting] of settingsOf("balancer")) {
    say(setting.env, formatValue(setting, settings[name]));
  }
  lines.push("");

  const descriptors = readDescriptorLimit();
  const connections = connectionLimit(settings.maxConnections, descriptors);
  say("connections of clients", `${connections} (${descriptors ?? "unknown"} descriptors)`);
  if (connections < (settings.maxConnections ?? 0)) {
    warnings.push(
      `CT_MAX_CONNECTIONS=${settings.maxConnections} is more than ${descriptors} descriptors allow; raise ulimit -n`,
    );
  }
  attempt(() => createTrustedProxies(settings.trustedProxies));
  attempt(() => checkCertificates(settings, deps.nowMs, say, warnings));
  attempt(() => checkMembers(settings, say));
  attempt(() => checkLogDir(settings.logDir, say));
  const ports: Port[] = [["CT_PORT", settings.bind, settings.port]];
  if (settings.tlsCert.length > 0) ports.push(["CT_TLS_PORT", settings.bind, settings.tlsPort]);
  let statusBind = settings.statusBind ?? defaultBind(true);
  attempt(() => {
    statusBind = settings.statusBind ?? defaultBind(isStoreLocal(settings));
  });
  ports.push(["CT_STATUS_PORT", statusBind, deps.statusPort]);
  for (const [at, [name, bind, port]] of ports.entries()) {
    const same = ports.slice(0, at).find((other) => collide(other, [name, bind, port]));
    if (same !== undefined) {
      problems.push(`${name}=${port}: ${same[0]} is the same port; set one of them to another`);
      continue;
    }
    const found = await tryPort(bind, port);
    if (found.isUsable) say(`${name} ${authority(found.host, port)}`, found.text);
    else problems.push(`${name}=${port}: ${found.text}`);
  }
  for (const name of unknownSettings(deps.env)) {
    warnings.push(`${name} is not a setting of this program`);
  }
  return { lines, warnings, problems };
}

function checkCertificates(
  settings: Settings,
  nowMs: number,
  say: (name: string, value: string) => void,
  warnings: string[],
): void {
  const certificates = loadCertificates({ cert: settings.tlsCert, key: settings.tlsKey });
  if (certificates.length === 0) say("certificates", "none: no HTTPS port");
  certificates.forEach((certificate, index) => {
    const days = Math.floor((certificate.expiresMs - nowMs) / 86_400_000);
    const until = new Date(certificate.expiresMs).toISOString().slice(0, 10);
    say(
      `certificate ${settings.tlsCert[index]}`,
      `${certificate.names}, until ${until} (${days} days)`,
    );
    if (days < 0) warnings.push(`the certificate ${settings.tlsCert[index]} has expired`);
    else if (expiresSoon(certificate, nowMs)) {
      warnings.push(`the certificate ${settings.tlsCert[index]} expires in ${days} days`);
    }
  });
}

/** Where the workers are known from: as discovery.ts decides it, without asking anybody. */
function checkMembers(settings: Settings, say: (name: string, value: string) => void): void {
  const { workers, secret, storeSocket, redisUrl } = settings;
  if (workers.length > 0) {
    if (storeSocket !== undefined || redisUrl !== undefined) {
      throw new Error("CT_WORKERS and a store are both set; take one of them away");
    }
    const ringKey = secret === undefined ? PUBLIC_RING_KEY : deriveKeys(secret).ring;
    const { ring } = createStaticDiscovery(workers, ringKey);
    say("workers", `${workers.length}, fixed; ring ${ring.fingerprint}`);
    return;
  }
  if (secret === undefined) throw new Error("CT_SECRET is not set; set it, as for the workers");
  if (storeSocket === undefined && redisUrl === undefined) {
    throw new Error("neither CT_WORKERS nor CT_REDIS_URL is set; a balancer needs one of them");
  }
  if (redisUrl !== undefined) parseRedisUrl(redisUrl);
  say("workers", `from the store (${storeSocket === undefined ? "Redis" : "embedded"})`);
}

function checkLogDir(logDir: string | undefined, say: (name: string, value: string) => void): void {
  if (logDir === undefined) {
    say("access.log, error.log", "not written: CT_LOG_DIR is not set");
    return;
  }
  const folder = resolve(logDir);
  const place = existsSync(folder) ? folder : dirname(folder);
  try {
    accessSync(place, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(
      `CT_LOG_DIR=${folder}: access.log and error.log cannot be written there (${describeError(error)}); name a folder that can be written`,
      { cause: error },
    );
  }
  say("access.log, error.log", folder);
}

/** Setting, address (undefined as for CT_BIND) and number. */
type Port = readonly [string, string | undefined, number];

/** Whether a process cannot listen on both. */
function collide([, bind, port]: Port, [, otherBind, otherPort]: Port): boolean {
  if (port === 0 || port !== otherPort) return false;
  return bind === otherBind || isEverywhere(bind) || isEverywhere(otherBind);
}

function isEverywhere(bind: string | undefined): boolean {
  return bind === undefined || isWildcard(bind);
}

function authority(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** Opens the port for a moment, as a start would. One in use may be the running balancer's own. */
async function tryPort(
  bind: string | undefined,
  port: number,
): Promise<{ isUsable: boolean; text: string; host: string }> {
  let host = "";
  try {
    const open = (tried: string): Promise<void> => {
      host = tried;
      return openBriefly(host, port);
    };
    await (bind === undefined ? openEverywhere(open) : open(bind));
    return { isUsable: true, text: port === 0 ? "any" : "free", host };
  } catch (error) {
    const inUse = errorCode(error) === "EADDRINUSE";
    return { isUsable: inUse, text: inUse ? "in use now" : describeError(error), host };
  }
}

function openBriefly(host: string, port: number): Promise<void> {
  return new Promise((resolveWith, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host, port }, () => server.close(() => resolveWith()));
  });
}
