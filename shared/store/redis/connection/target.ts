/**
 * Parses `CT_REDIS_URL`. It may contain passwords, so messages show neither the value nor parts of it.
 *
 *     redis://user:password@host:6379/0                     one server
 *     rediss://…                                            the same with TLS
 *     unix://user:password@/run/redis.sock?db=0             one on this machine
 *     valkey://… and valkeys://…                            the same as redis:// and rediss://
 *     redis+sentinel://user:password@host:26379,host/name?db=0&sentinel-user=…&sentinel-password=…
 *     rediss+sentinel://…                                   the same, Sentinels and servers with TLS
 *
 * User and password are percent-encoded. Omit the default user: `redis://:password@host`.
 */
import { urlHost } from "../../../net/networks.ts";
import { SettingError } from "../../../settings/read-settings.ts";

export interface RedisTarget {
  readonly at:
    | { readonly kind: "server"; readonly host: string; readonly port: number }
    | { readonly kind: "socket"; readonly path: string }
    | {
        readonly kind: "sentinels";
        readonly sentinels: readonly { readonly host: string; readonly port: number }[];
        /** The Sentinels' name of the primary. */
        readonly primary: string;
        readonly login: Login;
      };
  readonly login: Login;
  readonly db: number;
  readonly tls: boolean;
  /** For logs: the address without user and password. */
  readonly label: string;
}

interface Login {
  readonly user?: string;
  readonly password?: string;
}

const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26_379;
const MAX_DB = 65_535;
const ALLOWED =
  "redis://user:password@host:6379, rediss:// for TLS, redis+sentinel://user:password@host:26379,host:26379/name " +
  "or unix:///path, with user and password percent-encoded (@ is %40, : is %3A, / is %2F, # is %23, ? is %3F)";

/** Scheme, user and password, hosts, path, query. No part may contain the separator of the next one. */
const URL_PARTS =
  /^(redis|rediss|valkey|valkeys|redis\+sentinel|rediss\+sentinel|unix):\/\/(?:([^/@?#\s]*)@)?([^/@?#\s]*)(\/[^?#\s]*)?(?:\?([^#\s]*))?$/;

/** Throws `SettingError`, which does not show the value. */
export function parseRedisUrl(url: string): RedisTarget {
  const parts = URL_PARTS.exec(url);
  if (parts === null) throw refuse(whyNoUrl(url));
  const [, scheme = "", credentials = "", hosts = "", path = "", query = ""] = parts;
  const options = new URLSearchParams(query);
  const login = parseLogin(credentials);
  const tls = scheme.startsWith("rediss") || scheme === "valkeys";
  if (scheme === "unix") return parseSocket({ hosts, path, options, login });
  if (scheme.endsWith("+sentinel")) return parseSentinels({ hosts, path, options, login, tls });
  refuseOptions(options, []);
  const server = parseHost(hosts, DEFAULT_PORT);
  return {
    at: { kind: "server", ...server },
    login,
    db: parseDb(path.slice(1)),
    tls,
    label: labelOf(server),
  };
}

function whyNoUrl(url: string): string {
  if (/^[^/\s]+:\d+,.*=/.test(url)) {
    return "it is a connection string of another client library; use rediss://:PASSWORD@HOST:PORT";
  }
  return url.includes("#") ? "write # as %23" : "it is not a Redis URL";
}

// --- kinds of targets ---

interface Parts {
  readonly hosts: string;
  readonly path: string;
  readonly options: URLSearchParams;
  readonly login: Login;
}

function parseSocket({ hosts, path, options, login }: Parts): RedisTarget {
  refuseOptions(options, ["db"]);
  if (hosts !== "" || path.length < 2) throw refuse("a Unix socket needs an absolute path");
  const file = decode(path);
  return {
    at: { kind: "socket", path: file },
    login,
    db: parseDb(options.get("db") ?? ""),
    tls: false,
    label: file,
  };
}

function parseSentinels(parts: Parts & { readonly tls: boolean }): RedisTarget {
  const { hosts, path, options, login, tls } = parts;
  refuseOptions(options, ["db", "sentinel-user", "sentinel-password"]);
  const primary = decode(path.slice(1));
  if (!/^[\w.-]{1,128}$/.test(primary))
    throw refuse("the name of the primary must follow the hosts");
  const sentinels = hosts.split(",").map((host) => parseHost(host, DEFAULT_SENTINEL_PORT));
  const user = options.get("sentinel-user");
  const password = options.get("sentinel-password");
  const sentinelLogin = { ...(user && { user }), ...(password && { password }) };
  return {
    at: { kind: "sentinels", sentinels, primary, login: sentinelLogin },
    login,
    db: parseDb(options.get("db") ?? ""),
    tls,
    label: `${primary} of Sentinel ${sentinels.map(labelOf).join(", ")}`,
  };
}

// --- parts ---

function parseLogin(credentials: string): Login {
  const [user = "", ...rest] = credentials.split(":");
  if (rest.length > 1) throw refuse("write a colon in the password as %3A");
  const password = decode(rest[0] ?? "");
  return { ...(user !== "" && { user: decode(user) }), ...(password !== "" && { password }) };
}

function parseHost(text: string, defaultPort: number): { host: string; port: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? defaultPort);
  if (host === undefined || port < 1 || port > 65_535) throw refuse("write a host as host:port");
  return { host, port };
}

function parseDb(text: string): number {
  const db = Number(text);
  if (!/^\d{0,5}$/.test(text) || db > MAX_DB) throw refuse("the database must be a number");
  return db;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse("write a percent sign as %25");
  }
}

function refuseOptions(options: URLSearchParams, allowed: readonly string[]): void {
  for (const name of options.keys()) {
    if (allowed.includes(name)) continue;
    throw refuse(
      allowed.length === 0
        ? "it takes no options after ?"
        : `the options after ? are ${allowed.join(", ")}`,
    );
  }
}

function refuse(why: string): SettingError {
  return new SettingError(`CT_REDIS_URL=(not shown) is not allowed: ${why}; use ${ALLOWED}`);
}

function labelOf({ host, port }: { host: string; port: number }): string {
  return `${urlHost(host)}:${port}`;
}
