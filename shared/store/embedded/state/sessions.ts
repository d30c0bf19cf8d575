/**
 * The session operations of the embedded store. ownership.ts decides who may own a session; session-table.ts holds them.
 */
import type { SessionId, SessionKey } from "../../../base/ids.ts";
import { decideReassert, decideResume, holderOf, nextEpoch } from "../../ownership.ts";
import type {
  CreateSession,
  Reassertion,
  ResumeSession,
  SessionChange,
  SessionHead,
  SessionRecord,
} from "../../schemas.ts";
import type { Effects } from "./effects.ts";
import type { Leases } from "./leases.ts";
import type { Operations, StoreTime } from "./operations.ts";
import { createSessionTable, type Session, type SessionTable } from "./session-table.ts";

/** `onOpened` is called when a session's host connects for the first time. */
export function createSessions(
  effects: Effects,
  leases: Leases,
  onOpened: (now: StoreTime) => void,
) {
  const table = createSessionTable(effects);

  /** Changes a session whose holder asks for it. */
  function apply(now: StoreTime, session: Session, change: SessionChange): "done" | number {
    const { successor: _successor, ...head } = session.head;
    switch (change.kind) {
      case "release":
        table.put({
          ...head,
          state: "released",
          ...(change.to !== undefined && { successor: change.to }),
        });
        return "done";
      case "close":
        table.clear(session);
        table.put({ ...head, state: "closed", untilMs: change.untilMs });
        return "done";
      case "open": {
        if (head.opened) return "done";
        // A released one stays so: `opened` tells its successor that the host has connected.
        const state = head.state === "created" ? "open" : head.state;
        table.put({ ...session.head, state, opened: true });
        onOpened(now);
        return "done";
      }
      case "lock": {
        const { locked: _locked, ...unlocked } = session.head;
        table.put({ ...unlocked, ...(change.isLocked && { locked: true }) });
        return "done";
      }
      case "put-peer":
        table.putPeer(session, change.peer);
        return "done";
      case "remove-peer": {
        const peer = session.peers.get(change.peer);
        if (peer !== undefined) table.removePeer(session, peer, now, change.untilMs);
        return "done";
      }
      case "next-clock":
        return table.put({ ...session.head, clock: head.clock + 1 }).head.clock;
    }
  }

  const operations = {
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

    changeSession(now, holder, change) {
      const session = table.findHeld(now, holder);
      return session === undefined ? "lost" : apply(now, session, change);
    },
  } satisfies Partial<Operations>;

  return {
    operations,
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
