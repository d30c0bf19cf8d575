/**
 * What can be wrong with Redis, told from an error's text: a kind, a sentence for operators, and what helps. Decides
 * only.
 */

export type FaultKind =
  | "refused"
  | "unreachable"
  | "name"
  | "lost"
  | "unanswered"
  | "slow"
  | "password"
  | "rights"
  | "certificate"
  | "protocol"
  | "sentinel"
  | "replica"
  | "loading"
  | "busy"
  | "cluster"
  | "unsafe"
  | "clients"
  | "old"
  | "full"
  | "command";

export interface Fault {
  readonly kind: FaultKind;
  /** For people. Holds nothing of what was sent. */
  readonly reason: string;
  /** Whether the store as a whole is away, and not just this operation refused. */
  readonly away: boolean;
  /** Whether another connection may end elsewhere: at the new primary, or at a node that is well. */
  readonly reconnect: boolean;
  /** Nothing but an operator can help: trying often would only fill Redis's log. */
  readonly slow: boolean;
}

/** The oldest Redis with all commands and arguments that the scripts use (ZADD GT, channel rights). */
export const OLDEST_REDIS = [6, 2] as const;

/** What answers does not answer as Redis does. */
export class NotRedisError extends Error {
  constructor() {
    super("an answer that Redis does not give");
  }
}

/** What `error` says about Redis. `secrets` are taken out of what is quoted. */
export function describeFault(error: unknown, secrets: readonly string[]): Fault {
  const code = codeOf(error);
  const text = scrub(error instanceof Error ? error.message : String(error), secrets);
  const rule = RULES.find(({ match }) => match.test(code === undefined ? text : `${code} ${text}`));
  return rule === undefined ? commandFault(text) : toFault(rule, text);
}

/** What a lost connection means on which Redis has never answered. */
export function unansweredFault(lost: Fault): Fault {
  const reason = "it closed the connection before it answered; check redis:// and rediss://";
  return { ...lost, kind: "unanswered", reason };
}

/** Redis is older than `OLDEST_REDIS`. */
export function tooOldFault(version: string): Fault {
  return {
    kind: "old",
    reason: `Redis ${scrub(version, []).slice(0, 20)} is too old; ${OLDEST_REDIS.join(".")} or newer is needed`,
    away: true,
    reconnect: false,
    slow: true,
  };
}

/** Whether a version like `7.0.15` is new enough; an unknown one is given the benefit of the doubt. */
export function isNewEnough(version: string): boolean {
  const found = /^(\d+)\.(\d+)/.exec(version);
  if (found === null) return true;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  return major > OLDEST_REDIS[0] || (major === OLDEST_REDIS[0] && minor >= OLDEST_REDIS[1]);
}

// --- rules, first match wins ---

interface Rule {
  readonly kind: FaultKind;
  /** Against the code and the message. Replies begin with an upper-case word, or have it inside a script's error. */
  readonly match: RegExp;
  readonly reason: string;
  readonly away?: false;
  readonly reconnect?: true;
  readonly slow?: true;
  /** Whether Redis's own words tell more. */
  readonly quote?: true;
}

const RULES: readonly Rule[] = [
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
    match: /\bNOPERM\b/,
    reason: "the Redis user may not do what is needed; give it the rights that the manual lists",
    away: false,
    slow: true,
    quote: true,
  },
  {
    kind: "replica",
    match: /\bREADONLY\b/,
    reason: "this Redis is a read-only replica; waiting for the primary",
    reconnect: true,
  },
  {
    kind: "loading",
    match: /\b(LOADING|MASTERDOWN)\b/,
    reason: "Redis is starting and reads its data",
  },
  { kind: "busy", match: /\bBUSY\b/, reason: "Redis is busy with somebody's script" },
  {
    kind: "cluster",
    match: /\b(MOVED|ASK|CLUSTERDOWN|CROSSSLOT|TRYAGAIN)\b/,
    reason:
      "this node of a Redis cluster does not hold our keys; name the one that holds the prefix's hash tag, or use one shard",
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
    reason: "the memory of Redis is full (maxmemory); give it more",
    away: false,
  },
  {
    kind: "clients",
    match: /max number of clients/,
    reason: "Redis has as many clients as it takes (maxclients)",
  },
  { kind: "refused", match: /ECONNREFUSED|ENOENT|EACCES/, reason: "the connection was refused" },
  {
    kind: "name",
    match: /ENOTFOUND|EAI_AGAIN/,
    reason: "its name is not known to DNS",
  },
  {
    kind: "certificate",
    match: /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS_/,
    reason: "its TLS certificate is not trusted; name its authority with CT_REDIS_CA",
    slow: true,
    quote: true,
  },
  {
    kind: "protocol",
    match: /EPROTO|ERR_SSL|Protocol error/,
    reason: "it does not speak Redis with TLS; check redis:// and rediss://",
    slow: true,
  },
  {
    kind: "protocol",
    match: /an answer that Redis does not give|Command queue state error/,
    reason: "what answers there is not Redis",
    slow: true,
  },
  {
    kind: "unreachable",
    match: /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL/,
    reason: "it cannot be reached, or does not answer as redis:// or rediss:// lets expect",
  },
  {
    kind: "slow",
    match: /timed out|Socket timeout/,
    reason: "no answer in time",
    reconnect: true,
  },
  {
    kind: "lost",
    match: /ECONNRESET|EPIPE|[Cc]onnection (is )?clos|max retries|isn't writeable|MaxRetries/,
    reason: "the connection was lost",
  },
];

function toFault(rule: Rule, text: string): Fault {
  return {
    kind: rule.kind,
    reason: rule.quote === true ? `${rule.reason} (${text})` : rule.reason,
    away: rule.away ?? true,
    reconnect: rule.reconnect ?? false,
    slow: rule.slow ?? false,
  };
}

/** An error reply that only concerns what was asked. */
function commandFault(text: string): Fault {
  return { kind: "command", reason: text, away: false, reconnect: false, slow: false };
}

// --- text ---

const MAX_QUOTED_CHARS = 200;

/** Redis repeats the arguments of a command that it does not know, and `HELLO … AUTH` has the password among them. */
function scrub(text: string, secrets: readonly string[]): string {
  let clean = text.replace(/, with args beginning with:.*$/s, "");
  for (const secret of secrets) clean = clean.replaceAll(secret, "(masked)");
  return clean.length > MAX_QUOTED_CHARS ? `${clean.slice(0, MAX_QUOTED_CHARS)}…` : clean;
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
