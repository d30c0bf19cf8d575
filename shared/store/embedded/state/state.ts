/**
 * The state of the embedded store, without clock, socket or file: every operation of the contract as a function of the
 * store's time, which records its effects.
 *
 * `entries` lists the records that outlive the process, and `restore` reads them back; members are not among them
 * (leases.ts).
 */
import { HOSTED_COUNTER } from "../../store.ts";
import type { RecordKind, Restored } from "../format/records.ts";
import { createStoredCounters } from "./counters.ts";
import { createEffects, type Write } from "./effects.ts";
import { createLeases } from "./leases.ts";
import type { Operations, StoreTime } from "./operations.ts";
import { createSessions } from "./sessions.ts";
import { createSignIns } from "./sign-ins.ts";
import { createStreams } from "./streams.ts";
import { createTickets } from "./tickets.ts";
import { createValues } from "./values.ts";

export type StoreState = ReturnType<typeof createStoreState>;

export function createStoreState(start: StoreTime) {
  const effects = createEffects();
  const leases = createLeases(effects, start.nowMs);
  const tickets = createTickets(effects);
  const values = createValues(effects);
  const signIns = createSignIns(effects, values);
  const counters = createStoredCounters(effects);
  const streams = createStreams(effects);
  const sessions = createSessions(effects, leases, (now) =>
    counters.operations.addToCounters(now, { [HOSTED_COUNTER]: 1 }),
  );
  const journalled = [sessions, tickets, values, signIns, counters, streams];
  const expiring = [leases, sessions, tickets, values, signIns];

  const restorers: { readonly [Kind in RecordKind]: (record: Restored<Kind>) => void } = {
    session: sessions.restore,
    peer: sessions.restore,
    left: sessions.restore,
    ticket: tickets.restore,
    revoked: values.restore,
    agreed: values.restore,
    "sign-in": signIns.restore,
    counter: counters.restore,
    event: streams.restore,
    stream: streams.restore,
  };

  function restoreOne(record: Restored): void {
    // The type does not see that both are of one kind.
    (restorers[record.kind] as (record: Restored) => void)(record);
  }

  const operations: Operations = {
    timeMs: (now) => now.wallMs,
    ...leases.operations,
    ...sessions.operations,
    ...tickets.operations,
    ...values.operations,
    ...signIns.operations,
    ...counters.operations,
    ...streams.operations,
  };

  /** All journalled records. Changes during the iteration are allowed, and may or may not be seen. */
  function* entries(): Iterable<Write> {
    for (const part of journalled) yield* part.entries();
  }

  return {
    operations,
    /** Drops some expired entries, in bounded time; call it about every second. */
    sweep(now: StoreTime): void {
      for (const part of expiring) part.sweep(now);
    },
    /** Effects since the last call. */
    takeEffects: effects.take,
    /** Restores records in any order, before the first operation. */
    restore(records: Iterable<Restored>): void {
      const parts: Restored[] = [];
      for (const record of records) {
        // The parts of a session come after the session.
        if (record.kind === "peer" || record.kind === "left") parts.push(record);
        else restoreOne(record);
      }
      for (const record of parts) restoreOne(record);
    },
    entries,
  };
}
