/**
 * Long polls: which are woken, which end early, and what happens when hints are missed.
 */
import { expect, test } from "vitest";
import {
  type Change,
  StoreAwayError,
  type Ticket,
  type TicketKind,
} from "../../../shared/store/store.ts";
import { createPolls, type Poll } from "../../../worker/api/long-polls.ts";
import { createStepClock } from "../../support/step-clock.ts";

const NEVER = new AbortController().signal;

test("a hint wakes the polls for its ticket, and no other ticket is read", async () => {
  const { polls, tickets, notify, reads } = start();
  tickets.set("login a", waiting("a"));
  tickets.set("login b", waiting("b"));
  const a = polls.wait("login", "a", NEVER);
  void polls.wait("login", "b", NEVER);
  await expect.poll(() => reads).toEqual(["a", "b"]);

  tickets.set("login a", answered("a"));
  notify({ subject: "ticket", kind: "login", token: "a" });

  expect(await a).toMatchObject({ state: "answered", ticket: { answer: "yes" } });
  expect(reads).toEqual(["a", "b", "a"]);
  expect(polls.waiting).toBe(1);
});

test("an answer whose hint was missed is read within a second", async () => {
  const { polls, tickets, clock, reads } = start();
  tickets.set("login a", waiting("a"));
  const poll = polls.wait("login", "a", NEVER);
  await expect.poll(() => reads.length).toBe(1);
  tickets.set("login a", answered("a"));
  clock.advance(1000);
  expect((await poll).state).toBe("answered");
});

test("an answer that arrives during the first read is not missed", async () => {
  const { polls, tickets, notify, hold, reads } = start();
  tickets.set("login a", waiting("a"));
  const resume = hold();
  const poll = polls.wait("login", "a", NEVER);
  await expect.poll(() => reads.length).toBe(1);
  tickets.set("login a", answered("a"));
  notify({ subject: "ticket", kind: "login", token: "a" });
  resume();
  expect((await poll).state).toBe("answered");
});

test("when too many polls wait, the one that has waited longest ends, after a second at the earliest", async () => {
  const { polls, tickets, clock } = start({ maxWaiting: 2 });
  for (const token of ["a", "b", "c", "d"]) tickets.set(`login ${token}`, waiting(token));
  const ended: string[] = [];
  const wait = (token: string): void => {
    void polls.wait("login", token, NEVER).then(({ state }) => ended.push(`${token} ${state}`));
  };
  wait("a");
  clock.advance(600);
  wait("b");
  wait("c");
  clock.advance(399);
  await settle();
  expect(ended).toEqual([]);
  clock.advance(1);
  await expect.poll(() => ended).toEqual(["a waiting"]);
  clock.advance(2000);
  wait("d");
  clock.advance(0);
  await expect.poll(() => ended).toEqual(["a waiting", "b waiting"]);
  expect(polls.waiting).toBe(2);
});

test("on a draining worker each poll ends after exactly a second", async () => {
  const { polls, tickets, notify, clock } = start();
  for (const token of ["a", "b", "c", "d"]) tickets.set(`join ${token}`, waiting(token));
  const ended: string[] = [];
  const wait = (token: string): void => {
    void polls.wait("join", token, NEVER).then(({ state }) => ended.push(`${token} ${state}`));
  };
  wait("a");
  clock.advance(5000);
  wait("b");
  clock.advance(400);
  polls.shorten();
  wait("c");
  wait("d");
  clock.advance(0);
  await expect.poll(() => ended).toEqual(["a waiting"]);
  clock.advance(600);
  await expect.poll(() => ended).toEqual(["a waiting", "b waiting"]);
  // An answer still ends the poll at once.
  tickets.set("join d", answered("d"));
  notify({ subject: "ticket", kind: "join", token: "d" });
  await expect.poll(() => ended).toEqual(["a waiting", "b waiting", "d answered"]);
  clock.advance(399);
  await settle();
  expect(ended).toHaveLength(3);
  clock.advance(1);
  await expect.poll(() => ended.at(-1)).toBe("c waiting");
  expect(clock.pending).toBe(0);
});

test("closing ends the polls of a draining worker at once", async () => {
  const { polls, tickets, clock } = start();
  tickets.set("join a", waiting("a"));
  polls.shorten();
  const poll = polls.wait("join", "a", NEVER);
  polls.close();
  expect((await poll).state).toBe("waiting");
  polls.shorten();
  expect((await polls.wait("join", "a", NEVER)).state).toBe("waiting");
  expect(clock.pending).toBe(0);
});

