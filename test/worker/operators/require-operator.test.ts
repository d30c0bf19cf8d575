/** The address under which a client's failed sign-ins are counted. */
import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import { addressOf } from "../../../worker/operators/require-operator.ts";

function address(realIp: string | undefined, remoteAddress = "::ffff:10.0.0.4"): string {
  const headers = realIp === undefined ? {} : { "x-real-ip": realIp };
  return addressOf({ headers, socket: { remoteAddress } } as unknown as IncomingMessage);
}

test.each([
  ["203.0.113.9", "203.0.113.9"],
  ["203.0.113.9:50718", "203.0.113.9"],
  ["::ffff:203.0.113.9", "203.0.113.9"],
  ["[2001:DB8::9%eth0]:443", "2001:db8::9"],
  // Without a valid address in the header the connection's address counts.
  ["unknown", "10.0.0.4"],
  [undefined, "10.0.0.4"],
])("a client with the X-Real-IP %s is counted as %s", (realIp, counted) => {
  expect(address(realIp)).toBe(counted);
});
