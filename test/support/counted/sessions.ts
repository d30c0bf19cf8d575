/**
 * Sessions whose people send each other numbered messages at a fixed rate, and count what they notice while processes of the
 * edge restart or fail: lost connections, and messages that are lost, doubled, reordered or late. All times are on this
 * process's monotonic clock. Runs in Node and in a browser's page.
 */
import { createApi } from "./api.ts";
import { Person, type Transports } from "./person.ts";

export interface OpenOptions {
  readonly url: string;
  readonly sessions: number;
  /** Of each session, its host included. */
  readonly people: number;
  readonly publicKey: string;
  readonly transports: Transports;
  /** Sessions, the first ones, whose last guest uses polling only. */
  readonly pollingSessions?: number;
  readonly isBrowser?: boolean;
}

/** Ids of the sessions, in their order. */
export interface Opened {
  readonly sessionIds: readonly string[];
}

export interface PeopleState {
  readonly people: number;
  readonly connected: number;
  readonly onWebSocket: number;
  /** By all people since the last start. */
  readonly sent: number;
  /** Of all that were sent, counted once for each receiver. */
  readonly missing: number;
}

/** Of the messages and events since the last start. */
export interface Figures {
  /** Messages that should have arrived, counted once for each receiver. */
  readonly expected: number;
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
  /** Messages with wrong bytes or a wrong origin. */
  readonly damaged: number;
  /** Messages of the server itself, which it sends when someone joins, leaves or changes. */
  readonly announcements: number;
  /** `disconnect` events of the people on WebSockets, and how many people had none. */
  readonly disconnects: number;
  readonly undisturbed: number;
  readonly onWebSocket: number;
  /** `disconnect` events of the people who use polling only. */
  readonly pollingDisconnects: number;
}

export interface Period {
  readonly fromMs: number;
  readonly toMs: number;
  readonly sessionIds: readonly string[];
}

export interface Gaps {
  /** Of the people of the period's sessions. */
  readonly moved: readonly number[];
  readonly others: readonly number[];
}

export interface CountedSessions {
  open(options: OpenOptions): Promise<Opened>;
  /** Begins to send `perSecond` messages, of all people together, who take turns; all counts begin at 0. */
  start(perSecond: number): Promise<void>;
  /** Stops sending. Messages may still be in transit. */
  stop(): Promise<void>;
  state(): Promise<PeopleState>;
  nowMs(): Promise<number>;
  figures(): Promise<Figures>;
  /**
   * For each person, the longest pause between two deliveries in the period, in ms: how much longer it was than the pause
   * between the sends of these two messages.
   */
  gaps(period: Period): Promise<Gaps>;
  close(): Promise<void>;
}

/** Concurrently opened sessions. */
const AT_ONCE = 4;
const SEND_TURN_MS = 4;

