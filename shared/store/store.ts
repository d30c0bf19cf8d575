/**
 * The contract of the store: what balancers and workers remember together. Two implementations fulfil it, Redis and an
 * embedded one for one machine; no code outside this folder knows which one it talks to, and one contract suite runs
 * against both (test/contract/store.ts).
 *
 * Every operation is atomic. Times inside the store are the store's own; processes never compare their clocks. An
 * operation rejects with `StoreAwayError` when the store cannot be reached in time; it may then have been done or not.
 */
import { EdgeError } from "../base/errors.ts";
import type { Incarnation, PeerId, SessionId, SessionKey, WorkerId } from "../base/ids.ts";
import type { MemberRecord } from "./member.ts";

export interface Store {
  readonly health: StoreHealth;
  /**
   * This end's address of the last connection that worked: others reach this machine by it. Undefined before there was
   * one, and for a store that is reached without a network (a Unix socket), which is on this machine.
   */
  readonly localAddress: string | undefined;
  /** Calls `listener` at each change between up and away. Returns the way to stop. */
  onHealth(listener: (health: StoreHealth) => void): () => void;
  /**
   * Calls `listener` soon after something changed. A hint, not a promise: changes may be missed or reported twice, so
   * whoever relies on one also asks at an interval. Returns the way to stop.
   */
  onChange(listener: (change: Change) => void): () => void;
  /** The store's time, in ms since the epoch. Also the probe that tells whether the store answers. */
  timeMs(): Promise<number>;
  close(): Promise<void>;

  // --- membership ---

  /**
   * Puts a member's record and starts its lease of `MEMBER_LEASE_MS`. Another incarnation of the same id is replaced at
   * once; its next renewal fails.
   */
  announce(member: MemberRecord): Promise<void>;
  /**
   * Extends the lease and replaces the record, only for the incarnation that holds it. `replaced`: another incarnation
   * has announced itself. `expired`: the lease ran out before; announce again.
   */
  renew(member: MemberRecord): Promise<"renewed" | "replaced" | "expired">;
  /** Takes the record out at once, if `incarnation` still holds it. */
  withdraw(id: WorkerId, incarnation: Incarnation): Promise<void>;
  /** Every member with a lease. Records that cannot be parsed are left out and counted in `ignored`. */
  members(): Promise<Membership>;
  /**
   * Elects one of all who ask for a role: the first one leads, and goes on with each call that comes within `ttlMs` of its
   * last one. A store that is not settled (see `Membership.booted`) elects nobody: it does not know who led before.
   */
  lead(role: Role, holder: WorkerId, ttlMs: number): Promise<"leading" | "following">;
  /** Gives the role back at once, if `holder` has it. */
  resign(role: Role, holder: WorkerId): Promise<void>;

  // --- sessions ---

