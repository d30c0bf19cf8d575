/** When balancers are told that they need not keep any longer what clients have sent. */
import { expect, test } from "vitest";
import { createConfirmations } from "../../../../worker/sessions/peers/confirmations.ts";
import { createSkipClock } from "../skip-clock.ts";
import { connectedPeer, HeldConnection } from "./held-connection.ts";

const CONFIRM_MS = 50;

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
  /** How often everything was confirmed. */
  const confirmed = (): number => first.calls.filter((call) => call === "confirm").length;
  return { clock, state, confirmations, first, second, confirmed };
}

test("many messages are confirmed together, to all senders", () => {
  const { clock, confirmations, first, second } = createSession();
  for (let count = 0; count < 10; count++) confirmations.add();
  expect(first.calls).toEqual([]);
  clock.skip(CONFIRM_MS);
  expect([first.calls, second.calls]).toEqual([["confirm"], ["confirm"]]);
  clock.skip(10_000);
  expect(first.calls).toEqual(["confirm"]);
});

test("nothing is confirmed before all that came of it has left", () => {
  const { clock, confirmations, second, confirmed } = createSession();
  second.pendingBytes = 1;
  confirmations.add();
  clock.skip(CONFIRM_MS);
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(0);
  second.pendingBytes = 0;
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(1);
});

test("a client that takes nothing is waited for no longer than a second", () => {
  const { clock, confirmations, second, confirmed } = createSession();
  second.pendingBytes = 1;
  confirmations.add();
  clock.skip(CONFIRM_MS);
  clock.skip(900);
  expect(confirmed()).toBe(0);
  clock.skip(CONFIRM_MS);
  clock.skip(CONFIRM_MS);
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(1);
});

test("a client that reads again after a while is waited for like any other", () => {
  const { clock, confirmations, second, confirmed } = createSession();
  second.pendingBytes = 1;
  confirmations.add();
  clock.skip(CONFIRM_MS);
  clock.skip(2000);
  expect(confirmed()).toBe(1);
  second.pendingBytes = 0;
  confirmations.add();
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(2);
  second.pendingBytes = 1;
  confirmations.add();
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(2);
});

test("the others are waited for while one client takes nothing", () => {
  const { clock, confirmations, first, second, confirmed } = createSession();
  second.pendingBytes = 1;
  confirmations.add();
  clock.skip(CONFIRM_MS);
  clock.skip(2000);
  expect(confirmed()).toBe(1);
  first.pendingBytes = 1;
  confirmations.add();
  clock.skip(CONFIRM_MS);
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(1);
  first.pendingBytes = 0;
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(2);
});

test("nothing is confirmed while the worker does not know whether it may relay, however long that takes", () => {
  const { clock, confirmations, state, confirmed } = createSession();
  state.hasRelayedAll = false;
  confirmations.add();
  for (let count = 0; count < 100; count++) clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(0);
  state.hasRelayedAll = true;
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(1);
});

test("a session that has ended confirms nothing more", () => {
  const { clock, confirmations, confirmed } = createSession();
  confirmations.add();
  confirmations.close();
  clock.skip(CONFIRM_MS);
  confirmations.add();
  clock.skip(CONFIRM_MS);
  expect(confirmed()).toBe(0);
});
