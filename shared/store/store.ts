/**
 * The contract of the store: the state that balancers and workers share. Two implementations fulfil it, Redis and an
 * embedded one for one machine; code outside this folder does not know which one it uses, and one contract suite runs
 * against both (test/contract/store.ts).
 *
 * Every operation is atomic. Times are the store's own; processes never compare their clocks. An operation rejects with
 * `StoreAwayError` when the store is unavailable; it may have been applied or not.
 */
import { EdgeError } from "../base/errors.ts";
import type { Incarnation, SessionId, SessionKey, WorkerId } from "../base/ids.ts";
import type { MemberRecord } from "./member.ts";
import type {
  CreateSession,
  Holder,
  NewSignIn,
  NewTicket,
  NewValue,
  Reassertion,
  ReportKind,
  ResumeSession,
  Role,
  SessionChange,
  SessionRecord,
  StoredSignIn,
  TicketKind,
  ValueKind,
} from "./schemas.ts";
import type { StreamEntry, StreamName } from "./streams.ts";

export type * from "./schemas.ts";
export type { UserRecord } from "./user-record.ts";

export interface Store {
  readonly health: StoreHealth;
  /**
   * The local address of the last working connection, at which others reach this machine. Undefined before the first
   * connection, and for a store on this machine that is reached by a Unix socket.
   */
  readonly localAddress: string | undefined;
  /** Calls `listener` when the store becomes available or unavailable. Returns the function that unsubscribes. */
  onHealth(listener: (health: StoreHealth) => void): () => void;
  /**
   * Calls `listener` soon after a change. A hint only: changes may be missed or reported twice, so callers also poll.
   * Returns the function that unsubscribes.
   */
  onChange(listener: (change: Change) => void): () => void;
  /** The store's time, in ms since the epoch. Also serves as a probe of the store. */
  timeMs(): Promise<number>;
  /**
   * The same operations for work that nobody waits for. One may be sent with the next renewal of this client's lease instead of
   * at once, up to about `HEARTBEAT_MS` later, so that an idle process sends few requests. Operations that are sent at once
   * may overtake it. Without a lease nothing is deferred.
   */
  readonly deferred: Pick<Store, DeferrableOperation>;
  /** Sends what is deferred, and defers nothing from now on. Call it first when the process stops. */
  stopDeferring(): void;
  close(): Promise<void>;

  // --- membership ---

  /**
   * Writes a member's record and starts its lease of `MEMBER_LEASE_MS`. Replaces another incarnation of the same id at
   * once; the next renewal of that one fails.
   */
  announce(member: MemberRecord): Promise<void>;
  /**
   * Extends the lease and replaces the record, only for the incarnation that holds it. `replaced`: another incarnation
   * has announced itself. `expired`: the lease has expired; announce again.
   */
  renew(member: MemberRecord): Promise<"renewed" | "replaced" | "expired">;
  /** Removes the record at once, if `incarnation` still holds it. */
  withdraw(id: WorkerId, incarnation: Incarnation): Promise<void>;
  /** All members with a lease. Invalid records are omitted and counted in `ignored`. */
  members(): Promise<Membership>;
  /**
   * Elects a leader: the first caller leads, and keeps the role with each call within `ttlMs` of its last one. With 0 it
   * resigns: the role is free at once. A store that is still settling (see `Membership.booted`) elects none: it does not know
   * the leader before.
   */
  lead(role: Role, holder: WorkerId, ttlMs: number): Promise<"leading" | "following">;

  // --- sessions ---

