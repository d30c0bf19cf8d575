/** The values of forwarding headers, as common proxies write them. */

import { isIP } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { forwardedScheme, nodeAddress } from "../../../shared/net/forwarding.ts";

test.each([
  ["203.0.113.9", "203.0.113.9"],
  ["203.0.113.9:50718", "203.0.113.9"],
  [" 203.0.113.9 ", "203.0.113.9"],
  ['"203.0.113.9"', "203.0.113.9"],
  ['"203.0.113.9:50718"', "203.0.113.9"],
  ["203.0.113.9:_hidden", "203.0.113.9"],
  ["2001:db8::1", "2001:db8::1"],
  ["2001:DB8:0:0::1", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["[2001:db8::1]:443", "2001:db8::1"],
  ['"[2001:db8::1]:443"', "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  ["[fe80::1%eth0]:443", "fe80::1"],
  ["[fe80::1%25eth0]", "fe80::1"],
  ["::ffff:203.0.113.9", "203.0.113.9"],
  ["::FFFF:cb00:7109", "203.0.113.9"],
  ["[::ffff:203.0.113.9]:50718", "203.0.113.9"],
  // Indistinguishable from an address, for every parser.
  ["2001:db8::1:443", "2001:db8::1:443"],
])("the node %s is the address %s", (text, address) => {
  expect(nodeAddress(text)).toBe(address);
});

test.each([
  ...["", "unknown", "_hidden", "_hidden:443", "edge.example", "edge.example:443", "-", '"'],
  ...[
    "203.0.113",
    "203.0.113.999",
    "010.0.0.1",
    "203.0.113.9:",
    "203.0.113.9:x",
    "203.0.113.9:123456",
  ],
  ...["203.0.113.9%eth0", "203.0.113.9 evil", "[203.0.113.9]x", "[2001:db8::1", "2001:db8::1]"],
  ...[
    "[2001:db8::1]443",
    "[2001:db8::1]:",
    "[]",
    "[]:443",
    "fe80::1%",
    "fe80::1%a b",
    "fe80::1%a%b",
    ":443",
  ],
])("the node %o contains no address", (text) => {
  expect(nodeAddress(text)).toBeUndefined();
});

test("a node of arbitrary text gives an address in canonical form or nothing", () => {
  const part = fc.constantFrom(
    "[",
    "]",
    ":",
    "%",
    '"',
    ".",
    "::ffff:",
    "2001:db8::1",
    "10.0.0.1",
    "443",
    "x",
    " ",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      const address = nodeAddress(parts.join(""));
      if (address === undefined) return;
      expect(isIP(address)).not.toBe(0);
      expect(nodeAddress(address)).toBe(address);
      expect(address).not.toMatch(/%|^::ffff:.*[.:]/);
    }),
    { seed: 20261128, numRuns: 5000 },
  );
});

test.each([
  ["https", "https"],
  ["HTTPS", "https"],
  ["https,http", "https"],
  [" https , http", "https"],
  ["wss", "https"],
  ["http", "http"],
  ["WS", "http"],
  ["http, https", "http"],
  ["gopher", undefined],
  ["", undefined],
  [undefined, undefined],
])("the scheme of the node %o is %s", (text, scheme) => {
  expect(forwardedScheme(text)).toBe(scheme);
});
