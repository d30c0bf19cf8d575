/**
 * The sessions of the embedded store: records, aliases, peers, tombstones. What may happen to them is decided in
 * shared/store/ownership.ts.
 */
import type { PeerId, SessionId, SessionKey, WorkerId } from "../../../base/ids.ts";
import { decideReassert, decideResume, holderOf, nextEpoch } from "../../ownership.ts";
import {
  type CreateSession,
  type Holder,
  type PeerRecord,
  type Reassertion,
  type ResumeSession,
  type SessionRecord,
  UNOPENED_SESSION_MS,
} from "../../store.ts";
import { type Restored, recordKey, type SessionHead } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Leases } from "./leases.ts";
import type { Operations } from "./operations.ts";
import { createSweeper } from "./sweeper.ts";
import type { StoreTime } from "./time.ts";

/** Sessions and tombstones; with more, the oldest tombstone goes, and without one nothing new is recorded. */
const MAX_SESSIONS = 200_000;
/** Buried tokens of one session; with more, the one that was buried first is forgotten. */
const MAX_BURIED_PER_SESSION = 1000;

export interface Sessions
  extends Pick<
    Operations,
    | "createSession"
    | "resumeSession"
    | "reassertSession"
    | "findSession"
    | "sessionsOf"
    | "owners"
    | "releaseSession"
    | "closeSession"
    | "openSession"
    | "putPeer"
    | "removePeer"
    | "nextClock"
  > {
  /** Drops some of what has expired; call it again and again. */
  sweep(now: StoreTime): void;
  /** Takes back a record of the journal. A session comes before what belongs to it. */
  restore(record: Extract<Restored, { kind: "session" | "peer" | "left" }>): void;
  /** Every record as it stands in the journal, a session before what belongs to it. */
  entries(): Iterable<Write>;
}

