/** The canonical form of addresses, lists of networks, and kinds of addresses. */
import { describe, expect, test } from "vitest";
import {
  addressBytes,
  canonicalAddress,
  hostOf,
  isLoopback,
  isUnusable,
  isWildcard,
  PRIVATE_NETWORKS,
  parseNetworks,
  plainAddress,
} from "../../../shared/net/networks.ts";
import { holdings } from "../../robustness/memory.ts";

test("a list of networks does not keep the request heads that addresses came in", () => {
  const networks = parseNetworks("", ["10.0.0.0/8"]);
  const before = holdings().heap;
  for (let count = 0; count < 1000; count++) {
    const address = `203.113.${100 + (count >> 8)}.${count & 255}`.padEnd(16_384, " ");
    networks.has(address.slice(0, address.indexOf(" ")));
  }
  expect(holdings().heap - before).toBeLessThan(4_000_000);
});

test.each<[address: string, bytes: number[]]>([
  ["192.0.2.1", [192, 0, 2, 1]],
  ["::", new Array<number>(16).fill(0)],
  ["::1", [...new Array<number>(15).fill(0), 1]],
  ["2001:db8::5:0", [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0]],
  ["1:2:3:4:5:6:7:ffff", [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 255, 255]],
  ["fe80::1%eth0", [0xfe, 0x80, ...new Array<number>(13).fill(0), 1]],
  ["::ffff:192.0.2.1", [...new Array<number>(10).fill(0), 255, 255, 192, 0, 2, 1]],
])("the bytes of %s", (address, bytes) => {
  expect(addressBytes(address)).toEqual(bytes);
});

test("a text that is no address does not change what is known about one", () => {
  // Its second byte as latin1 is "1".
  expect(isLoopback("\u{131}27.0.0.1")).toBe(false);
  expect(isLoopback("127.0.0.1")).toBe(true);
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8::1", "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  [undefined, ""],
])("a socket's address %s is normalized to %s", (address, plain) => {
  expect(plainAddress(address)).toBe(plain);
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::FFFF:C000:201", "192.0.2.1"],
  ["0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"],
  ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  ["::1", "::1"],
  ["192.0.2", undefined],
  ["name", undefined],
  ["", undefined],
])("the canonical form of the address %s is %s", (text, canonical) => {
  expect(canonicalAddress(text)).toBe(canonical);
});

test("an IPv4 network listed in IPv4-mapped form is the IPv4 network", () => {
  const networks = parseNetworks("CT_X", ["::ffff:10.0.0.0/104", "::ffff:192.0.2.7"]);
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7", "::ffff:c000:207"]) {
    expect(networks.has(address), address).toBe(true);
  }
  for (const address of ["11.0.0.1", "192.0.2.8", "::1"]) {
    expect(networks.has(address), address).toBe(false);
  }
});

describe("a list of networks", () => {
  const networks = parseNetworks("CT_X", ["10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "fd00::1"]);

  test.each([
    ["10.1.255.255", true],
    ["10.2.0.0", false],
    ["192.0.2.7", true],
    ["192.0.2.8", false],
    ["2001:db8:ffff::1", true],
    ["2001:db9::1", false],
    ["fd00::1", true],
    ["fd00::2", false],
    ["::ffff:10.1.2.3", true],
    ["::ffff:a01:203", true],
    ["fd00::1%eth0", true],
    ["FD00:0::1", true],
    ["worker-1.example.com", false],
    ["10.1.2.3.4", false],
    ["", false],
  ])("a list of networks has the address %s: %s", (address, expected) => {
    expect(networks.has(address)).toBe(expected);
  });

  test.each([
    ...["10.0.0.0/33", "fd00::/129", "300.1.1.1", "name", ""],
    ...["10.0.0.0/", "::/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/8.5", "10.0.0.0/1e1"],
  ])("a list of networks refuses the entry %o", (entry) => {
    expect(() => parseNetworks("CT_X", [entry])).toThrow(
      `CT_X=${JSON.stringify(entry)} is not allowed; use addresses or ranges like 10.0.0.0/8`,
    );
  });
});

test.each([
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["::1", true],
  ["::ffff:127.0.0.1", true],
  ["localhost", true],
  ["10.0.0.1", false],
  ["localhost.example.com", false],
])("the address %s is this machine's: %s", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});

test.each([
  ["0.0.0.0", true],
  ["::", true],
  ["169.254.169.254", true],
  ["fe80::1", true],
  ["224.0.0.1", true],
  ["255.255.255.255", true],
  ["ff02::1", true],
  ["::ffff:169.254.169.254", true],
  ["10.0.0.1", false],
  ["2001:db8::1", false],
])("the address %s is unusable as a destination: %s", (address, expected) => {
  expect(isUnusable(address)).toBe(expected);
});

test.each([
  ["10.255.0.1", true],
  ["172.16.0.1", true],
  ["172.32.0.1", false],
  ["192.168.7.7", true],
  ["100.64.0.1", true],
  ["100.128.0.1", false],
  ["fd12::1", true],
  ["8.8.8.8", false],
  ["2001:4860:4860::8888", false],
])("the address %s is in a private network: %s", (address, expected) => {
  expect(PRIVATE_NETWORKS.has(address)).toBe(expected);
});

test("only 0.0.0.0 and :: are wildcards", () => {
  expect(["0.0.0.0", "::", "127.0.0.1", "::1"].filter(isWildcard)).toEqual(["0.0.0.0", "::"]);
});

test.each([
  ["http://[fd00::1]:3001", "fd00::1"],
  ["http://10.0.0.1:3001", "10.0.0.1"],
  ["http://Worker-1.Example.COM:3001", "worker-1.example.com"],
  // Other notations of an address are parsed as in a browser.
  ["http://2130706433:3001", "127.0.0.1"],
  ["http://0x7f.1:3001", "127.0.0.1"],
  ["http://[::ffff:10.0.0.1]:3001", "10.0.0.1"],
])("the host of the URL %s is %s", (url, host) => {
  expect(hostOf(new URL(url))).toBe(host);
});
