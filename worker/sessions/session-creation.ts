/**
 * Creates sessions: mints an id that the hash ring maps to this worker and records the session, or keeps it here until
 * the store is back.
 */
import type { Clock } from "../../shared/base/clock.ts";
import {
  type Incarnation,
  newPeerId,
  newSessionId,
  type SessionId,
  type SessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import type { Ring } from "../../shared/membership/ring.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { countedAs } from "../../shared/policy/person.ts";
import type { CreateSession, SessionRecord, Store, UserRecord } from "../../shared/store/store.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";
import type { Origin } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import type { Tokens } from "../login/tokens.ts";
import type { Session } from "./session.ts";

export type Created =
  | {
      readonly outcome: "created";
      readonly sessionId: SessionId;
      readonly epoch: number;
      readonly roomToken: string;
    }
  | { readonly outcome: "quota" };

export interface CreateHow {
  /** Leads to it too, unless another open session has it. */
  readonly alias?: SessionKey | undefined;
  /** Of this user, if fewer than the settings allow. */
  readonly maxSessions?: number | undefined;
  readonly origin?: Origin;
}

/** See `Registry.create`. */
export type SessionCreation = (user: UserRecord, how?: CreateHow) => Promise<Created>;

export interface SessionCreationDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly activity: Activity;
  readonly counters: Counters;
  readonly tokens: Tokens;
  readonly settings: { readonly maxSessionsPerUser: number };
  readonly self: { readonly id: WorkerId; readonly incarnation: Incarnation };
  readonly ring: () => Ring;
  /** The sessions that are here. */
  readonly sessions: ReadonlyMap<SessionId, Session>;
  /** Adds a session to them, not started yet. */
  readonly add: (record: SessionRecord) => Session;
}

/**
 * Ids tried until the ring maps one to this worker. With 100 equal workers one in 100 does; after this many tries any id
 * is good enough, because the session's owner is recorded.
 */
const MAX_MINTED = 1000;
/** Sessions that wait for their host; each expires after 60 s. */
const MAX_UNOPENED = 5000;

export function createSessionCreation(deps: SessionCreationDeps): SessionCreation {
  const { store, clock, counters, activity, self, settings, sessions } = deps;

  async function create(
    user: UserRecord,
    { alias, maxSessions = Number.POSITIVE_INFINITY, origin = {} }: CreateHow = {},
  ): Promise<Created> {
    if (hasTooManyUnopened()) return { outcome: "quota" };
    const created = await createRecord({
      sessionId: mintId(),
      owner: self.id,
      incarnation: self.incarnation,
      ...(alias !== undefined && { alias }),
      // Without a limit of the policy nothing changes for programs that share a key.
      userId: Number.isFinite(maxSessions) ? countedAs(user) : user.id,
      maxPerUser: Math.min(settings.maxSessionsPerUser, maxSessions),
    });
    if (created === "quota") return { outcome: "quota" };
    const { record, cause } = created;
    const { id: sessionId, epoch } = record;
    sessions.get(sessionId)?.diary.created(user, origin, cause);
    const roomToken = await deps.tokens.signRoom({
      sessionId,
      clock: 0,
      peerId: newPeerId(),
      user,
      host: true,
    });
    counters.count("worker.sessions_created");
    // Who hosts it is known before somebody can come in.
    await unlessAway(activity.stored());
    return { outcome: "created", sessionId, epoch, roomToken };
  }

  function mintId(): SessionId {
    const ring = deps.ring();
    let id = newSessionId();
    for (let tries = 1; tries < MAX_MINTED && ring.first(id) !== self.id; tries++) {
      id = newSessionId();
    }
    return id;
  }

  async function createRecord(request: CreateSession): Promise<NewRecord | "quota"> {
    const created = await unlessAway(store.createSession(request));
    if (created === undefined) return createWithoutStore(request);
    if (created.outcome === "exists") {
      return createRecord({ ...withoutAlias(request), sessionId: mintId() });
    }
    if (created.outcome === "quota") return "quota";
    const session = deps.add(created.record);
    session.start();
    return { record: created.record, cause: "create" };
  }

  /** A session can start while the store is away; it is recorded once the store is back. */
  function createWithoutStore(request: CreateSession): NewRecord | "quota" {
    if (countOf(request.userId) >= request.maxPerUser) return "quota";
    const nowMs = Math.floor(clock.wallMs());
    const { maxPerUser: _, sessionId, ...requested } = request;
    const record: SessionRecord = {
      ...requested,
      id: sessionId,
      epoch: nowMs,
      state: "created",
      clock: 0,
      peers: [],
      revokedTokens: [],
      createdMs: nowMs,
    };
    const session = deps.add(record);
    session.recordLate(() => recordLate(request));
    session.start();
    return { record, cause: "store away" };
  }

  async function recordLate(request: CreateSession): Promise<number | "lost"> {
    // The session is running: a quota that is full by now cannot refuse it.
    const late = { ...request, maxPerUser: Number.MAX_SAFE_INTEGER };
    const created = await store.createSession(late);
    if (created.outcome === "created") return created.record.epoch;
    // An earlier attempt may have succeeded without its response getting here.
    const { sessionId, owner: worker, incarnation } = request;
    const resumed = await store.resumeSession({ sessionId, worker, incarnation });
    if (resumed.outcome === "owned") return resumed.record.epoch;
    if (resumed.outcome !== "unknown") return "lost";
    // Or another session has the alias by now: this one is reached by its own id.
    const again = await store.createSession(withoutAlias(late));
    return again.outcome === "created" ? again.record.epoch : "lost";
  }

  /** The quota is per user, and users cost nothing where a name is enough to sign in. */
  function hasTooManyUnopened(): boolean {
    if (sessions.size < MAX_UNOPENED) return false;
    let unopened = 0;
    for (const session of sessions.values()) if (!session.isOpen) unopened++;
    return unopened >= MAX_UNOPENED;
  }

  function countOf(userId: string): number {
    let count = 0;
    for (const session of sessions.values()) if (session.userId === userId) count++;
    return count;
  }

  return create;
}

/** With the cause in the session's history. */
interface NewRecord {
  readonly record: SessionRecord;
  readonly cause: string;
}

function withoutAlias(request: CreateSession): CreateSession {
  const { alias: _, ...rest } = request;
  return rest;
}
