/**
 * Classifies errors of Redis by their text: a kind, a sentence for operators, and the cure. Pure.
 */

export interface Fault {
  readonly kind: FaultKind;
  /** For operators. Contains nothing that was sent. */
  readonly reason: string;
  /** Whether the whole store is unavailable, not just this operation refused. */
  readonly away: boolean;
  /** Whether another connection may reach the new primary or a healthy node. */
  readonly reconnect: boolean;
  /** Only an operator can help: frequent retries would fill Redis's log. */
  readonly slow: boolean;
}

/** The oldest Redis with all features that the scripts use (ZADD GT, channel permissions). */
const OLDEST_REDIS = [6, 2] as const;

/** The server does not reply as Redis does. */
export class NotRedisError extends Error {
  constructor() {
    super("a reply that Redis never sends");
  }
}

/** The connection of the error. */
export interface FaultContext {
  /** Masked in quotations. */
  readonly secrets: readonly string[];
  /** Whether we use TLS (`rediss://`). */
  readonly tls: boolean;
  /** See `aclRule`. */
  readonly aclRule: string;
}

export function describeFault(error: unknown, context: FaultContext): Fault {
  const code = codeOf(error);
  const text = scrub(error instanceof Error ? error.message : String(error), context.secrets);
  const rule = RULES.find(({ match }) => match.test(code === undefined ? text : `${code} ${text}`));
  return rule === undefined ? commandFault(text) : toFault(rule, text, context);
}

/** The fault of a connection that was lost before Redis replied at all. */
export function unansweredFault(lost: Fault, { tls }: Pick<FaultContext, "tls">): Fault {
  const reason = `it closed the connection before responding; ${schemeHint(tls)}`;
  return { ...lost, kind: "unanswered", reason };
}

function schemeHint(tls: boolean): string {
  return tls
    ? "if that port speaks no TLS, write redis:// in CT_REDIS_URL"
    : "if that port speaks TLS, write rediss:// in CT_REDIS_URL";
}

/**
 * The command that grants our user the permissions for `prefix`, and revokes none. Without a user we are the default user,
 * which others may use too: then the command creates a separate one.
 */
export function aclRule(user: string | undefined, prefix: string): string {
  const rights = `~${prefix}* &${prefix}* +@all -@admin -@dangerous`;
  return user === undefined
    ? `ACL SETUSER ct on >PASSWORD ${rights}, and name that user in CT_REDIS_URL`
    : `ACL SETUSER ${user} ${rights}`;
}

export function tooOldFault(version: string): Fault {
  return {
    kind: "old",
    reason: `Redis ${scrub(version, []).slice(0, 20)} is too old; ${OLDEST_REDIS.join(".")} or newer is needed`,
    away: true,
    reconnect: false,
    slow: true,
  };
}

/** Whether a version like `7.0.15` is new enough; an unknown format counts as new enough. */
export function isNewEnough(version: string): boolean {
  const match = /^(\d+)\.(\d+)/.exec(version);
  if (match === null) return true;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major > OLDEST_REDIS[0] || (major === OLDEST_REDIS[0] && minor >= OLDEST_REDIS[1]);
}

// --- rules, first match wins ---

interface Rule {
  readonly kind: string;
  /** Tested against code and message. Replies start with an upper-case word, or have it inside a script's error. */
  readonly match: RegExp;
  readonly reason: string;
  readonly away?: false;
  readonly reconnect?: true;
  readonly slow?: true;
  /** Whether to quote Redis's message. */
  readonly quote?: true;
  /** The cure, where it depends on the connection. */
  readonly cure?: (context: FaultContext) => string;
}

