/**
 * Long polls: clients wait for the answer to a ticket, which any worker may give. The store's change hint wakes the polls that
 * wait here; because hints may be missed, each poll also reads the store every second.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { getOrAdd } from "../../shared/base/grouping.ts";
import {
  type Store,
  StoreAwayError,
  type Ticket,
  type TicketKind,
} from "../../shared/store/store.ts";

export type Polls = ReturnType<typeof createPolls>;

export type Poll =
  | { readonly state: "answered"; readonly ticket: Extract<Ticket, { state: "answered" }> }
  | { readonly state: "gone" }
  /** Without a ticket: the store is away. */
  | { readonly state: "waiting"; readonly ticket: Ticket | undefined };

/** As in the protocol's own server: shorter than the timeouts of proxies. */
const TIMEOUT_MS = 30_000;
const CHECK_MS = 1000;
/**
 * Polls that may wait on one worker. One more does not fail, because that would end a sign-in: instead the poll that has waited
 * longest ends, and its client polls again.
 */
const MAX_WAITING = 5000;
/** Clients poll again at once, so ending their polls sooner than this would make them poll in a tight loop. */
const MIN_WAIT_MS = 1000;

interface Waiter {
  /** Reads the ticket: it may have changed. */
  wake(): void;
  /** Stops waiting after at least `MIN_WAIT_MS`. */
  release(): void;
  stop(): void;
}

export function createPolls(deps: {
  readonly store: Pick<Store, "readTicket" | "onChange">;
  /**
   * Restores a ticket that this worker remembers and the store has lost, for example by a flush. `false`: this worker does not
   * know it either. Rejects with `StoreAwayError`.
   */
  readonly putBack: (kind: TicketKind, token: string) => Promise<boolean>;
  readonly clock: Clock;
  readonly timeoutMs?: number;
  readonly checkMs?: number;
  readonly maxWaiting?: number;
}) {
  const { store, clock } = deps;
  const timeoutMs = deps.timeoutMs ?? TIMEOUT_MS;
  const checkMs = deps.checkMs ?? CHECK_MS;
  const maxWaiting = deps.maxWaiting ?? MAX_WAITING;
  const waiters = new Set<Waiter>();
  /** Waiters that are not released yet, oldest first. */
  const unreleased = new Set<Waiter>();
  const waitersByTicket = new Map<string, Set<Waiter>>();
  let mode: "open" | "shortened" | "closed" = "open";

  const stopListening = store.onChange((change) => {
    if (change.subject !== "ticket") return;
    for (const waiter of waitersByTicket.get(ticketName(change.kind, change.token)) ?? []) {
      waiter.wake();
    }
  });

  function addWaiter(waiter: Waiter, ticket: string): void {
    for (const oldest of unreleased) {
      if (unreleased.size < maxWaiting) break;
      unreleased.delete(oldest);
      oldest.release();
    }
    unreleased.add(waiter);
    waiters.add(waiter);
    getOrAdd(waitersByTicket, ticket, () => new Set()).add(waiter);
  }

  function removeWaiter(waiter: Waiter, ticket: string): void {
    waiters.delete(waiter);
    unreleased.delete(waiter);
    const others = waitersByTicket.get(ticket);
    others?.delete(waiter);
    if (others?.size === 0) waitersByTicket.delete(ticket);
  }

  async function read(kind: TicketKind, token: string): Promise<Poll> {
    try {
      let ticket = await store.readTicket(kind, token);
      if (ticket === undefined && (await deps.putBack(kind, token))) {
        ticket = await store.readTicket(kind, token);
      }
      if (ticket === undefined) return { state: "gone" };
      return ticket.state === "answered"
        ? { state: "answered", ticket }
        : { state: "waiting", ticket };
    } catch (error) {
      // An error would end the client's sign-in; the store may be back before the client polls again.
      if (error instanceof StoreAwayError) return { state: "waiting", ticket: undefined };
      throw error;
    }
  }

  return {
    read,
    /**
     * Resolves when the ticket is answered, when it is gone (unknown, expired, used), or with `waiting` when `timeoutMs`
     * have passed, `aborted` fires, too many polls wait or the worker stops: the client then polls again at once. To avoid a
     * tight loop, `waiting` comes after a second at the earliest, unless the worker stops. While the store is away it waits.
     */
    async wait(kind: TicketKind, token: string, aborted: AbortSignal): Promise<Poll> {
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
      // Before the first read, so that no hint is missed.
      addWaiter(waiter, name);
      const check = clock.every(checkMs, waiter.wake);
      const end = clock.after(timeoutMs, stop);
      aborted.addEventListener("abort", stop);
      if (mode === "shortened") waiter.release();
      if (mode === "closed" || aborted.aborted) stop();
      try {
        for (;;) {
          const poll = await read(kind, token);
          if (poll.state !== "waiting" || bell.stopped) return poll;
          await bell.rung();
        }
      } finally {
        aborted.removeEventListener("abort", stop);
        check.cancel();
        end.cancel();
        release?.cancel();
        removeWaiter(waiter, name);
      }
    },
    get waiting(): number {
      return waiters.size;
    },
    /** For a draining worker: ends the polls that have waited for a second, and from now on each poll after a second. */
    shorten(): void {
      if (mode === "open") mode = "shortened";
      for (const waiter of waiters) waiter.release();
    },
    /** Ends all polls; later ones end at once. */
    close(): void {
      mode = "closed";
      stopListening();
      for (const waiter of waiters) waiter.stop();
    },
  };
}

function ticketName(kind: TicketKind, token: string): string {
  return `${kind} ${token}`;
}

/** Wakes one waiter; a ring while none waits is kept for the next. */
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
