/**
 * The sessions in the memory of the embedded store, with their indexes. All changes of a session go through here, so that
 * indexes, journal and change feed agree. Expired sessions are not found, also before they are swept.
 */
import type { PeerId, SessionId, SessionKey, WorkerId } from "../../../base/ids.ts";
import type { Holder, PeerRecord, SessionHead } from "../../schemas.ts";
import { UNOPENED_SESSION_MS } from "../../store.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { StoreTime } from "./operations.ts";
import { createSweeper } from "./table.ts";

/** Sessions and tombstones; beyond it the oldest tombstone is dropped, and without one no session is created. */
const MAX_SESSIONS = 200_000;
/** Revoked tokens of one session; beyond it the oldest is dropped. */
const MAX_REVOKED_PER_SESSION = 1000;

export interface Session {
  head: SessionHead;
  readonly peers: Map<PeerId, PeerRecord>;
  /** Revoked tokens of peers who left, and their expiry. */
  readonly left: Map<string, number>;
}

export type SessionTable = ReturnType<typeof createSessionTable>;

export function createSessionTable(effects: Effects) {
  const sessions = new Map<SessionId, Session>();
  const indexes = createIndexes();
  const sweeper = createSweeper(sessions);

  function find(now: StoreTime, id: SessionId): Session | undefined {
    const session = sessions.get(id);
    return session !== undefined && !isExpired(session.head, now) ? session : undefined;
  }

  /** By id, else by alias. */
  function findByKey(now: StoreTime, key: SessionKey): Session | undefined {
    const aliased = indexes.byAlias.get(key);
    return find(now, key as SessionId) ?? (aliased && find(now, aliased));
  }

  function openIds(now: StoreTime, ids: ReadonlySet<SessionId> | undefined): SessionId[] {
    return [...(ids ?? [])].filter((id) => find(now, id) !== undefined);
  }

  function add(head: SessionHead): Session {
    const session = { head, peers: new Map(), left: new Map() };
    sessions.set(head.id, session);
    indexes.add(head);
    return session;
  }

  /** Adds a session, or replaces its head; peers and tokens stay. */
  function put(head: SessionHead): Session {
    const session = sessions.get(head.id) ?? add(head);
    indexes.remove(session.head);
    session.head = head;
    indexes.add(head);
    effects.write(recordKey("session", head.id), head);
    effects.change({ subject: "session", sessionId: head.id });
    return session;
  }

  /** Removes a session, also an expired one, with its peers and tokens. */
  function drop(id: SessionId): void {
    const session = sessions.get(id);
    if (session === undefined) return;
    clearParts(session, effects);
    indexes.remove(session.head);
    sessions.delete(id);
    effects.write(recordKey("session", id), undefined);
    effects.change({ subject: "session", sessionId: id });
  }

  function revoke({ head, left }: Session, tokenId: string, untilMs: number): void {
    left.set(tokenId, untilMs);
    effects.write(recordKey("left", head.id, tokenId), untilMs);
  }

  /** All records, as journalled, each session before its peers and tokens. */
  function* entries(): Iterable<Write> {
    for (const session of sessions.values()) yield* entriesOf(session);
  }

  return {
    find,
    findByKey,
    /** The session, if it is open and owner and epoch are those of `holder`. */
    findHeld(now: StoreTime, holder: Holder): Session | undefined {
      const session = find(now, holder.sessionId);
      if (session === undefined || session.head.state === "closed") return undefined;
      const { owner, epoch } = session.head;
      return owner === holder.owner && epoch === holder.epoch ? session : undefined;
    },
    openIdsOf: (now: StoreTime, owner: WorkerId) => openIds(now, indexes.byOwner.get(owner)),
    owners: (now: StoreTime) =>
      [...indexes.byOwner].flatMap(([owner, ids]) =>
        [...ids].some((id) => find(now, id) !== undefined) ? owner : [],
      ),
    countOpen: (now: StoreTime, userId: string) => openIds(now, indexes.byUser.get(userId)).length,
    /** Whether one more session fits; drops a tombstone for it if need be. */
    makeRoom(): boolean {
      if (sessions.size < MAX_SESSIONS) return true;
      const [oldest] = indexes.closed;
      if (oldest === undefined) return false;
      drop(oldest);
      return true;
    },
    /** Takes `alias` from the session that has it, unless that is `by`. */
    freeAlias(alias: SessionKey | undefined, by: SessionId): void {
      const id = alias === undefined ? undefined : indexes.byAlias.get(alias);
      const session = id === undefined || id === by ? undefined : sessions.get(id);
      if (session === undefined) return;
      const { alias: _freed, ...head } = session.head;
      put(head);
    },
    put,
    drop,
    putPeer({ head: { id }, peers }: Session, peer: PeerRecord): void {
      peers.set(peer.id, peer);
      effects.write(recordKey("peer", id, peer.id), peer);
      effects.change({ subject: "session", sessionId: id });
    },
    /** Removes a peer and revokes its token. */
    removePeer(session: Session, peer: PeerRecord, now: StoreTime, untilMs: number): void {
      const { id } = session.head;
      session.peers.delete(peer.id);
      effects.write(recordKey("peer", id, peer.id), undefined);
      revoke(session, peer.tokenId, untilMs);
      dropExpiredTokens(session, now, effects);
      effects.change({ subject: "session", sessionId: id });
    },
    revoke,
    /** Removes all peers and revoked tokens. */
    clear: (session: Session) => clearParts(session, effects),
    /** Drops some expired sessions and tokens; call it periodically. */
    sweep: (now: StoreTime): void => {
      sweeper.sweep((session) => {
        if (isExpired(session.head, now)) drop(session.head.id);
        else dropExpiredTokens(session, now, effects);
      });
    },
    /** Restores a record of the journal. A session comes before its peers and tokens. */
    restore: (record: Restored<"session" | "peer" | "left">): void => {
      if (record.kind === "session") {
        add(record.value);
        return;
      }
      const [id, tokenId] = record.ids;
      // Missing after a corrupt line: then its parts are of no use.
      const session = sessions.get(id);
      if (record.kind === "peer") session?.peers.set(record.value.id, record.value);
      else session?.left.set(tokenId, record.value);
    },
    entries,
  };
}