  /**
   * Creates a session for its owner. `quota`: the user already has `maxPerUser` sessions that are not closed, or the store
   * is full. `exists`: the id is in use, or the alias belongs to another session (an alias is written once and stays with
   * its session until that is closed or gone).
   */
  createSession(create: CreateSession): Promise<CreateOutcome>;
  /** Claims a session for this worker. Rules: ownership.ts. A take-over raises the epoch. Never creates a record. */
  resumeSession(resume: ResumeSession): Promise<ResumeOutcome>;
  /**
   * Writes the owner's copy of a session after the owner's lease expired, to restore it in a store that was flushed or
   * restored from an old copy. Rules: ownership.ts. `kept`: the store has the same. `written`: the store had none or an
   * older one; the caller writes the peers next. `lost`: another worker owns it, or it is closed. Omits an
   * alias that belongs to another open session by now.
   */
  reassertSession(reassertion: Reassertion): Promise<"kept" | "written" | "lost">;
  /** The record of a session by its id or by its alias, or the tombstone of a closed one. */
  findSession(key: SessionKey): Promise<SessionRecord | undefined>;
  /** Ids of the sessions of this owner that are not closed. */
  sessionsOf(owner: WorkerId): Promise<readonly SessionId[]>;
  /** The workers that own sessions, with or without a lease: finds sessions whose owner is gone. */
  owners(): Promise<readonly WorkerId[]>;
  /**
   * Changes a session for its holder. `lost`: the session is gone or closed, or its owner or epoch differs from `holder`; nothing
   * was changed. `next-clock` resolves with the new value.
   */
  changeSession<Change extends SessionChange>(
    holder: Holder,
    change: Change,
  ): Promise<Changed<Change> | "lost">;

  // --- tickets: sign-ins, join requests and commands that one process asks and another may answer ---

  /**
   * Adds a waiting ticket for `ttlMs`. `group` (a session id) makes it findable with `ticketsOf`. An existing ticket stays
   * as it is, so the call may be repeated. In a flood the oldest tickets may be dropped early.
   */
  putTicket(ticket: NewTicket): Promise<void>;
  readTicket(kind: TicketKind, token: string): Promise<Ticket | undefined>;
  /** Answers a waiting ticket. `gone`: unknown or expired. `answered`: it has an answer already, which stays. */
  answerTicket(
    kind: TicketKind,
    token: string,
    answer: unknown,
  ): Promise<"done" | "gone" | "answered">;
  dropTicket(kind: TicketKind, token: string): Promise<void>;
  /** The waiting tickets of a group, oldest first. */
  ticketsOf(kind: TicketKind, group: string): Promise<readonly Ticket[]>;

  // --- texts by key: values that are written once, revoked ids, reports of members (`newValueSchema`) ---

  /** Resolves with the text of `agreed` that is stored now, the first one for all callers; of other kinds with an empty one. */
  put(value: NewValue): Promise<string>;
  /** The text, unless it has expired; of `revoked` an empty one. */
  get(kind: ValueKind, key: string): Promise<string | undefined>;
  /** All reports that have not expired, by member id. */
  list(kind: ReportKind): Promise<Readonly<Record<string, string>>>;

  // --- sign-ins at identity providers ---

  /**
   * Writes a sign-in. `stale`: it has ended, or the store has this revision or a later one; nothing was changed. In a flood
   * old ones are dropped early.
   */
  putSignIn(signIn: NewSignIn): Promise<"done" | "stale">;
  /**
   * At most `limit` sign-ins whose check is due. Each is due again `leaseMs` later, so that only the caller checks it
   * meanwhile.
   */
  claimDueSignIns(limit: number, leaseMs: number): Promise<readonly StoredSignIn[]>;
  /** The sign-in with this id, or those with this key; at most `MAX_SIGN_INS_OF_KEY`. Without those that have ended. */
  findSignIns(by: SignInQuery): Promise<readonly StoredSignIn[]>;
  /** Removes a sign-in, and revokes its id, so that it is not written again. With 0 it is only removed. */
  endSignIn(id: string, untilMs: number): Promise<void>;

  // --- counters and streams ---

  /** Adds to counters that outlive every process. Names are `A-Z a-z 0-9 . _ - /`, at most 200 characters. */
  addToCounters(increments: Readonly<Record<string, number>>): Promise<void>;
  /** All counters whose name starts with `prefix`. */
  readCounters(prefix: string): Promise<Record<string, number>>;
  /** Appends texts to a stream, which keeps the newest (`STREAMS`). */
  appendToStream(stream: StreamName, texts: readonly string[]): Promise<void>;
  /**
   * Entries after the id `after`, or else the newest; at most `limit`, oldest first. Ids belong to the store that issued
   * them; an unknown `after` yields the newer entries.
   */
  readStream(
    stream: StreamName,
    query: { after?: string; limit: number },
  ): Promise<readonly StreamEntry[]>;
}

/** A member's lease expires this long after its last renewal. */
export const MEMBER_LEASE_MS = 5000;
/** Interval of lease renewals. */
export const HEARTBEAT_MS = 1000;
/**
 * For this long after the store was first seen empty, or came back after a whole lease without any heartbeat, missing
 * records do not count as gone: members have had no time to write them again.
 */
