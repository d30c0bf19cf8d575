/**
 * The contract of the store: the state that balancers and workers share. Two implementations fulfil it, Redis and an
 * embedded one for one machine; code outside this folder does not know which one it uses, and one contract suite runs
 * against both (test/contract/store.ts).
 *
 * Every operation is atomic. Times are the store's own; processes never compare their clocks. An operation rejects with
 * `StoreAwayError` when the store is unavailable; it may have been applied or not.
 */
import { EdgeError } from "../base/errors.ts";
import type { Incarnation, PeerId, SessionId, SessionKey, WorkerId } from "../base/ids.ts";
import type { MemberRecord } from "./member.ts";
import type { Role } from "./roles.ts";
import type { StreamEntry, StreamName } from "./streams.ts";
import type { UserRecord } from "./user-record.ts";

export { ROLES, type Role } from "./roles.ts";
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
   * Elects a leader: the first caller leads, and keeps the role with each call within `ttlMs` of its last one. A store that
   * is still settling (see `Membership.booted`) elects none: it does not know the leader before.
   */
  lead(role: Role, holder: WorkerId, ttlMs: number): Promise<"leading" | "following">;
  /** Releases the role at once, if `holder` has it. */
  resign(role: Role, holder: WorkerId): Promise<void>;

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
   * older one; the caller writes the peers next, with `putPeer`. `lost`: another worker owns it, or it is closed. Omits an
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
   * Releases a session to the successor `to`, or to the first worker that resumes it. `lost`, here and below: the session is
   * gone or closed, or its owner or epoch differs from `holder`; nothing was changed. Until it is resumed, the releasing
   * worker still holds it and may record changes of its peers.
   */
  releaseSession(holder: Holder, to: WorkerId | undefined): Promise<"done" | "lost">;
  /** Closes a session: its record becomes a tombstone until `untilMs` (store time). */
  closeSession(holder: Holder, untilMs: number): Promise<"done" | "lost">;
  /** Records that the host has connected: from then on the session outlives its owner. Counts once in `HOSTED_COUNTER`. */
  openSession(holder: Holder): Promise<"done" | "lost">;
  /** Records whether new guests are refused. */
  lockSession(holder: Holder, isLocked: boolean): Promise<"done" | "lost">;
  /** Adds or replaces a peer. Called when a peer joins and when it is settled, never for messages. */
  putPeer(holder: Holder, peer: PeerRecord): Promise<"done" | "lost">;
  /** Removes a peer and revokes its token until `untilMs` (store time), so that it cannot rejoin with it. */
  removePeer(holder: Holder, peer: PeerId, untilMs: number): Promise<"done" | "lost">;
  /** The next value of the session's clock (1, 2, …), which distinguishes the tokens of a user who joins twice. */
  nextClock(holder: Holder): Promise<number | "lost">;

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

  // --- revoked tokens ---

  /** Revokes a token id until `untilMs` (the token's `exp` as wall time in ms). */
  revokeToken(tokenId: string, untilMs: number): Promise<void>;
  isTokenRevoked(tokenId: string): Promise<boolean>;

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
  findSignIn(id: string): Promise<StoredSignIn | undefined>;
  /** The sign-ins with this key that have not ended; at most `MAX_SIGN_INS_OF_KEY`. */
  signInsOf(key: string): Promise<readonly StoredSignIn[]>;
  /**
   * Removes a sign-in, and revokes its id as `revokeToken` does, so that it is not written again. With 0 it is only removed.
   */
  endSignIn(id: string, untilMs: number): Promise<void>;

  // --- values that are written once ---

  /**
   * Stores `proposal` under `name`, without expiry, unless a value is stored there. Resolves with the stored value, the same
   * for all callers. Names are like those of counters; a value has at most `MAX_AGREED_CHARS` characters.
   */
  putIfAbsent(name: string, proposal: string): Promise<string>;

  // --- counters and history ---

  /** Adds to counters that outlive every process. Names are `A-Z a-z 0-9 . _ - /`, at most 200 characters. */
  addToCounters(increments: Readonly<Record<string, number>>): Promise<void>;
  /** All counters whose name starts with `prefix`. */
  readCounters(prefix: string): Promise<Record<string, number>>;
  /** Appends to the history of ownership, which keeps the newest `MAX_EVENTS`. */
  appendEvent(event: EdgeEvent): Promise<void>;
  /** The newest `limit` events, oldest first; of one session when `sessionId` is given. */
  readEvents(query: { limit: number; sessionId?: SessionId }): Promise<readonly StoredEvent[]>;

  // --- streams and reports of members ---

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
  /** Replaces a member's report of this kind; it expires after `ttlMs`. */
  report(kind: ReportKind, id: WorkerId, text: string, ttlMs: number): Promise<void>;
  /** The reports that have not expired, by member id. */
  readReports(kind: ReportKind): Promise<Readonly<Record<string, string>>>;
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
/** Characters of a value of `putIfAbsent`. */
export const MAX_AGREED_CHARS = 4096;
/** Counts sessions whose host has connected. Raised atomically with `openSession`, so never twice. */
export const HOSTED_COUNTER = "sessions.hosted";
/** Events that the history keeps. */
export const MAX_EVENTS = 10_000;
/** Keys by which a sign-in is found. */
export const MAX_SIGN_IN_KEYS = 4;
/** Of one key: one person has some, one for each device. */
export const MAX_SIGN_INS_OF_KEY = 1000;
/** `view`: how a process sees the edge, for `ct-edge explain`. `usage`: a worker's people, sessions and connections. */
export const REPORT_KINDS = ["view", "usage"] as const;
export type ReportKind = (typeof REPORT_KINDS)[number];
export const MAX_REPORT_BYTES = 256 * 1024;
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