test("after closing no poll waits, but an answer that exists is still returned", async () => {
  const { polls, tickets, clock } = start();
  tickets.set("login a", waiting("a"));
  tickets.set("login b", answered("b"));
  const poll = polls.wait("login", "a", NEVER);
  polls.close();
  expect((await poll).state).toBe("waiting");
  expect((await polls.wait("login", "a", NEVER)).state).toBe("waiting");
  expect((await polls.wait("login", "b", NEVER)).state).toBe("answered");
  expect(polls.waiting).toBe(0);
  expect(clock.pending).toBe(0);
});

test("the poll of a client that has gone does not wait", async () => {
  const { polls, tickets } = start();
  tickets.set("login a", waiting("a"));
  expect((await polls.wait("login", "a", AbortSignal.abort())).state).toBe("waiting");
});

test("a poll waits for a store that is away, and rejects when the store fails in another way", async () => {
  const { polls, tickets, clock, reads, fail } = start();
  tickets.set("login a", answered("a"));
  fail(new StoreAwayError("readTicket"));
  const poll = polls.wait("login", "a", NEVER);
  await expect.poll(() => reads.length).toBe(1);
  expect(await polls.read("login", "a")).toEqual({ state: "waiting", ticket: undefined });
  fail(undefined);
  clock.advance(1000);
  expect((await poll).state).toBe("answered");

  fail(new Error("a bug"));
  await expect(polls.wait("login", "a", NEVER)).rejects.toThrow("a bug");
  expect(polls.waiting).toBe(0);
});

test("a ticket that the store has lost and this worker remembers is put back and waited for", async () => {
  const { polls, tickets, remembered, clock, reads } = start();
  tickets.set("login a", waiting("a"));
  remembered.set("login a", waiting("a"));
  const poll = polls.wait("login", "a", NEVER);
  await expect.poll(() => reads.length).toBe(1);
  tickets.clear();
  clock.advance(1000);
  await expect.poll(() => tickets.has("login a")).toBe(true);
  tickets.set("login a", answered("a"));
  clock.advance(1000);
  expect((await poll).state).toBe("answered");
});

test("a poll that has ended leaves no timer", async () => {
  const { polls, tickets, clock, reads } = start();
  tickets.set("join a", waiting("a"));
  const poll: Promise<Poll> = polls.wait("join", "a", NEVER);
  await expect.poll(() => reads.length).toBe(1);
  clock.advance(30_000);
  expect((await poll).state).toBe("waiting");
  expect(clock.pending).toBe(0);
});

// --- helpers ---

/** Pending promise callbacks have run by then: no timer is involved. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function waiting(token: string): Ticket {
  return { state: "waiting", token, question: null };
}

function answered(token: string): Ticket {
  return { state: "answered", token, question: null, answer: "yes" };
}

/** Polls over tickets of the test's own, which may fail or be slow. */
function start(limits: { maxWaiting?: number } = {}) {
  const tickets = new Map<string, Ticket>();
  const reads: string[] = [];
  const listeners = new Set<(change: Change) => void>();
  let failure: Error | undefined;
  let held: Promise<void> | undefined;
  const clock = countingClock();
  /** Tickets that this worker remembers and can put back. */
  const remembered = new Map<string, Ticket>();
  const polls = createPolls({
    clock,
    ...limits,
    async putBack(kind, token) {
      const ticket = remembered.get(`${kind} ${token}`);
      if (ticket !== undefined) tickets.set(`${kind} ${token}`, ticket);
      return ticket !== undefined;
    },
    store: {
      async readTicket(kind: TicketKind, token: string) {
        reads.push(token);
        const ticket = tickets.get(`${kind} ${token}`);
        if (failure !== undefined) throw failure;
        await held;
        return ticket;
      },
      onChange(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
  });
  return {
    polls,
    tickets,
    remembered,
    reads,
    clock,
    notify: (change: Change) => {
      for (const listener of listeners) listener(change);
    },
    fail: (error: Error | undefined) => {
      failure = error;
    },
    /** Makes reads wait until the returned function is called. */
    hold: () => {
      let resume = (): void => {};
      held = new Promise((resolve) => {
        resume = resolve;
      });
      return () => resume();
    },
  };
}

/** A step clock that counts the timers that are set. */
function countingClock() {
  const clock = createStepClock();
  let pending = 0;
  return {
    ...clock,
    get pending() {
      return pending;
    },
    after(delayMs: number, action: () => void) {
      pending++;
      let isOver = false;
      const finish = () => {
        if (!isOver) pending--;
        isOver = true;
      };
      const timer = clock.after(delayMs, () => {
        finish();
        action();
      });
      return {
        cancel() {
          finish();
          timer.cancel();
        },
      };
    },
    every(periodMs: number, action: () => void) {
      pending++;
      const timer = clock.every(periodMs, action);
      return {
        cancel() {
          pending--;
          timer.cancel();
        },
      };
    },
  };
}
