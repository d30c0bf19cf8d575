/**
 * Waiting for the answer to a ticket, as clients do with their long polls. Any worker may give the answer: the store's
 * hint wakes whoever waits here, and because hints may be missed, each also looks every second.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import {
  type Store,
  StoreAwayError,
  type Ticket,
  type TicketKind,
} from "../../shared/store/store.ts";

export interface Polls {
  /** What is known of a ticket now. */
  look(kind: TicketKind, token: string): Promise<Poll>;
  /**
   * Resolves when the ticket is answered, when it is gone (unknown, expired, used), or with `waiting` when `timeoutMs`
   * have passed, `aborted` fires, too many wait or the worker stops: the client then asks again, at once. So nobody is told
   * that sooner than after a second, unless the worker stops. With the store away it waits for it.
   */
  wait(kind: TicketKind, token: string, aborted: AbortSignal): Promise<Poll>;
  /** Polls that wait now. */
  readonly waiting: number;
  /** For a worker that drains: ends the waits that have lasted a second, and from now on each after a second. */
  shorten(): void;
  /** Ends all waits; later ones end at once. */
  close(): void;
}

export type Poll =
  | { readonly state: "answered"; readonly ticket: Extract<Ticket, { state: "answered" }> }
  | { readonly state: "gone" }
  /** Without a ticket: the store is away. */
  | { readonly state: "waiting"; readonly ticket: Ticket | undefined };

/** As in the protocol's own server: less than the time after which proxies give up. */
const TIMEOUT_MS = 30_000;
const CHECK_MS = 1000;
/**
 * Polls that may wait in one worker. One more does not fail, because that would end a sign-in: the one that has waited
 * longest is told to ask again.
 */
const MAX_WAITING = 5000;
/** Clients ask again at once: whoever is sent away sooner than this would ask in a tight loop. */
const MIN_WAIT_MS = 1000;

interface Waiter {
  /** Something may have happened: look. */
  wake(): void;
  /** Stops waiting once that has lasted `MIN_WAIT_MS`. */
  release(): void;
  /** Stops waiting now. */
  stop(): void;
}

export function createPolls(needs: {
  readonly store: Pick<Store, "readTicket" | "onChange">;
  /**
   * Puts a ticket back that this worker knows and the store has lost, as a flushed one has. `false`: it is unknown here
   * too. Rejects with `StoreAwayError`.
   */
  readonly putBack: (kind: TicketKind, token: string) => Promise<boolean>;
  readonly clock: Clock;
  readonly timeoutMs?: number;
  readonly checkMs?: number;
  readonly maxWaiting?: number;
}): Polls {
  const { store, clock } = needs;
  const timeoutMs = needs.timeoutMs ?? TIMEOUT_MS;
  const checkMs = needs.checkMs ?? CHECK_MS;
  const maxWaiting = needs.maxWaiting ?? MAX_WAITING;
  const waiters = new Set<Waiter>();
  /** Those that were not released yet, oldest first. */
  const patient = new Set<Waiter>();
  const waitersByTicket = new Map<string, Set<Waiter>>();
  let mode: "open" | "shortened" | "closed" = "open";

  const stopListening = store.onChange((change) => {
    if (change.subject !== "ticket") return;
    for (const waiter of waitersByTicket.get(ticketName(change.kind, change.token)) ?? []) {
      waiter.wake();
    }
  });

  function enter(waiter: Waiter, ticket: string): void {
    for (const oldest of patient) {
      if (patient.size < maxWaiting) break;
      patient.delete(oldest);
      oldest.release();
    }
    patient.add(waiter);
    waiters.add(waiter);
    const others = waitersByTicket.get(ticket);
    if (others === undefined) waitersByTicket.set(ticket, new Set([waiter]));
    else others.add(waiter);
  }

  function leave(waiter: Waiter, ticket: string): void {
    waiters.delete(waiter);
    patient.delete(waiter);
    const others = waitersByTicket.get(ticket);
    others?.delete(waiter);
    if (others?.size === 0) waitersByTicket.delete(ticket);
  }

  async function look(kind: TicketKind, token: string): Promise<Poll> {
    try {
      let ticket = await store.readTicket(kind, token);
      if (ticket === undefined && (await needs.putBack(kind, token))) {
        ticket = await store.readTicket(kind, token);
      }
      if (ticket === undefined) return { state: "gone" };
      return ticket.state === "answered"
        ? { state: "answered", ticket }
        : { state: "waiting", ticket };
    } catch (error) {
      // An error would end the client's sign-in; the store may be back before the client asks again.
      if (error instanceof StoreAwayError) return { state: "waiting", ticket: undefined };
      throw error;
    }
  }

  return {
    look,
    async wait(kind, token, aborted) {
      const name = ticketName(kind, token);
      const bell = createBell();
      const stop = (): void => bell.stop();
      const earliestMs = clock.nowMs() + MIN_WAIT_MS;
      let release: Timer | undefined;
      const waiter = {
        wake: () => bell.ring(),
        release() {
          release ??= clock.after(Math.max(0, earliestMs - clock.nowMs()), stop);
        },
        stop,
      };
      // Before the first look, so that no hint falls between.
      enter(waiter, name);
      const check = clock.every(checkMs, waiter.wake);
      const end = clock.after(timeoutMs, stop);
      aborted.addEventListener("abort", stop);
      if (mode === "shortened") waiter.release();
      if (mode === "closed" || aborted.aborted) stop();
      try {
        for (;;) {
          const poll = await look(kind, token);
          if (poll.state !== "waiting" || bell.stopped) return poll;
          await bell.rung();
        }
      } finally {
        aborted.removeEventListener("abort", stop);
        check.cancel();
        end.cancel();
        release?.cancel();
        leave(waiter, name);
      }
    },
    get waiting() {
      return waiters.size;
    },
    shorten() {
      if (mode === "open") mode = "shortened";
      for (const waiter of waiters) waiter.release();
    },
    close() {
      mode = "closed";
      stopListening();
      for (const waiter of waiters) waiter.stop();
    },
  };
}

function ticketName(kind: TicketKind, token: string): string {
  return `${kind} ${token}`;
}

/** Wakes one who waits, and remembers a ring that comes while nobody does. */
function createBell() {
  let isRung = false;
  let isStopped = false;
  let wake = (): void => {};
  return {
    ring(): void {
      isRung = true;
      wake();
    },
    /** Rings for the last time. */
    stop(): void {
      isStopped = true;
      wake();
    },
    get stopped(): boolean {
      return isStopped;
    },
    async rung(): Promise<void> {
      if (!isRung && !isStopped) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      isRung = false;
    },
  };
}