/** Ignores a store that is away: the work is done when it is back. */
export async function unlessAway(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof StoreAwayError)) throw error;
  }
}

// --- types ---

export type DeferrableOperation =
  | "timeMs"
  | "members"
  | "lead"
  | "sessionsOf"
  | "owners"
  | "ticketsOf"
  | "claimDueSignIns"
  | "readCounters"
  | "appendToStream"
  | "readStream"
  | "report"
  | "readReports";

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

/** The claim to own a session: every change of a record compares owner *and* epoch. */
export interface Holder {
  readonly sessionId: SessionId;
  readonly owner: WorkerId;
  readonly epoch: number;
}

/** A session in the store: enough for another worker to take over. Documents are not stored; they are encrypted. */
export interface SessionRecord {
  readonly id: SessionId;
  readonly owner: WorkerId;
  readonly incarnation: Incarnation;
  /** Rises with each change of owner or incarnation. At least the store's time in ms, so that it rises over a flush too. */
  readonly epoch: number;
  /**
   * `created`: the host has not connected yet. `open`: live. `released`: between two owners. `closed`: a tombstone.
   */
  readonly state: "created" | "open" | "released" | "closed";
  /** With `released`: the worker that may resume it; undefined: any worker. */
  readonly successor?: WorkerId;
  /** The user who created it, for the quota. */
  readonly userId: string;
  /** The session key of the create request, if it had one. */
  readonly alias?: SessionKey;
  readonly clock: number;
  readonly peers: readonly PeerRecord[];
  /** Token ids of peers who left, who cannot rejoin with them. */
  readonly revokedTokens: readonly string[];
  /** Store time in ms. */
  readonly createdMs: number;
  /** An operator lets no new guests in. */
  readonly locked?: true;
}

/** The part of a peer that outlives its worker. */
export interface PeerRecord {
  readonly id: PeerId;
  readonly host: boolean;
  readonly user: UserRecord;
  /** Base64 SPKI, as the client sent it. */
  readonly publicKey: string;
  /** Name and version of the client program. */
  readonly client: string;
  readonly compression: readonly string[];
  /** `jti` of its room token. */
  readonly tokenId: string;
  /** Whether it has sent a message: then a take-over does not announce it again. */
  readonly settled: boolean;
}

export interface CreateSession {
  readonly sessionId: SessionId;
  readonly owner: WorkerId;
  readonly incarnation: Incarnation;
  readonly alias?: SessionKey;
  readonly userId: string;
  readonly maxPerUser: number;
}

export type CreateOutcome =
  | { readonly outcome: "created"; readonly record: SessionRecord }
  | { readonly outcome: "quota" }
  | { readonly outcome: "exists" };

/** An owner's copy of its session; see `reassertSession`. Peers are written one by one. */
export interface Reassertion extends Omit<SessionRecord, "peers" | "state" | "successor"> {
  /** `closed`: restores only the tombstone. */
  readonly state: "created" | "open" | "closed";
  /** Expiry of the revoked tokens, and of the tombstone of a closed session; store time. */
  readonly untilMs: number;
}

export interface ResumeSession {
  readonly sessionId: SessionId;
  readonly worker: WorkerId;
  readonly incarnation: Incarnation;
  /** What the claimant has seen of the owner: its port refused a connection, or its process exited. */
  readonly evidence?: "refused" | "exited";
  /** The owner's incarnation that the evidence is about; by default the present one. Does not count against a later one. */
  readonly evidenceOf?: Incarnation;
}

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
export type ResumeCause =
  | "mine"
  | "restarted"
  | "handed"
  | "lease-gone"
  | "replaced"
  | "exited"
  | "refused";

/**
 * `login`: a client polls for its user's token. `web-login`: that user is at an identity provider. `command`: an operator's
 * command to a member, whose id is the group. `acme`: the response to a challenge of a certificate authority.
 */
export const TICKET_KINDS = ["login", "join", "command", "web-login", "acme"] as const;
export type TicketKind = (typeof TICKET_KINDS)[number];

export interface NewTicket {
  readonly kind: TicketKind;
  readonly token: string;
  /** Any JSON value: who asks, for what. */
  readonly question: unknown;
  readonly group?: string;
  readonly ttlMs: number;
}

export type Ticket =
  | { readonly state: "waiting"; readonly token: string; readonly question: unknown }
  | {
      readonly state: "answered";
      readonly token: string;
      readonly question: unknown;
      readonly answer: unknown;
    };

export interface StoredSignIn {
  readonly id: string;
  /** Rises with each write. */
  readonly revision: number;
  /** By which it is found: short, and without secrets. */
  readonly keys: readonly string[];
  /** Any JSON value. */
  readonly data: unknown;
}

export interface NewSignIn extends StoredSignIn {
  /** Undefined: it is never due. */
  readonly dueInMs?: number;
  readonly ttlMs: number;
}

/** One line of the history of ownership. */
export interface EdgeEvent {
  readonly kind: "created" | "resumed" | "released" | "closed" | "joined" | "left" | "returned";
  readonly sessionId: SessionId;
  readonly worker: WorkerId;
  readonly epoch: number;
  /** The reason: `lease-gone`, `host left`, … */
  readonly cause: string;
}

export interface StoredEvent extends EdgeEvent {
  /** Store time in ms. */
  readonly atMs: number;
}
