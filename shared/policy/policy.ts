/**
 * A policy: who may host and join sessions, within which limits. An operator writes it as a list of rules (CT_POLICY). For each
 * question the first rule decides that is for this person and says something about it.
 */

/** Questions that are answered with yes or no. */
export type Action = "host" | "join";

export interface Policy {
  readonly rules: readonly Rule[];
  /** For what no rule speaks of. */
  readonly otherwise: Readonly<Record<Action, "allow" | "deny">>;
  /** What is not wrong, but probably not meant. */
  readonly warnings: readonly string[];
}

export interface Rule {
  /** Unique; for the operator. */
  readonly name: string;
  /** Whom it is for; without conditions, everyone. */
  readonly who: Conditions;
  /** For joining: whose sessions it is about; without conditions, all. */
  readonly hosts: Conditions;
  readonly host?: "allow" | "deny";
  /** `without-asking`: the host is not asked. */
  readonly join?: "allow" | "deny" | "without-asking";
  /** For the person who is refused. */
  readonly reason?: string;
  /** A hint to our own page: it opens sessions read-only for such guests. Other clients do not know it. */
  readonly readOnly?: boolean;
  /** Of the sessions that such people host. */
  readonly limits: Limits;
  /** What clients say of themselves, and could say otherwise. */
  readonly clients: readonly ClientRequirement[];
}

/**
 * Each kind that is given must have one of the person's keys (see keys.ts). `users`: ids, or verified email addresses. `domains`:
 * of verified email addresses; `*.example.com` are those below it. `apiKeys`: names; `*` is any.
 */
export type Conditions = Readonly<Partial<Record<ConditionKind, ReadonlySet<string>>>>;

export const CONDITION_KINDS = ["users", "apiKeys", "domains", "groups", "networks"] as const;
export type ConditionKind = (typeof CONDITION_KINDS)[number];

export const LIMIT_NAMES = [
  /** People beside the host. */
  "guests",
  /** Open at the same time, for each person. */
  "sessions",
  /** A session ends that long after it began, in ms. */
  "longestMs",
  /** It ends when nobody has sent anything for that long, in ms. */
  "idleMs",
  /** It ends when its host was alone for that long, in ms. */
  "aloneMs",
] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];
export type Limits = Readonly<Partial<Record<LimitName, number>>>;

/** Clients whose name begins with `name` (in lower case) must have at least this version. */
export interface ClientRequirement {
  readonly name: string;
  readonly atLeast: readonly number[];
}

/** What is known of somebody. */
export interface Person {
  readonly id: string;
  /** In lower case; undefined: there is none that anybody has verified. */
  readonly email?: string | undefined;
  /** Undefined: the identity provider has not told, or there is none. */
  readonly groups?: ReadonlySet<string> | undefined;
  /** Name of the API key by which a program has signed in. */
  readonly apiKey?: string | undefined;
  /** Of the connection, as the trusted proxies say; undefined: not known here. */
  readonly address?: string | undefined;
  /** Whether somebody has checked who it is: an identity provider, or the operator who gave the API key. */
  readonly isVerified: boolean;
}

export type Decision =
  | { readonly outcome: "allowed"; readonly rule: string | undefined; readonly isAsked: boolean }
  | ({ readonly outcome: "denied" } & Refusal);

export interface Refusal {
  /** Undefined: what is said for everything else. */
  readonly rule: string | undefined;
  /** For the person. */
  readonly reason: string;
}
