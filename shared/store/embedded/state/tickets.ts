/**
 * Tickets in the embedded store: short-lived questions that one process asks and another may answer.
 */
import { type StoredTicket, TICKET_KINDS, type TicketKind } from "../../schemas.ts";
import type { Ticket } from "../../store.ts";
import { type Restored, recordKey } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations, StoreTime } from "./operations.ts";
import { createTable } from "./table.ts";

/**
 * Limits of one kind; beyond them the oldest tickets are dropped. Strangers may start sign-ins, so a flood must not fill the
 * memory, and with a limit for each kind it does not drop requests to join.
 */
const MAX_TICKETS = 50_000;
const MAX_TICKET_CHARS = 32 * 1024 * 1024;

export function createTickets(effects: Effects) {
  const tables = Object.fromEntries(
    TICKET_KINDS.map((kind) => [kind, createTicketTable(kind, effects)]),
  ) as Record<TicketKind, ReturnType<typeof createTicketTable>>;

  const operations = {
    putTicket(now, { kind, token, ttlMs, ...asked }) {
      // A repeated call, after a lost response, must not undo later changes.
      if (tables[kind].find(now, token) !== undefined) return;
      tables[kind].add(token, { ...asked, expiresMs: now.wallMs + ttlMs });
      // Sign-ins and joins are polled; the member that a command is for has to be notified.
      if (kind === "command") effects.change({ subject: "ticket", kind, token });
    },
    readTicket(now, kind, token) {
      const ticket = tables[kind].find(now, token);
      return ticket && toTicket(token, ticket);
    },
    answerTicket(now, kind, token, answer) {
      const ticket = tables[kind].find(now, token);
      if (ticket === undefined) return "gone";
      if (ticket.answered !== undefined) return "answered";
      tables[kind].set(token, { ...ticket, answered: { answer } });
      effects.change({ subject: "ticket", kind, token });
      return "done";
    },
    dropTicket(_now, kind, token) {
      tables[kind].drop(token);
    },
    ticketsOf(now, kind, group) {
      const waiting: Ticket[] = [];
      for (const token of tables[kind].idsOf(group)) {
        const ticket = tables[kind].find(now, token);
        if (ticket?.answered === undefined && ticket) waiting.push(toTicket(token, ticket));
      }
      return waiting;
    },
  } satisfies Partial<Operations>;

  return {
    operations,
    sweep(now: StoreTime): void {
      for (const table of Object.values(tables)) table.sweep(now);
    },
    restore: ({ ids: [kind, token], value }: Restored<"ticket">): void => {
      tables[kind].restore(token, value);
    },
    *entries(): Iterable<Write> {
      for (const table of Object.values(tables)) yield* table.entries();
    },
  };
}

function toTicket(token: string, { question, answered }: StoredTicket): Ticket {
  return answered === undefined
    ? { state: "waiting", token, question }
    : { state: "answered", token, question, answer: answered.answer };
}

/** The tickets of one kind, oldest first, within the limits. */
function createTicketTable(kind: TicketKind, effects: Effects) {
  const sizes = new WeakMap<StoredTicket, number>();
  let chars = 0;

  const table = createTable<StoredTicket>({
    effects,
    keyOf: (token) => recordKey("ticket", kind, token),
    expiryOf: ({ expiresMs }) => expiresMs,
    keysOf: ({ group }) => (group === undefined ? [] : [group]),
    onChanged(before, after, token) {
      if (before !== undefined) chars -= sizes.get(before) ?? 0;
      if (after === undefined) {
        effects.change({ subject: "ticket", kind, token });
        return;
      }
      const size = JSON.stringify(after).length;
      sizes.set(after, size);
      chars += size;
    },
  });

  return {
    ...table,
    add(token: string, ticket: StoredTicket): void {
      // An expired one with the same token must not pass its place in the order on.
      table.drop(token);
      table.set(token, ticket);
      table.dropBeyond((size) => size > MAX_TICKETS || chars > MAX_TICKET_CHARS);
    },
  };
}