  /**
   * Records a new session for its owner. `quota`: the user already has `maxPerUser` sessions that are not closed, or the
   * store is full. `exists`: the id was used before, or the alias belongs to another session (an alias is written once:
   * it stays with its session until that is closed or gone).
   */
  createSession(create: CreateSession): Promise<CreateOutcome>;
  /**
   * Asks for a session that this worker was asked for. Rules: shared/store/ownership.ts. A take-over raises the
   * epoch. Never creates a record.
   */
  resumeSession(resume: ResumeSession): Promise<ResumeOutcome>;
  /**
   * Tells the store what the owner of a session knows of it, after the owner's lease had run out: so a store that was
   * flushed, or that came back with an old copy, knows it again. Rules: shared/store/ownership.ts. `kept`: the store
   * knew it as it is. `written`: it did not; the peers follow with `putPeer`. `lost`: another one owns it, or it is closed.
   * An alias that belongs to another open session by now is left out.
   */
  reassertSession(reassertion: Reassertion): Promise<"kept" | "written" | "lost">;
  /** The record of a session by its id or by its alias, also of a closed one while its tombstone stands. */
  findSession(key: SessionKey): Promise<SessionRecord | undefined>;
  /** Ids of the sessions whose record names this worker as owner; closed ones are left out. */
  sessionsOf(owner: WorkerId): Promise<readonly SessionId[]>;
  /**
   * The workers for which `sessionsOf` lists something, whether they live or not: so that sessions whose owner is gone
   * can be found.
   */
  owners(): Promise<readonly WorkerId[]>;
  /**
   * Gives a session away, to `to` (which may then resume it) or to whoever asks first. `lost`, here and below: the
   * session is gone or closed, or owner or epoch are no longer what `holder` says; nothing was changed. Until somebody
   * resumes it, the one who released it still holds it: what its peers do meanwhile is recorded.
   */
  releaseSession(holder: Holder, to: WorkerId | undefined): Promise<"done" | "lost">;
  /** Ends a session for good: the record becomes a tombstone until `untilMs` (store time). */
  closeSession(holder: Holder, untilMs: number): Promise<"done" | "lost">;
  /**
   * Records that the host's socket came: from now on the session outlives its owner. The first time it is counted in
   * `HOSTED_COUNTER`.
   */
  openSession(holder: Holder): Promise<"done" | "lost">;
  /** Adds or replaces a peer. Written when a peer joins, and once more when it is settled; never for messages. */
  putPeer(holder: Holder, peer: PeerRecord): Promise<"done" | "lost">;
  /** Takes a peer out and buries its token until `untilMs` (store time), so that it cannot come back with it. */
  removePeer(holder: Holder, peer: PeerId, untilMs: number): Promise<"done" | "lost">;
  /** The next value of the session's clock (1, 2, …): distinguishes the tokens of one user who joins twice. */
  nextClock(holder: Holder): Promise<number | "lost">;

  // --- tickets: sign-ins and join requests that one process asks for and another may answer ---

  /**
   * Puts a waiting ticket that lives `ttlMs`. `group` (a session id) makes it findable with `ticketsOf`. A ticket that is
   * there already stays as it is, so a put may be repeated. In a flood the oldest tickets may go early.
   */
  putTicket(ticket: NewTicket): Promise<void>;
  readTicket(kind: TicketKind, token: string): Promise<Ticket | undefined>;
  /** Answers a waiting ticket. `gone`: unknown or expired. `answered`: somebody was faster; the first answer stays. */
  answerTicket(
    kind: TicketKind,
    token: string,
    answer: unknown,
  ): Promise<"done" | "gone" | "answered">;
  dropTicket(kind: TicketKind, token: string): Promise<void>;
  /** The waiting tickets of a group, oldest first. */
  ticketsOf(kind: TicketKind, group: string): Promise<readonly Ticket[]>;

  // --- tokens that must not be used again ---

  /** Remembers a token id until `untilMs` (wall time of the token's `exp`, in ms). */
  revokeToken(tokenId: string, untilMs: number): Promise<void>;
  isTokenRevoked(tokenId: string): Promise<boolean>;

  // --- what the edge agrees on ---

  /**
   * Keeps `proposal` under `name` unless something is kept there already, for good. Resolves with what is kept: the same
   * for everybody. Names are as those of counters; a text has at most `MAX_AGREED_CHARS` characters.
   */
  putIfAbsent(name: string, proposal: string): Promise<string>;

  // --- counters and history ---

  /** Adds to counters that outlive every process. Names are `A-Z a-z 0-9 . _ - /`, at most 200 characters. */
  addToCounters(increments: Readonly<Record<string, number>>): Promise<void>;
  /** All counters whose name starts with `prefix`. */
  readCounters(prefix: string): Promise<Record<string, number>>;
  /** Appends to the history of ownership, of which the newest `MAX_EVENTS` are kept. */
  appendEvent(event: EdgeEvent): Promise<void>;
  /** The newest `limit` events, oldest first; of one session when `sessionId` is given. */
  readEvents(query: { limit: number; sessionId?: SessionId }): Promise<readonly StoredEvent[]>;

  // --- what members tell those who watch ---

  /** Appends texts to a stream, of which the newest are kept (`STREAMS`). */
  appendToStream(stream: StreamName, texts: readonly string[]): Promise<void>;
  /**
   * Entries after the one with the id `after`, or else the newest; at most `limit`, oldest first. Ids make sense to the
   * store that gave them only; after an unknown one comes what is newer, if anything.
   */
  readStream(
    stream: StreamName,
    query: { after?: string; limit: number },
  ): Promise<readonly StreamEntry[]>;
  /** Keeps what a member says of itself for `ttlMs`, in place of what it said before. */
  report(kind: ReportKind, id: WorkerId, text: string, ttlMs: number): Promise<void>;
  /** What members have said, by id, each as long as it is kept. */
  readReports(kind: ReportKind): Promise<Readonly<Record<string, string>>>;
}

