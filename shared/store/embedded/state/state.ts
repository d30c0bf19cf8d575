/**
 * The state of the embedded store, without clock, socket or file: every operation of the contract as a function of the
 * store's time, which records its effects.
 *
 * `entries` lists the records that outlive the process, and `restore` reads them back; members are not among them
 * (leases.ts).
 */
import { HOSTED_COUNTER } from "../../store.ts";
import type { Restored } from "../format/records.ts";
import { createEffects, type Effects, type Write } from "./effects.ts";
import { createHistory } from "./history.ts";
import { createLeases } from "./leases.ts";
import type { Operations } from "./operations.ts";
import { createPutIfAbsent } from "./put-if-absent.ts";
import { createReports } from "./reports.ts";
import { createRevokedTokens } from "./revoked-tokens.ts";
import { createSessions } from "./sessions.ts";
import { createSignIns } from "./sign-ins.ts";
import { createStreams } from "./streams.ts";
import { createTickets } from "./tickets.ts";
import type { StoreTime } from "./time.ts";

export interface StoreState {
  readonly operations: Operations;
  /** Drops some expired entries, in bounded time; call it about every second. */
  readonly sweep: (now: StoreTime) => void;
  /** Effects since the last call. */
  readonly takeEffects: Effects["take"];
  /** Restores records in any order, before the first operation. */
  readonly restore: (records: Iterable<Restored>) => void;
  /** All journalled records. Changes during the iteration are allowed, and may or may not be seen. */
  readonly entries: () => Iterable<Write>;
}

export function createStoreState(start: StoreTime): StoreState {
  const effects = createEffects();
  const leases = createLeases(effects, start.nowMs);
  const tickets = createTickets(effects);
  const revoked = createRevokedTokens(effects);
  const signIns = createSignIns(effects, revoked);
  const putIfAbsent = createPutIfAbsent(effects);
  const history = createHistory(effects);
  const sessions = createSessions(effects, leases, (now) =>
    history.addToCounters(now, { [HOSTED_COUNTER]: 1 }),
  );
  const streams = createStreams(effects);
  const reports = createReports();

  function restoreOne(record: Restored): void {
    switch (record.kind) {
      case "session":
      case "peer":
      case "left":
        sessions.restore(record);
        break;
      case "ticket":
        tickets.restore(record);
        break;
      case "revoked":
        revoked.restore(record);
        break;
      case "sign-in":
        signIns.restore(record);
        break;
      case "agreed":
        putIfAbsent.restore(record);
        break;
      case "counter":
      case "event":
        history.restore(record);
        break;
      case "stream":
        streams.restore(record);
        break;
    }
  }

  return {
    operations: {
      timeMs: (now) => now.wallMs,
      announce: leases.announce,
      renew: leases.renew,
      withdraw: leases.withdraw,
      members: leases.members,
      lead: leases.lead,
      resign: leases.resign,
      createSession: sessions.createSession,
      resumeSession: sessions.resumeSession,
      reassertSession: sessions.reassertSession,
      findSession: sessions.findSession,
      sessionsOf: sessions.sessionsOf,
      owners: sessions.owners,
      releaseSession: sessions.releaseSession,
      closeSession: sessions.closeSession,
      openSession: sessions.openSession,
      lockSession: sessions.lockSession,
      putPeer: sessions.putPeer,
      removePeer: sessions.removePeer,
      nextClock: sessions.nextClock,
      putTicket: tickets.putTicket,
      readTicket: tickets.readTicket,
      answerTicket: tickets.answerTicket,
      dropTicket: tickets.dropTicket,
      ticketsOf: tickets.ticketsOf,
      revokeToken: revoked.revokeToken,
      isTokenRevoked: revoked.isTokenRevoked,
      putSignIn: signIns.putSignIn,
      claimDueSignIns: signIns.claimDueSignIns,
      findSignIn: signIns.findSignIn,
      signInsOf: signIns.signInsOf,
      endSignIn: signIns.endSignIn,
      putIfAbsent: putIfAbsent.putIfAbsent,
      addToCounters: history.addToCounters,
      readCounters: history.readCounters,
      appendEvent: history.appendEvent,
      readEvents: history.readEvents,
      appendToStream: streams.appendToStream,
      readStream: streams.readStream,
      report: reports.report,
      readReports: reports.readReports,
    },
    sweep(now) {
      leases.sweep(now);
      sessions.sweep(now);
      tickets.sweep(now);
      revoked.sweep(now);
      signIns.sweep(now);
      reports.sweep(now);
    },
    takeEffects: effects.take,
    restore(records) {
      const parts: Restored[] = [];
      for (const record of records) {
        // The parts of a session come after the session.
        if (record.kind === "peer" || record.kind === "left") parts.push(record);
        else restoreOne(record);
      }
      for (const record of parts) restoreOne(record);
    },
    *entries() {
      yield* sessions.entries();
      yield* tickets.entries();
      yield* revoked.entries();
      yield* signIns.entries();
      yield* putIfAbsent.entries();
      yield* history.entries();
      yield* streams.entries();
    },
  };
}