function* entriesOf({ head, peers, left }: Session): Iterable<Write> {
  yield [recordKey("session", head.id), head];
  for (const peer of peers.values()) yield [recordKey("peer", head.id, peer.id), peer];
  for (const [token, untilMs] of left) yield [recordKey("left", head.id, token), untilMs];
}

function clearParts({ head: { id }, peers, left }: Session, effects: Effects): void {
  for (const peer of peers.keys()) effects.write(recordKey("peer", id, peer), undefined);
  for (const token of left.keys()) effects.write(recordKey("left", id, token), undefined);
  peers.clear();
  left.clear();
}

function dropExpiredTokens({ head, left }: Session, now: StoreTime, effects: Effects): void {
  for (const [token, untilMs] of left) {
    if (now.wallMs < untilMs && left.size <= MAX_REVOKED_PER_SESSION) continue;
    left.delete(token);
    effects.write(recordKey("left", head.id, token), undefined);
  }
}

function isExpired(head: SessionHead, now: StoreTime): boolean {
  if (head.state === "closed") return now.wallMs >= (head.untilMs ?? 0);
  return !head.opened && now.wallMs >= head.createdMs + UNOPENED_SESSION_MS;
}

// --- indexes ---

function createIndexes() {
  const byAlias = new Map<SessionKey, SessionId>();
  const byOwner = new Map<WorkerId, Set<SessionId>>();
  const byUser = new Map<string, Set<SessionId>>();
  /** Tombstones, oldest first. */
  const closed = new Set<SessionId>();

  return {
    byAlias,
    byOwner,
    byUser,
    closed,
    add({ id, alias, state, owner, userId }: SessionHead): void {
      if (alias !== undefined) byAlias.set(alias, id);
      if (state === "closed") {
        closed.add(id);
        return;
      }
      addTo(byOwner, owner, id);
      addTo(byUser, userId, id);
    },
    remove({ id, alias, owner, userId }: SessionHead): void {
      if (alias !== undefined) byAlias.delete(alias);
      closed.delete(id);
      removeFrom(byOwner, owner, id);
      removeFrom(byUser, userId, id);
    },
  };
}

function addTo<K>(index: Map<K, Set<SessionId>>, key: K, id: SessionId): void {
  const ids = index.get(key);
  if (ids === undefined) index.set(key, new Set([id]));
  else ids.add(id);
}

function removeFrom<K>(index: Map<K, Set<SessionId>>, key: K, id: SessionId): void {
  const ids = index.get(key);
  if (ids === undefined) return;
  ids.delete(id);
  if (ids.size === 0) index.delete(key);
}