/** Lease of a member: gone this long after its last renewal. */
export const MEMBER_LEASE_MS = 5000;
/** How often a member renews its lease. */
export const HEARTBEAT_MS = 1000;
/**
 * For this long after the store was first seen empty, or was heard of again after nobody had beaten for a whole lease,
 * nothing that is missing from it is believed to be gone: its members have had no time to say what is true.
 */
export const SETTLING_MS = 8000;
/** A session whose host's socket has not come this long after its creation is dropped. */
export const UNOPENED_SESSION_MS = 60_000;
/** Characters of a text that the edge agrees on. */
export const MAX_AGREED_CHARS = 4096;
/** Counts sessions whose host has come: raised in the same moment in which the store hears of it, so never twice. */
export const HOSTED_COUNTER = "sessions.hosted";
/** Events kept in the history. */
export const MAX_EVENTS = 10_000;
/** Characters of one text of a stream: a log line is cut before, a sample of the history is far shorter. */
export const MAX_STREAM_TEXT_CHARS = 4096;
/**
 * Streams, and how many texts each keeps. `lasting`: kept over a restart of the embedded store. Logs: the newest lines of
 * all processes; history: an hour, a day, 30 days at falling resolution (DESIGN: control).
 */
export const STREAMS = {
  "log-server": { keep: 5000, lasting: false },
  "log-access": { keep: 5000, lasting: false },
  "log-error": { keep: 2000, lasting: false },
  "history-hour": { keep: 360, lasting: true },
  "history-day": { keep: 720, lasting: true },
  "history-month": { keep: 720, lasting: true },
} as const;
export type StreamName = keyof typeof STREAMS;
export const STREAM_NAMES = Object.keys(STREAMS) as [StreamName, ...StreamName[]];
/** `view`: how a process sees the edge now, for people who ask why. `usage`: who and what is on a worker. */
export const REPORT_KINDS = ["view", "usage"] as const;
export type ReportKind = (typeof REPORT_KINDS)[number];
export const MAX_REPORT_BYTES = 256 * 1024;
/** Reports of one kind; as many as there may be members. */
export const MAX_REPORTS = 1000;

/** The store could not be reached, or did not answer in time. */
export class StoreAwayError extends EdgeError {
  readonly code = "EDGE_STORE_AWAY";
  readonly source = "store";
  readonly retryable = true;
  constructor(operation: string, cause?: unknown) {
    super(`the store did not answer (${operation}); check that it runs and can be reached`, {
      cause,
    });
  }
}

// --- types ---

export type StoreHealth =
  | { readonly state: "up" }
  /** `reason` is for people: what was tried and what came of it. */
  | { readonly state: "away"; readonly reason: string };

/** What changed. `session`: its record; `ticket`: it was answered or dropped, or it is a command; `members`: who is there, or their records. */
export type Change =
  | { readonly subject: "members" }
  | { readonly subject: "session"; readonly sessionId: SessionId }
  | { readonly subject: "ticket"; readonly kind: TicketKind; readonly token: string };

export interface Membership {
  readonly members: readonly MemberRecord[];
  /** Records that were left out because they could not be parsed. */
  readonly ignored: number;
  /**
   * False while the store settles (`SETTLING_MS`): it is new, was flushed, or was away for everybody, so nothing that is
   * missing from it is believed to be gone.
   */
  readonly booted: boolean;
}

/** Who says that it owns a session: every change of a record compares owner *and* epoch. */
export interface Holder {
  readonly sessionId: SessionId;
  readonly owner: WorkerId;
  readonly epoch: number;
}