/** `onOpened` is called when a session's host has come for the first time. */
export function createSessions(
  effects: Effects,
  leases: Leases,
  onOpened: (now: StoreTime) => void,
): Sessions {
  const sessions = new Map<SessionId, Session>();
  const idByAlias = new Map<SessionKey, SessionId>();
  const idsByOwner = new Map<WorkerId, Set<SessionId>>();
  const idsByUser = new Map<string, Set<SessionId>>();
  /** Tombstones, oldest first. */
  const closedIds = new Set<SessionId>();
  const sweeper = createSweeper(sessions);

  function find(now: StoreTime, id: SessionId): Session | undefined {
    const session = sessions.get(id);
    return session !== undefined && !isOver(session.head, now) ? session : undefined;
  }

  function findByKey(now: StoreTime, key: SessionKey): Session | undefined {
    const aliased = idByAlias.get(key);
    return find(now, key as SessionId) ?? (aliased && find(now, aliased));
  }

  /** The session if it is still as `holder` believes. */
  function findHeld(now: StoreTime, holder: Holder): Session | undefined {
    const session = find(now, holder.sessionId);
    if (session === undefined || session.head.state === "closed") return undefined;
    const { owner, epoch } = session.head;
    return owner === holder.owner && epoch === holder.epoch ? session : undefined;
  }

  // --- the only places where a session changes ---

  function index(head: SessionHead): void {
    if (head.alias !== undefined) idByAlias.set(head.alias, head.id);
    if (head.state === "closed") {
      closedIds.add(head.id);
    } else {
      addTo(idsByOwner, head.owner, head.id);
      addTo(idsByUser, head.userId, head.id);
    }
  }

  function unindex(head: SessionHead): void {
    if (head.alias !== undefined) idByAlias.delete(head.alias);
    closedIds.delete(head.id);
    removeFrom(idsByOwner, head.owner, head.id);
    removeFrom(idsByUser, head.userId, head.id);
  }

  function change(session: Session, head: SessionHead): void {
    unindex(session.head);
    session.head = head;
    index(head);
    effects.write(recordKey.session(head.id), head);
    effects.change({ subject: "session", sessionId: head.id });
  }

  function add(head: SessionHead): Session {
    const session = { head, peers: new Map(), left: new Map() };
    sessions.set(head.id, session);
    index(head);
    return session;
  }

  function drop(session: Session): void {
    const { id } = session.head;
    clear(session);
    unindex(session.head);
    sessions.delete(id);
    effects.write(recordKey.session(id), undefined);
    effects.change({ subject: "session", sessionId: id });
  }

  function clear(session: Session): void {
    const { id } = session.head;
    for (const peer of session.peers.keys()) effects.write(recordKey.peer(id, peer), undefined);
    for (const token of session.left.keys()) effects.write(recordKey.left(id, token), undefined);
    session.peers.clear();
    session.left.clear();
  }

  // --- create ---

  /** An alias belongs to its first session for as long as that is not closed. */
  function isAliasTaken(now: StoreTime, alias: SessionKey | undefined, by?: SessionId): boolean {
    const session = alias === undefined ? undefined : findByKey(now, alias);
    return session !== undefined && session.head.state !== "closed" && session.head.id !== by;
  }

  function freeAlias(alias: SessionKey | undefined): void {
    const id = alias === undefined ? undefined : idByAlias.get(alias);
    const session = id === undefined ? undefined : sessions.get(id);
    if (session === undefined) return;
    const { alias: _freed, ...head } = session.head;
    change(session, head);
  }

  function countOpen(now: StoreTime, userId: string): number {
    let count = 0;
    for (const id of idsByUser.get(userId) ?? []) {
      if (find(now, id) !== undefined) count++;
    }
    return count;
  }

  /** Whether there is room for one more session; a tombstone gives way. */
  function makeRoom(): boolean {
    if (sessions.size < MAX_SESSIONS) return true;
    const [oldestId] = closedIds;
    const oldest = oldestId === undefined ? undefined : sessions.get(oldestId);
    if (oldest === undefined) return false;
    drop(oldest);
    return true;
  }

  return {
    createSession(now, create) {
      if (find(now, create.sessionId) !== undefined || isAliasTaken(now, create.alias)) {
        return { outcome: "exists" };
      }
      if (countOpen(now, create.userId) >= create.maxPerUser || !makeRoom()) {
        return { outcome: "quota" };
      }
      const expired = sessions.get(create.sessionId);
      if (expired !== undefined) drop(expired);
      freeAlias(create.alias);
      const head = newHead(create, now);
      effects.write(recordKey.session(head.id), head);
      effects.change({ subject: "session", sessionId: head.id });
      return { outcome: "created", record: toRecord(add(head), now) };
    },

    resumeSession(now, resume) {
      const session = find(now, resume.sessionId);
      // Never `unsettled`: the journal is read before the first question, and no process outlives this one to know more.
      if (session === undefined) return { outcome: "unknown" };
      const { head } = session;
      const holder = holderOf(head);
      const decision = decideResume(head, resume, {
        holder: leases.leaseOf(now, holder, head.incarnation),
        claimant: leases.leaseOf(now, resume.worker, resume.incarnation),
      });
      switch (decision.verdict) {
        case "closed":
          return { outcome: "closed" };
        case "elsewhere":
          return { outcome: "elsewhere", owner: holder, epoch: head.epoch };
        case "own":
          if (decision.raise) change(session, resumedHead(head, resume, now));
          return { outcome: "owned", cause: decision.cause, record: toRecord(session, now) };
      }
    },

    reassertSession(now, told) {
      const known = find(now, told.id);
      const lease = leases.leaseOf(now, told.owner, told.incarnation);
      const verdict = decideReassert(known?.head, told, lease);
      if (verdict !== "written") return verdict;
      const isSame = known?.head.owner === told.owner && known.head.epoch === told.epoch;
      const stale = sessions.get(told.id);
      if (stale !== undefined && (!isSame || told.state === "closed")) drop(stale);
      const alias = isAliasTaken(now, told.alias, told.id) ? undefined : told.alias;
      if (alias !== undefined && idByAlias.get(alias) !== told.id) freeAlias(alias);
      const head = reassertedHead(told, alias);
      const session = sessions.get(told.id) ?? add(head);
      change(session, head);
      if (told.state === "closed") return "written";
      for (const token of told.revokedTokens) {
        session.left.set(token, told.untilMs);
        effects.write(recordKey.left(told.id, token), told.untilMs);
      }
      return "written";
    },

    findSession(now, key) {
      const session = findByKey(now, key);
      return session && toRecord(session, now);
    },

    sessionsOf(now, owner) {
      return [...(idsByOwner.get(owner) ?? [])].filter((id) => find(now, id) !== undefined);
    },

    owners(now) {
      const owners: WorkerId[] = [];
      for (const [owner, ids] of idsByOwner) {
        if ([...ids].some((id) => find(now, id) !== undefined)) owners.push(owner);
      }
      return owners;
    },

    releaseSession(now, holder, to) {
      const session = findHeld(now, holder);
      if (session === undefined) return "lost";
      const { successor: _successor, ...head } = session.head;
      change(session, { ...head, state: "released", ...(to !== undefined && { successor: to }) });
      return "done";
    },

    closeSession(now, holder, untilMs) {
      const session = findHeld(now, holder);
      if (session === undefined) return "lost";
      clear(session);
      const { successor: _successor, ...head } = session.head;
      change(session, { ...head, state: "closed", untilMs });
      return "done";
    },

    openSession(now, holder) {
      const session = findHeld(now, holder);
      if (session === undefined) return "lost";
      const { head } = session;
      if (head.opened) return "done";
      // A released one stays so: its successor is told by `opened` that the host has come.
      const state = head.state === "created" ? "open" : head.state;
      change(session, { ...head, state, opened: true });
      onOpened(now);
      return "done";
    },

    putPeer(now, holder, peer) {
      const session = findHeld(now, holder);
      if (session === undefined) return "lost";
      session.peers.set(peer.id, peer);
      effects.write(recordKey.peer(holder.sessionId, peer.id), peer);
      effects.change({ subject: "session", sessionId: holder.sessionId });
      return "done";
    },

    removePeer(now, holder, peerId, untilMs) {
      const session = findHeld(now, holder);
      if (session === undefined) return "lost";
      const peer = session.peers.get(peerId);
      if (peer === undefined) return "done";
      session.peers.delete(peerId);
      effects.write(recordKey.peer(holder.sessionId, peerId), undefined);
      session.left.set(peer.tokenId, untilMs);
      effects.write(recordKey.left(holder.sessionId, peer.tokenId), untilMs);
      forgetLeft(session, now, effects);
      effects.change({ subject: "session", sessionId: holder.sessionId });
      return "done";
    },

    nextClock(now, holder) {
      const session = findHeld(now, holder);
      if (session === undefined) return "lost";
      const clock = session.head.clock + 1;
      change(session, { ...session.head, clock });
      return clock;
    },

    sweep(now) {
      sweeper.sweep((session) => {
        if (isOver(session.head, now)) drop(session);
        else forgetLeft(session, now, effects);
      });
    },

    restore(record) {
      switch (record.kind) {
        case "session":
          add(record.head);
          break;
        // What belongs to a session that is not there was left over by a bad line, and serves nobody.
        case "peer":
          sessions.get(record.sessionId)?.peers.set(record.peer.id, record.peer);
          break;
        case "left":
          sessions.get(record.sessionId)?.left.set(record.tokenId, record.untilMs);
          break;
      }
    },

    *entries() {
      for (const { head, peers, left } of sessions.values()) {
        yield [recordKey.session(head.id), head];
        for (const peer of peers.values()) yield [recordKey.peer(head.id, peer.id), peer];
        for (const [token, untilMs] of left) yield [recordKey.left(head.id, token), untilMs];
      }
    },
  };
}