export function countedSessions(): CountedSessions {
  const people: Person[] = [];
  const sessionIds: string[] = [];
  let sending: ReturnType<typeof setInterval> | undefined;
  let sent = 0;
  let before = sum(people);
  let disturbedBefore: readonly number[] = [];

  async function openSession(
    api: ReturnType<typeof createApi>,
    options: OpenOptions,
    session: number,
  ): Promise<void> {
    const { roomId, roomToken } = await api.create();
    sessionIds[session] = roomId;
    const entered: Person[] = [];
    for (let seat = 0; seat < options.people; seat++) {
      const isPolling = seat === options.people - 1 && session < (options.pollingSessions ?? 0);
      const person = new Person(session * options.people + seat, session, people, {
        ...options,
        roomId,
        roomToken: seat === 0 ? roomToken : await api.join(roomId),
        transports: isPolling ? ["polling"] : options.transports,
        isBrowser: options.isBrowser ?? false,
      });
      people[person.index] = person;
      await person.entered();
      entered.push(person);
    }
    for (const person of entered) {
      person.others = entered.filter((other) => other !== person);
    }
  }

  function startSending(perSecond: number): void {
    // One person of each session after the other, so that the messages of a session are evenly spaced. Who polls sends
    // one message now, by which the worker knows it: what a polling client sends in the moment in which its connection closes
    // can be lost in the client (ADR 10).
    for (const person of people) if (person.isPolling) person.say();
    const turns = people
      .filter(({ isPolling }) => !isPolling)
      .sort((a, b) => seatOf(a) - seatOf(b) || a.session - b.session);
    const startMs = performance.now();
    sent = 0;
    sending = setInterval(() => {
      const due = Math.floor(((performance.now() - startMs) * perSecond) / 1000);
      for (; sent < due; sent++) turns[sent % turns.length]?.say();
    }, SEND_TURN_MS);
  }

  function seatOf({ index }: Person): number {
    return index % (people.length / sessionIds.length);
  }

  return {
    async open(options) {
      const api = createApi(options.url);
      await api.signIn("Counted");
      let next = 0;
      const openNext = async (): Promise<void> => {
        while (next < options.sessions) await openSession(api, options, next++);
      };
      await Promise.all(Array.from({ length: AT_ONCE }, openNext));
      return { sessionIds };
    },
    async start(perSecond) {
      for (const person of people) person.arrivals = [];
      before = sum(people);
      disturbedBefore = people.map(({ disconnects }) => disconnects);
      startSending(perSecond);
    },
    async stop() {
      clearInterval(sending);
    },
    async state() {
      return {
        people: people.length,
        connected: people.filter(({ isConnected }) => isConnected).length,
        onWebSocket: people.filter(({ isOnWebSocket }) => isOnWebSocket).length,
        sent,
        missing: sum(people).missing,
      };
    },
    nowMs: async () => performance.now(),
    async figures() {
      const now = sum(people);
      const onWebSocket = people.filter(({ isPolling }) => !isPolling);
      const undisturbed = onWebSocket.filter(
        ({ index, disconnects }) => disconnects === disturbedBefore[index],
      );
      return {
        expected: now.expected - before.expected,
        lost: now.missing - before.missing,
        doubled: now.doubled - before.doubled,
        reordered: now.reordered - before.reordered,
        damaged: now.damaged - before.damaged,
        announcements: now.announcements - before.announcements,
        disconnects: now.disconnects - before.disconnects,
        undisturbed: undisturbed.length,
        onWebSocket: onWebSocket.length,
        pollingDisconnects: now.pollingDisconnects - before.pollingDisconnects,
      };
    },
    async gaps({ fromMs, toMs, sessionIds: ids }) {
      const chosen = new Set(ids.map((id) => sessionIds.indexOf(id)));
      const gapsOf = (isMoved: boolean) =>
        people
          .filter(({ session }) => chosen.has(session) === isMoved)
          .map((person) => longestGap(person, fromMs, toMs));
      return { moved: gapsOf(true), others: gapsOf(false) };
    },
    async close() {
      clearInterval(sending);
      for (const person of people) person.close();
    },
  };
}

interface Totals {
  readonly expected: number;
  readonly missing: number;
  readonly doubled: number;
  readonly reordered: number;
  readonly damaged: number;
  readonly announcements: number;
  readonly disconnects: number;
  readonly pollingDisconnects: number;
}

function sum(people: readonly Person[]): Totals {
  const total = (of: (person: Person) => number): number =>
    people.reduce((all, person) => all + of(person), 0);
  const tallied = (of: "doubled" | "reordered"): number =>
    total(({ tallies }) => [...tallies.values()].reduce((all, tally) => all + tally[of], 0));
  return {
    expected: total(({ expected }) => expected),
    missing: total(({ missing }) => missing),
    doubled: tallied("doubled"),
    reordered: tallied("reordered"),
    damaged: total(({ damaged }) => damaged),
    announcements: total(({ announcements }) => announcements),
    disconnects: total(({ isPolling, disconnects }) => (isPolling ? 0 : disconnects)),
    pollingDisconnects: total(({ isPolling, disconnects }) => (isPolling ? disconnects : 0)),
  };
}

/** A pause belongs to each period that it overlaps. */
function longestGap({ arrivals }: Person, fromMs: number, toMs: number): number {
  let longest = 0;
  for (const [i, arrival] of arrivals.entries()) {
    const last = arrivals[i - 1];
    if (last === undefined || arrival.atMs < fromMs || last.atMs > toMs) continue;
    longest = Math.max(longest, arrival.atMs - last.atMs - (arrival.sentMs - last.sentMs));
  }
  return longest;
}
