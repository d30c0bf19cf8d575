/**
 * Tickets in the embedded store: short-lived questions that one process asks and another may answer.
 */
import { TICKET_KINDS, type Ticket, type TicketKind } from "../../store.ts";
import { type Restored, recordKey, type StoredTicket } from "../format/records.ts";
import type { Effects, Write } from "./effects.ts";
import type { Operations } from "./operations.ts";
import { createSweeper } from "./sweeper.ts";
import type { StoreTime } from "./time.ts";

/**
 * Limits of one kind; beyond them the oldest tickets are dropped. Strangers may start sign-ins, so a flood must not fill the
 * memory, and with a limit for each kind it does not drop requests to join.
 */
const MAX_TICKETS = 50_000;
const MAX_TICKET_CHARS = 32 * 1024 * 1024;

export interface Tickets
  extends Pick<
    Operations,
    "putTicket" | "readTicket" | "answerTicket" | "dropTicket" | "ticketsOf"
  > {
  /** Drops some expired tickets; call it periodically. */
  sweep(now: StoreTime): void;
  restore(record: Extract<Restored, { kind: "ticket" }>): void;
  /** All records, as journalled. */
  entries(): Iterable<Write>;
}

export function createTickets(effects: Effects): Tickets {
  const tables = Object.fromEntries(
    TICKET_KINDS.map((kind) => [kind, createTable(kind, effects)]),
  ) as Record<TicketKind, ReturnType<typeof createTable>>;

  return {
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
      tables[kind].replace(token, { ...ticket, answered: { answer } });
      effects.change({ subject: "ticket", kind, token });
      return "done";
    },
    dropTicket(_now, kind, token) {
      tables[kind].drop(token);
    },
    ticketsOf(now, kind, group) {
      return tables[kind].waitingOf(now, group);
    },
    sweep(now) {
      for (const table of Object.values(tables)) table.sweep(now);
    },
    restore({ ticketKind, token, ticket }) {
      tables[ticketKind].restore(token, ticket);
    },
    *entries() {
      for (const table of Object.values(tables)) yield* table.entries();
    },
  };
}

function toTicket(token: string, ticket: StoredTicket): Ticket {
  const { question, answered } = ticket;
  return answered === undefined
    ? { state: "waiting", token, question }
    : { state: "answered", token, question, answer: answered.answer };
}

/** The tickets of one kind, oldest first, within the limits. */
function createTable(kind: TicketKind, effects: Effects) {
  const tickets = new Map<string, StoredTicket & { readonly chars: number }>();
  const tokensByGroup = new Map<string, Set<string>>();
  const sweeper = createSweeper(tickets);
  let chars = 0;

  function set(token: string, ticket: StoredTicket): void {
    const size = JSON.stringify(ticket).length;
    chars += size - (tickets.get(token)?.chars ?? 0);
    tickets.set(token, { ...ticket, chars: size });
    if (ticket.group === undefined) return;
    const group = tokensByGroup.get(ticket.group);
    if (group === undefined) tokensByGroup.set(ticket.group, new Set([token]));
    else group.add(token);
  }

  function drop(token: string): void {
    const ticket = tickets.get(token);
    if (ticket === undefined) return;
    tickets.delete(token);
    chars -= ticket.chars;
    if (ticket.group !== undefined) {
      const group = tokensByGroup.get(ticket.group);
      group?.delete(token);
      if (group?.size === 0) tokensByGroup.delete(ticket.group);
    }
    effects.write(recordKey.ticket(kind, token), undefined);
    effects.change({ subject: "ticket", kind, token });
  }

  function find(now: StoreTime, token: string): StoredTicket | undefined {
    const ticket = tickets.get(token);
    return ticket !== undefined && now.wallMs < ticket.expiresMs ? ticket : undefined;
  }

  function replace(token: string, ticket: StoredTicket): void {
    set(token, ticket);
    effects.write(recordKey.ticket(kind, token), toStored(ticket));
  }

  return {
    find,
    drop,
    replace,
    restore: set,
    add(token: string, ticket: StoredTicket): void {
      // An expired one with the same token must not pass its place in the order on.
      drop(token);
      replace(token, ticket);
      for (const oldest of tickets.keys()) {
        if (tickets.size <= MAX_TICKETS && chars <= MAX_TICKET_CHARS) break;
        drop(oldest);
      }
    },
    waitingOf(now: StoreTime, group: string): Ticket[] {
      const waiting: Ticket[] = [];
      for (const token of tokensByGroup.get(group) ?? []) {
        const ticket = find(now, token);
        if (ticket?.answered === undefined && ticket) waiting.push(toTicket(token, ticket));
      }
      return waiting;
    },
    sweep(now: StoreTime): void {
      sweeper.sweep((ticket, token) => {
        if (now.wallMs >= ticket.expiresMs) drop(token);
      });
    },
    *entries(): Iterable<Write> {
      for (const [token, ticket] of tickets)
        yield [recordKey.ticket(kind, token), toStored(ticket)];
    },
  };
}

/** The ticket as journalled. */
function toStored({ question, group, expiresMs, answered }: StoredTicket): StoredTicket {
  return {
    question,
    ...(group !== undefined && { group }),
    expiresMs,
    ...(answered !== undefined && { answered }),
  };
}