const RULES = [
  {
    kind: "password",
    match: /Sentinel .*\b(WRONGPASS|NOAUTH)\b/,
    reason:
      "a Sentinel refuses the user or the password; correct sentinel-user and sentinel-password in CT_REDIS_URL",
    slow: true,
  },
  {
    kind: "sentinel",
    match: /^no Sentinel names the primary/,
    reason: "the primary was not found",
    quote: true,
  },
  {
    kind: "password",
    match: /\b(WRONGPASS|NOAUTH)\b|invalid (username-)?password|AUTH <password>/,
    reason: "Redis refuses the user or the password; correct CT_REDIS_URL",
    slow: true,
  },
  {
    kind: "rights",
    // As a reply, and as a script error of Redis 6.2 and 7.0, and of 7.2, 8 and Valkey.
    match: /\bNOPERM\b|user executing the script can't|ACL failure in script/i,
    reason: "the Redis user lacks a permission",
    cure: (context) => `as an administrator run: ${context.aclRule}`,
    away: false,
    slow: true,
    quote: true,
  },
  {
    kind: "undeclared",
    match: /undeclared key/i,
    reason:
      "this server lets scripts use declared keys only, as Dragonfly does by default; start it with --default_lua_flags=allow-undeclared-keys",
    slow: true,
  },
  {
    kind: "protected",
    match: /\bDENIED\b.*protected mode/s,
    reason:
      "Redis is in protected mode and accepts local connections only; set a password (requirepass), or protected-mode no in a private network",
    slow: true,
  },
  {
    kind: "replica",
    match: /\bMASTERDOWN\b/,
    reason: "this Redis is a replica that has lost its primary; waiting for it",
    reconnect: true,
  },
  {
    kind: "replica",
    match: /\bREADONLY\b/,
    reason: "this Redis is a read-only replica; waiting for the primary",
    reconnect: true,
  },
  {
    kind: "loading",
    match: /\bLOADING\b/,
    reason: "Redis is starting and loading its data",
  },
  { kind: "busy", match: /\bBUSY\b/, reason: "Redis is busy with a script of another client" },
  {
    kind: "cluster",
    match: /\b(MOVED|ASK|CLUSTERDOWN|CROSSSLOT|TRYAGAIN)\b/,
    reason:
      "this node of a Redis cluster does not hold our keys; use the node that holds the hash tag of the prefix, or a single shard",
    slow: true,
  },
  {
    kind: "unsafe",
    match: /\b(MISCONF|NOREPLICAS)\b/,
    reason: "Redis refuses writes because it cannot save or replicate them",
    quote: true,
  },
  {
    kind: "full",
    match: /\bOOM\b/,
    reason: "Redis is out of memory; raise maxmemory",
    away: false,
  },
  {
    kind: "clients",
    match: /max number of clients/,
    reason: "Redis has reached its limit of clients; raise maxclients",
  },
  { kind: "refused", match: /ECONNREFUSED|ENOENT|EACCES/, reason: "the connection was refused" },
  {
    kind: "name",
    match: /ENOTFOUND|EAI_AGAIN/,
    reason: "its host name does not resolve",
  },
  {
    kind: "certificate",
    match: /CERTIFICATE_REQUIRED/,
    reason: "Redis requires client certificates, which are not supported; set tls-auth-clients no",
    slow: true,
  },
  {
    kind: "certificate",
    match: /ALTNAME/,
    reason:
      "its TLS certificate is for another host name; use a name of the certificate in CT_REDIS_URL",
    slow: true,
    quote: true,
  },
  {
    kind: "certificate",
    match: /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS_/,
    reason: "its TLS certificate is not trusted; set CT_REDIS_CA to its certificate authority",
    slow: true,
    quote: true,
  },
  {
    kind: "protocol",
    match: /EPROTO|ERR_SSL|Protocol error|Unknown RESP type/,
    reason: "it does not speak the Redis protocol over TLS",
    cure: ({ tls }) => schemeHint(tls),
    slow: true,
  },
  {
    kind: "protocol",
    match: /a reply that Redis never sends|Command queue state error/,
    reason: "the server is not Redis",
    slow: true,
  },
  {
    kind: "unreachable",
    match: /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL/,
    reason: "unreachable or not responding",
    cure: ({ tls }) => schemeHint(tls),
  },
  {
    kind: "slow",
    match: /timed out|Socket timeout/,
    reason: "no response in time",
    reconnect: true,
  },
  {
    kind: "lost",
    match: /ECONNRESET|EPIPE|[Cc]onnection (is )?clos|max retries|isn't writeable|MaxRetries/,
    reason: "the connection was lost",
  },
] as const satisfies readonly Rule[];

export type FaultKind = (typeof RULES)[number]["kind"] | "unanswered" | "old" | "command";

function toFault(rule: Rule & Pick<Fault, "kind">, text: string, context: FaultContext): Fault {
  const reason = rule.quote === true ? `${rule.reason} (${text})` : rule.reason;
  return {
    kind: rule.kind,
    reason: rule.cure === undefined ? reason : `${reason}; ${rule.cure(context)}`,
    away: rule.away ?? true,
    reconnect: rule.reconnect ?? false,
    slow: rule.slow ?? false,
  };
}

/** An error reply that concerns this operation only. */
function commandFault(text: string): Fault {
  return { kind: "command", reason: text, away: false, reconnect: false, slow: false };
}

// --- text ---

const MAX_QUOTED_CHARS = 200;

/** Redis repeats the arguments of an unknown command, and `HELLO … AUTH` contains the password. */
function scrub(text: string, secrets: readonly string[]): string {
  let clean = text.replace(/, with args beginning with:.*$/s, "");
  for (const secret of secrets) clean = clean.replaceAll(secret, "(masked)");
  return clean.length > MAX_QUOTED_CHARS ? `${clean.slice(0, MAX_QUOTED_CHARS)}…` : clean;
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
