/**
 * The session operations of the embedded store. ownership.ts decides who may own a session; session-table.ts holds them.
 */
import type { SessionId, SessionKey } from "../../../base/ids.ts";
import { decideReassert, decideResume, holderOf, nextEpoch } from "../../ownership.ts";
import type {
  CreateSession,
  Holder,
  Reassertion,
  ResumeSession,
  SessionRecord,
} from "../../store.ts";
import type { SessionHead } from "../format/records.ts";
import type { Effects } from "./effects.ts";
import type { Leases } from "./leases.ts";
import type { Operations } from "./operations.ts";
import { createSessionTable, type Session, type SessionTable } from "./session-table.ts";
import type { StoreTime } from "./time.ts";

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
      | "lockSession"
      | "putPeer"
      | "removePeer"
      | "nextClock"
    >,
    Pick<SessionTable, "sweep" | "restore" | "entries"> {}

/** `onOpened` is called when a session's host connects for the first time. */
export function createSessions(
  effects: Effects,
  leases: Leases,
  onOpened: (now: StoreTime) => void,
): Sessions {
  const table = createSessionTable(effects);

  /** Changes the session only if `holder` still holds it. */
  function changeHeld(
    now: StoreTime,
    holder: Holder,
    change: (session: Session) => void,
  ): "done" | "lost" {
    const session = table.findHeld(now, holder);
    if (session === undefined) return "lost";
    change(session);
    return "done";
  }

  return {
    createSession(now, create) {
      const { sessionId: id, alias } = create;
      if (table.find(now, id) !== undefined || isAliasTaken(table, now, alias, id)) {
        return { outcome: "exists" };
      }
      if (table.countOpen(now, create.userId) >= create.maxPerUser || !table.makeRoom()) {
        return { outcome: "quota" };
      }
      // An expired one may still be there.
      table.drop(id);
      table.freeAlias(alias, id);
      return { outcome: "created", record: toRecord(table.put(newHead(create, now)), now) };
    },

    resumeSession(now, resume) {
      const session = table.find(now, resume.sessionId);
      // Never `unsettled`: the journal is read before the first request.
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
          if (decision.raise) table.put(resumedHead(head, resume, now));
          return { outcome: "owned", cause: decision.cause, record: toRecord(session, now) };
      }
    },

    reassertSession(now, asserted) {
      const stored = table.find(now, asserted.id)?.head;
      const lease = leases.leaseOf(now, asserted.owner, asserted.incarnation);
      const outcome = decideReassert(stored, asserted, lease);
      if (outcome === "written") reassert(table, now, asserted, stored);
      return outcome;
    },

    findSession(now, key) {
      const session = table.findByKey(now, key);
      return session && toRecord(session, now);
    },

    sessionsOf: table.openIdsOf,
    owners: table.owners,

    releaseSession(now, holder, to) {
      return changeHeld(now, holder, (session) => {
        const { successor: _successor, ...head } = session.head;
        table.put({ ...head, state: "released", ...(to !== undefined && { successor: to }) });
      });
    },

    closeSession(now, holder, untilMs) {
      return changeHeld(now, holder, (session) => {
        table.clear(session);
        const { successor: _successor, ...head } = session.head;
        table.put({ ...head, state: "closed", untilMs });
      });
    },

    openSession(now, holder) {
      return changeHeld(now, holder, ({ head }) => {
        if (head.opened) return;
        // A released one stays so: `opened` tells its successor that the host has connected.
        const state = head.state === "created" ? "open" : head.state;
        table.put({ ...head, state, opened: true });
        onOpened(now);
      });
    },

    lockSession(now, holder, isLocked) {
      return changeHeld(now, holder, ({ head: { locked: _locked, ...head } }) => {
        table.put({ ...head, ...(isLocked && { locked: true }) });
      });
    },

    putPeer(now, holder, peer) {
      return changeHeld(now, holder, (session) => table.putPeer(session, peer));
    },

    removePeer(now, holder, peerId, untilMs) {
      return changeHeld(now, holder, (session) => {
        const peer = session.peers.get(peerId);
        if (peer !== undefined) table.removePeer(session, peer, now, untilMs);
      });
    },

    nextClock(now, holder) {
      const session = table.findHeld(now, holder);
      if (session === undefined) return "lost";
      const clock = session.head.clock + 1;
      table.put({ ...session.head, clock });
      return clock;
    },

    sweep: table.sweep,
    restore: table.restore,
    entries: table.entries,
  };
}

/** Another open session has the alias: it belongs to its first session until that is closed. */
function isAliasTaken(
  table: SessionTable,
  now: StoreTime,
  alias: SessionKey | undefined,
  by: SessionId,
): boolean {
  const head = alias === undefined ? undefined : table.findByKey(now, alias)?.head;
  return head !== undefined && head.state !== "closed" && head.id !== by;
}

/** Replaces what the store has by the owner's copy. Peers stay only when owner and epoch are the same. */
function reassert(
  table: SessionTable,
  now: StoreTime,
  asserted: Reassertion,
  stored: SessionHead | undefined,
): void {
  const { id, state, untilMs } = asserted;
  const isSame = stored?.owner === asserted.owner && stored.epoch === asserted.epoch;
  if (!isSame || state === "closed") table.drop(id);
  const alias = isAliasTaken(table, now, asserted.alias, id) ? undefined : asserted.alias;
  table.freeAlias(alias, id);
  const session = table.put(reassertedHead(asserted, alias));
  if (state === "closed") return;
  for (const token of asserted.revokedTokens) table.revoke(session, token, untilMs);
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

function reassertedHead(asserted: Reassertion, alias: SessionKey | undefined): SessionHead {
  const { alias: _alias, revokedTokens: _tokens, untilMs, ...head } = asserted;
  return {
    ...head,
    ...(alias !== undefined && { alias }),
    opened: asserted.state !== "created",
    ...(asserted.state === "closed" && { untilMs }),
  };
}

function toRecord(session: Session, now: StoreTime): SessionRecord {
  const { opened: _opened, untilMs: _untilMs, ...head } = session.head;
  const revokedTokens = [...session.left].flatMap(([token, untilMs]) =>
    now.wallMs < untilMs ? token : [],
  );
  return { ...head, peers: [...session.peers.values()], revokedTokens };
}