// --- heads: values in, values out ---

function newHead(create: CreateSession, now: StoreTime): SessionHead {
  return {
    id: create.sessionId,
    owner: create.owner,
    incarnation: create.incarnation,
    epoch: nextEpoch(0, now.wallMs),
    state: "created",
    userId: create.userId,
    ...(create.alias !== undefined && { alias: create.alias }),
    clock: 0,
    createdMs: now.wallMs,
    opened: false,
  };
}

function resumedHead(before: SessionHead, resume: ResumeSession, now: StoreTime): SessionHead {
  const { successor: _successor, ...head } = before;
  return {
    ...head,
    owner: resume.worker,
    incarnation: resume.incarnation,
    epoch: nextEpoch(head.epoch, now.wallMs),
    state: head.opened ? "open" : "created",
  };
}

function reassertedHead(told: Reassertion, alias: SessionKey | undefined): SessionHead {
  const { alias: _alias, revokedTokens: _buried, untilMs, ...head } = told;
  return {
    ...head,
    ...(alias !== undefined && { alias }),
    opened: told.state !== "created",
    ...(told.state === "closed" && { untilMs }),
  };
}

/** Whether the record is no longer there, although it may not have been swept yet. */
function isOver(head: SessionHead, now: StoreTime): boolean {
  if (head.state === "closed") return now.wallMs >= (head.untilMs ?? 0);
  return !head.opened && now.wallMs >= head.createdMs + UNOPENED_SESSION_MS;
}

function toRecord(session: Session, now: StoreTime): SessionRecord {
  const { opened: _opened, untilMs: _untilMs, ...head } = session.head;
  const revokedTokens: string[] = [];
  for (const [token, untilMs] of session.left) {
    if (now.wallMs < untilMs) revokedTokens.push(token);
  }
  return { ...head, peers: [...session.peers.values()], revokedTokens };
}

function forgetLeft(session: Session, now: StoreTime, effects: Effects): void {
  for (const [token, untilMs] of session.left) {
    if (now.wallMs < untilMs && session.left.size <= MAX_BURIED_PER_SESSION) continue;
    session.left.delete(token);
    effects.write(recordKey.left(session.head.id, token), undefined);
  }
}

// --- indexes ---

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

// --- types ---

interface Session {
  head: SessionHead;
  readonly peers: Map<PeerId, PeerRecord>;
  /** Tokens of peers who left, and until when they are buried. */
  readonly left: Map<string, number>;
}