export const SETTLING_MS = 8000;
/** A session whose host has not connected this long after its creation is dropped. */
export const UNOPENED_SESSION_MS = 60_000;
/** Counts sessions whose host has connected. Raised atomically with the change `open`, so never twice. */
export const HOSTED_COUNTER = "sessions.hosted";
/** Of one key: one person has some, one for each device. */
export const MAX_SIGN_INS_OF_KEY = 1000;
/** Reports of one kind; as many as the largest number of members. */
export const MAX_REPORTS = 1000;

/** The store is unreachable, or did not respond in time. */
export class StoreAwayError extends EdgeError {
  readonly code = "EDGE_STORE_AWAY";
  constructor(operation: string, cause?: unknown) {
    super(`the store did not answer (${operation}); check that it runs and can be reached`, {
      cause,
    });
  }
}

/**
 * The store accepts no new records, because its memory is full. Operations that need no memory still work: leases,
 * take-overs, releases, closes. Most callers treat it like a store that is away.
 */
export class StoreFullError extends StoreAwayError {
  constructor(operation: string) {
    super(operation);
    this.message = `the store is full and refused ${operation}; raise maxmemory in Redis`;
  }
}

// --- types ---

export const DEFERRABLE_OPERATIONS = [
  "timeMs",
  "members",
  "lead",
  "sessionsOf",
  "owners",
  "ticketsOf",
  "put",
  "list",
  "claimDueSignIns",
  "readCounters",
  "appendToStream",
  "readStream",
] as const;
type DeferrableOperation = (typeof DEFERRABLE_OPERATIONS)[number];

/** What a part that defers some of its operations needs of the store for them. */
export interface Deferring<Name extends DeferrableOperation> {
  readonly deferred: Pick<Store, Name>;
}

export type StoreHealth =
  | { readonly state: "up" }
  /** `reason` is for operators: what was tried, and the result. */
  | { readonly state: "away"; readonly reason: string };

/** `session`: its record changed. `ticket`: it was answered or dropped, or it is a command. `members`: the set or a record. */
export type Change =
  | { readonly subject: "members" }
  | { readonly subject: "session"; readonly sessionId: SessionId }
  | { readonly subject: "ticket"; readonly kind: TicketKind; readonly token: string };

export interface Membership {
  readonly members: readonly MemberRecord[];
  /** Invalid records, which were omitted. */
  readonly ignored: number;
  /** False while the store settles (`SETTLING_MS`): missing members do not count as gone. */
  readonly booted: boolean;
}

/** The result of a change that was made. */
export type Changed<Change extends SessionChange> = Change extends { readonly kind: "next-clock" }
  ? number
  : "done";

type CreateOutcome =
  | { readonly outcome: "created"; readonly record: SessionRecord }
  | { readonly outcome: "quota" }
  | { readonly outcome: "exists" };

export type ResumeOutcome =
  /** This worker owns it now, under `record.epoch`. */
  | {
      readonly outcome: "owned";
      readonly cause: ResumeCause;
      readonly record: SessionRecord;
    }
  /** Another worker owns it or is its successor: respond 421 with this. */
  | { readonly outcome: "elsewhere"; readonly owner: WorkerId; readonly epoch: number }
  | { readonly outcome: "closed" }
  | { readonly outcome: "unknown" }
  /** Not found, but the store is settling and may have lost it: its owner may still restore it. Retry. */
  | { readonly outcome: "unsettled" };

/**
 * `mine`: this incarnation owned it already. `restarted`: the same worker in a new incarnation. `handed`: it was released to
 * this worker or to any. The others are take-overs: the owner's lease is gone, its id has a new incarnation, its process
 * exited, or it refuses connections and its last heartbeat is old.
 */
export const RESUME_CAUSES = [
  "mine",
  "restarted",
  "handed",
  "lease-gone",
  "replaced",
  "exited",
  "refused",
] as const;
export type ResumeCause = (typeof RESUME_CAUSES)[number];

export type Ticket =
  | { readonly state: "waiting"; readonly token: string; readonly question: unknown }
  | {
      readonly state: "answered";
      readonly token: string;
      readonly question: unknown;
      readonly answer: unknown;
    };

export type SignInQuery = { readonly id: string } | { readonly key: string };