/** A session as the store remembers it: enough to go on elsewhere. Nothing of documents: they are encrypted. */
export interface SessionRecord {
  readonly id: SessionId;
  readonly owner: WorkerId;
  readonly incarnation: Incarnation;
  /** Rises with each change of owner or incarnation; at least the store's time in ms, so that it survives a flush. */
  readonly epoch: number;
  /**
   * `created`: the host's socket has not come yet. `open`: live. `released`: between two owners. `closed`: a tombstone.
   */
  readonly state: "created" | "open" | "released" | "closed";
  /** With `released`: who may resume it; undefined: anybody. */
  readonly successor?: WorkerId;
  /** Id of the user who created it, for the quota. */
  readonly userId: string;
  /** The key that the create came with, when there was one. */
  readonly alias?: SessionKey;
  readonly clock: number;
  readonly peers: readonly PeerRecord[];
  /** Ids of the tokens of peers who left; they cannot come back with them. */
  readonly revokedTokens: readonly string[];
  /** Store time in ms. */
  readonly createdMs: number;
}

/** What of a peer must survive its worker. */
export interface PeerRecord {
  readonly id: PeerId;
  readonly host: boolean;
  readonly user: UserRecord;
  /** Base64 SPKI, as the client sent it. */
  readonly publicKey: string;
  /** What the client calls itself. */
  readonly client: string;
  readonly compression: readonly string[];
  /** `jti` of its room token. */
  readonly tokenId: string;
  /** Whether it has sent a message: then its arrival need not be announced again after a take-over. */
  readonly settled: boolean;
}

export interface UserRecord {
  readonly id: string;
  readonly name: string;
  readonly email?: string;
  readonly authProvider?: string;
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

/** What an owner says of its session; see `reassertSession`. Peers are told one by one. */
export interface Reassertion extends Omit<SessionRecord, "peers" | "state" | "successor"> {
  /** `closed`: only the tombstone is put back. */
  readonly state: "created" | "open" | "closed";
  /** Until when the tokens of peers who left stay buried, and the tombstone of a closed session stands; store time. */
  readonly untilMs: number;
}

export interface ResumeSession {
  readonly sessionId: SessionId;
  readonly worker: WorkerId;
  readonly incarnation: Incarnation;
  /**
   * What the claimant knows of the owner beyond the store: its port refused a connection, or the supervisor saw its
   * process end.
   */
  readonly evidence?: "refused" | "exited";
  /** Which life of the owner that is about; without it, whichever lives now. It says nothing about a later one. */
  readonly evidenceOf?: Incarnation;
}

export type ResumeOutcome =
  /** This worker owns it now, under `record.epoch`. `cause` says why it may. */
  | {
      readonly outcome: "owned";
      readonly cause: ResumeCause;
      readonly record: SessionRecord;
    }
  /** Another worker owns it, or is its successor: answer 421 with this. */
  | { readonly outcome: "elsewhere"; readonly owner: WorkerId; readonly epoch: number }
  | { readonly outcome: "closed" }
  | { readonly outcome: "unknown" }
  /** It is not known, but the store settles and may have lost it: its owner may still say that it is there. Ask again. */
  | { readonly outcome: "unsettled" };

/**
 * `mine`: the same incarnation owned it all the time. `restarted`: the same worker in a new incarnation. `handed`: it was
 * released to this worker or to anybody. The others are take-overs: the owner's lease is gone, it lives in another
 * incarnation, its process ended, or it refuses connections and its last beat is old.
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
 * What one member at a time does for all: takes over sessions that nobody resumes, and writes the history; sends the
 * cluster's metrics.
 */
export type Role = "reaper" | "statsd";

/** `command`: what an operator asks a member to do (its group is the member's id). */
export const TICKET_KINDS = ["login", "join", "command"] as const;
export type TicketKind = (typeof TICKET_KINDS)[number];

export interface NewTicket {
  readonly kind: TicketKind;
  readonly token: string;
  /** JSON value that belongs to the question (who asks, for what); may be null. */
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

export interface StreamEntry {
  readonly id: string;
  readonly text: string;
}

/** One line of the history of ownership. */
export interface EdgeEvent {
  readonly kind: "created" | "resumed" | "released" | "closed" | "joined" | "left" | "returned";
  readonly sessionId: SessionId;
  readonly worker: WorkerId;
  readonly epoch: number;
  /** Why, in one of the field's words (`lease-gone`, `host left`, …). */
  readonly cause: string;
}

export interface StoredEvent extends EdgeEvent {
  /** Store time in ms. */
  readonly atMs: number;
}
