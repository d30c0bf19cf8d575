/** Refusals by a limit: which wait, and how many may. */
import { expect, test } from "vitest";
import type { Client } from "../../../balancer/downstream/exchange-contract.ts";
import { createRefusals } from "../../../balancer/proxy/delayed-refusal.ts";
import { createStepClock } from "../../support/step-clock.ts";

const ERROR = new Error("too much");

function setUp() {
  const clock = createStepClock();
  const failed: string[] = [];
  const refusals = createRefusals({ clock, trusted: { has: (address) => address === "10.0.0.1" } });
  const refuse = (peerAddress: string) => {
    const client = { peerAddress, fail: () => failed.push(peerAddress) };
    const exchange = refusals.refuse(client as unknown as Client, ERROR);
    exchange?.start();
    return exchange;
  };
  return { clock, failed, refusals, refuse };
}

test("a refusal waits for a second", () => {
  const { clock, failed, refusals, refuse } = setUp();
  refuse("192.0.2.1");
  clock.advance(999);
  expect(failed).toEqual([]);
  clock.advance(1);
  expect(failed).toEqual(["192.0.2.1"]);
  expect(refusals.waiting).toBe(0);
});

test("a client that goes away before its refusal is sent is forgotten", () => {
  const { clock, failed, refusals, refuse } = setUp();
  const exchange = refuse("192.0.2.1");
  exchange?.onAbort();
  exchange?.onAbort();
  clock.advance(2000);
  expect([failed, refusals.waiting]).toEqual([[], 0]);
});

test("a connection of a trusted proxy carries the requests of many, so nothing waits on it", () => {
  const { failed, refuse } = setUp();
  expect(refuse("10.0.0.1")).toBeUndefined();
  expect(failed).toEqual(["10.0.0.1"]);
});

test("at most a thousand refusals wait, and further ones are sent at once", () => {
  const { clock, failed, refusals, refuse } = setUp();
  for (let count = 0; count < 1000; count++) refuse("192.0.2.1");
  expect(failed).toEqual([]);
  refuse("192.0.2.2");
  expect([failed, refusals.waiting]).toEqual([["192.0.2.2"], 1000]);
  clock.advance(1000);
  expect(failed).toHaveLength(1001);
  refuse("192.0.2.2");
  expect(failed).toHaveLength(1001);
});
