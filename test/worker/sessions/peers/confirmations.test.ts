/** When balancers are told that they need not keep any longer what clients have sent. */
import { expect, test } from "vitest";
import { createConfirmations } from "../../../../worker/sessions/peers/confirmations.ts";
import { createSkipClock } from "../skip-clock.ts";
import { connectedPeer, HeldConnection } from "./held-connection.ts";

/** From a message to its confirmation, if all is well. */
const CONFIRM_MS = 270;
const SMALL = 100;
const MUCH = 16_384;
const STEP_MS = 10;

function createSession(peerCount = 2) {
  const clock = createSkipClock();
  const connections = Array.from({ length: peerCount }, () => new HeldConnection());
  const peers = connections.map(connectedPeer);
  const state = { hasRelayedAll: true };
  const confirmations = createConfirmations({
    clock,
    peers: () => peers,
    hasRelayedAll: () => state.hasRelayedAll,
  });
  const [first, second] = connections as [HeldConnection, HeldConnection];
  return {
    state,
    confirmations,
    first,
    second,
    /** How often everything was confirmed. */
    confirmed: (): number => first.calls.filter((call) => call === "confirm").length,
    pass(this: void, ms: number): void {
      for (let passed = 0; passed < ms; passed += STEP_MS) clock.skip(STEP_MS);
    },
  };
}

test("many messages are confirmed together, to all senders", () => {
  const { pass, confirmations, first, second } = createSession();
  for (let count = 0; count < 10; count++) confirmations.add(SMALL);
  pass(CONFIRM_MS - 3 * STEP_MS);
  expect(first.calls).toEqual([]);
  pass(3 * STEP_MS);
  expect([first.calls, second.calls]).toEqual([
    ["mark", "confirm"],
    ["mark", "confirm"],
  ]);
  pass(10_000);
  expect(first.calls).toEqual(["mark", "confirm"]);
});

test("what comes shortly before a confirmation is confirmed by the next one: it may not have arrived", () => {
  const { pass, confirmations, first, confirmed } = createSession();
  confirmations.add(SMALL);
  while (first.calls.length === 0) pass(STEP_MS);
  expect(first.calls).toEqual(["mark"]);
  confirmations.add(SMALL);
  pass(2 * STEP_MS);
  expect(confirmed()).toBe(1);
  pass(CONFIRM_MS);
  expect(first.calls).toEqual(["mark", "confirm", "mark", "confirm"]);
  pass(10_000);
  expect(confirmed()).toBe(2);
});

test("a session that sends much is confirmed before its balancers have to drop what they keep", () => {
  const { pass, confirmations, confirmed } = createSession();
  for (let part = 0; part < 16; part++) confirmations.add(MUCH / 16);
  expect(confirmed()).toBe(0);
  pass(30);
  expect(confirmed()).toBe(1);
  confirmations.add(SMALL);
  pass(100);
  expect(confirmed()).toBe(1);
  confirmations.add(MUCH);
  pass(20);
  confirmations.add(MUCH);
  pass(20);
  expect(confirmed()).toBe(2);
  pass(30);
  expect(confirmed()).toBe(3);
});

test("nothing is confirmed before all that came of it has left", () => {
  const { pass, confirmations, second, confirmed } = createSession();
  second.unsentBytes = 1;
  confirmations.add(SMALL);
  pass(2 * CONFIRM_MS);
  expect(confirmed()).toBe(0);
  second.unsentBytes = 0;
  pass(100);
  expect(confirmed()).toBe(1);
});

test("a client that takes nothing is waited for no longer than a second", () => {
  const { pass, confirmations, second, confirmed } = createSession();
  second.unsentBytes = 1;
  confirmations.add(SMALL);
  pass(CONFIRM_MS);
  pass(900);
  expect(confirmed()).toBe(0);
  pass(200);
  expect(confirmed()).toBe(1);
});

test("a client that reads again after a while is waited for like any other", () => {
  const { pass, confirmations, second, confirmed } = createSession();
  second.unsentBytes = 1;
  confirmations.add(SMALL);
  pass(2000);
  expect(confirmed()).toBe(1);
  second.unsentBytes = 0;
  confirmations.add(SMALL);
  pass(CONFIRM_MS);
  expect(confirmed()).toBe(2);
  second.unsentBytes = 1;
  confirmations.add(SMALL);
  pass(CONFIRM_MS);
  expect(confirmed()).toBe(2);
});

test("the others are waited for while one client takes nothing", () => {
  const { pass, confirmations, first, second, confirmed } = createSession();
  second.unsentBytes = 1;
  confirmations.add(SMALL);
  pass(2000);
  expect(confirmed()).toBe(1);
  first.unsentBytes = 1;
  confirmations.add(SMALL);
  pass(2 * CONFIRM_MS);
  expect(confirmed()).toBe(1);
  first.unsentBytes = 0;
  pass(100);
  expect(confirmed()).toBe(2);
});

test("nothing is confirmed while the worker does not know whether it may relay, however long that takes", () => {
  const { pass, confirmations, state, confirmed } = createSession();
  state.hasRelayedAll = false;
  confirmations.add(SMALL);
  pass(10_000);
  expect(confirmed()).toBe(0);
  state.hasRelayedAll = true;
  pass(100);
  expect(confirmed()).toBe(1);
});

test("before a move all is marked at once that can be, for connections that confirm it when they are moved", () => {
  const { pass, confirmations, first, second } = createSession();
  confirmations.add(SMALL);
  second.unsentBytes = 1;
  confirmations.begin();
  expect(first.calls).toEqual([]);
  second.unsentBytes = 0;
  confirmations.begin();
  expect(first.calls).toEqual(["mark"]);
  pass(2 * STEP_MS);
  expect(first.calls).toEqual(["mark", "confirm"]);
  pass(10_000);
  expect(first.calls).toEqual(["mark", "confirm"]);
});

test("a session that has ended confirms nothing more", () => {
  const { pass, confirmations, confirmed } = createSession();
  confirmations.add(SMALL);
  confirmations.close();
  pass(CONFIRM_MS);
  confirmations.add(SMALL);
  confirmations.begin();
  pass(CONFIRM_MS);
  expect(confirmed()).toBe(0);
});
