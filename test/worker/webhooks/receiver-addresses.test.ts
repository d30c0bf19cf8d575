import type { lookup as dnsLookup, LookupAddress } from "node:dns";
import { describe, expect, test } from "vitest";
import {
  createLookup,
  isAllowed,
  parseAddressRules,
  urlProblem,
} from "../../../worker/webhooks/receiver-addresses.ts";

type LookupCallback = (error: null, found: LookupAddress[]) => void;

const NONE = parseAddressRules([]);

describe("without CT_WEBHOOK_NETWORKS", () => {
  test.each([
    ["loopback", ["127.0.0.1", "127.255.0.9", "::1"]],
    ["unspecified", ["0.0.0.0", "0.1.2.3", "::"]],
    ["private", ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"]],
    ["shared (RFC 6598)", ["100.64.0.1", "100.127.255.255"]],
    [
      "link-local, with the metadata service of clouds",
      ["169.254.169.254", "fe80::1", "fe80::1%eth0"],
    ],
    ["unique local, with the metadata service of AWS", ["fd00:ec2::254"]],
    ["multicast and broadcast", ["224.0.0.1", "239.1.2.3", "255.255.255.255", "ff02::1"]],
    ["reserved", ["240.0.0.1", "192.0.0.8", "198.18.0.1", "192.0.2.1", "2001:db8::1", "3fff::1"]],
    [
      "IPv4-mapped",
      ["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.1.2.3", "0:0:0:0:0:ffff:a9fe:a9fe"],
    ],
    [
      "IPv4-compatible, NAT64, 6to4 and Teredo",
      ["::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "2001:0:1::1"],
    ],
    ["not an address", ["", "localhost", "127.1"]],
  ])("an address that is %s is refused", (_, addresses) => {
    for (const address of addresses) expect(isAllowed(address, "https:", NONE)).toBe(false);
  });

  test("a public address is allowed over https only", () => {
    for (const address of ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]) {
      expect(isAllowed(address, "https:", NONE)).toBe(true);
      expect(isAllowed(address, "http:", NONE)).toBe(false);
    }
  });
});

test("CT_WEBHOOK_NETWORKS allows its addresses, over http too, in every form", () => {
  const rules = parseAddressRules(["10.1.0.0/16", "fd00::/8"]);
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "fd12::1"]) {
    expect(isAllowed(address, "https:", rules)).toBe(true);
    expect(isAllowed(address, "http:", rules)).toBe(true);
  }
  expect(isAllowed("10.2.0.1", "https:", rules)).toBe(false);
});

describe("a URL", () => {
  test.each([
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/",
    "https://hooks.localhost./",
  ])("a URL to %s is refused", (url) => {
    expect(urlProblem(url, NONE)).toContain("is not a public address");
  });

  test.each([
    ["ftp://example.com/", "must begin with https://"],
    ["example.com", "is not a URL"],
    ["https://user:secret@example.com/", "must not have a user or a password"],
    ["http://1.1.1.1/", "plain http is not allowed"],
  ])("the URL %s is refused: %s", (url, problem) => {
    expect(urlProblem(url, NONE)).toContain(problem);
  });

  test("a URL with a name is accepted: its addresses are checked when it is connected to", () => {
    expect(urlProblem("https://hooks.example.com:8443/a?b=c", NONE)).toBeUndefined();
  });
});

test("a name that has internal addresses too is connected to at its public ones", async () => {
  const answer = [
    { address: "10.0.0.1", family: 4 },
    { address: "1.1.1.1", family: 4 },
  ];
  const system = (_name: string, _options: object, callback: LookupCallback) =>
    callback(null, answer);
  const lookup = createLookup("https:", NONE, system as unknown as typeof dnsLookup);
  const all = await new Promise((resolve) =>
    lookup("a.example", { all: true }, (_, found) => resolve(found)),
  );
  expect(all).toEqual([{ address: "1.1.1.1", family: 4 }]);
  const one = await new Promise((resolve) => lookup("a.example", {}, (_, found) => resolve(found)));
  expect(one).toBe("1.1.1.1");
});
