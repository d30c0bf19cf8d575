/** The header of the PROXY protocol: what is read, what is refused, and that nothing else ever happens. */
import { describe, expect, test } from "vitest";
import { MAX_HEADER_BYTES, readProxyHeader } from "../../../balancer/transport/proxy-header.ts";
import { crc32c, proxyV2, tlv } from "../../support/proxy-header.ts";

const HTTP = "GET / HTTP/1.1\r\n\r\n";

function read(bytes: string | Buffer) {
  return readProxyHeader(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
}

describe("version 1", () => {
  test.each([
    ["PROXY TCP4 203.0.113.9 127.0.0.1 50000 1080\r\n", "203.0.113.9"],
    ["PROXY TCP6 2001:DB8:0::1 ::1 50000 443\r\n", "2001:db8::1"],
    ["PROXY TCP6 ::ffff:192.0.2.1 ::1 0 65535\r\n", "192.0.2.1"],
    ["PROXY UNKNOWN\r\n", ""],
    ["PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""],
  ])("the PROXY protocol header %j is from %s", (line, address) => {
    const header = { state: "read", length: line.length, address, isSecure: false };
    expect(read(line + HTTP)).toEqual(header);
    for (let cut = 0; cut < line.length; cut++) {
      expect(read(line.slice(0, cut))).toEqual({ state: "incomplete" });
    }
  });

  test.each([
    ["PROXY TCP4 203.0.113.9 127.0.0.1 50000\r\n", "ports"],
    ["PROXY TCP4 203.0.113.9 127.0.0.1 50000 65536\r\n", "ports"],
    ["PROXY TCP4 203.0.113.9 127.0.0.1 050 1080\r\n", "ports"],
    ["PROXY TCP4 203.0.113.9 127.0.0.1 50000 1080 1\r\n", "ports"],
    ["PROXY TCP4 203.0.113.9  127.0.0.1 50000 1080\r\n", "addresses"],
    ["PROXY TCP4 2001:db8::1 ::1 50000 1080\r\n", "addresses"],
    ["PROXY TCP6 203.0.113.9 127.0.0.1 50000 1080\r\n", "addresses"],
    ["PROXY TCP4 203.0.113.256 127.0.0.1 50000 1080\r\n", "addresses"],
    ["PROXY TCP6 fe80::1%eth0 ::1 50000 1080\r\n", "addresses"],
    ["PROXY UDP4 203.0.113.9 127.0.0.1 50000 1080\r\n", "family"],
    ["PROXY  TCP4 203.0.113.9 127.0.0.1 50000 1080\r\n", "family"],
    [`PROXY TCP4 ${"1".repeat(200)}\r\n`, "107 bytes"],
  ])("the PROXY protocol header %j is refused for its %s", (line, reason) => {
    expect(read(line + HTTP)).toEqual({
      state: "invalid",
      reason: expect.stringContaining(reason),
    });
  });
});

describe("version 2", () => {
  const IPV4 = Buffer.from("cb0071097f000001c3500438", "hex");
  const IPV6 = Buffer.concat([
    Buffer.from("20010db8000000000000000000000001", "hex"),
    Buffer.alloc(20),
  ]);

  test.each([
    ["IPv4", proxyV2({ family: 0x11, body: IPV4 }), "203.0.113.9"],
    ["IPv6", proxyV2({ family: 0x21, body: IPV6 }), "2001:db8::1"],
    ["datagrams", proxyV2({ family: 0x12, body: IPV4 }), "203.0.113.9"],
    ["a Unix socket", proxyV2({ family: 0x31, body: Buffer.alloc(216) }), ""],
    ["an unknown client", proxyV2({ family: 0x00, body: Buffer.alloc(0) }), ""],
    ["the proxy itself", proxyV2({ command: 0, family: 0x00, body: Buffer.alloc(30) }), undefined],
    [
      "the proxy itself, with a family that nobody knows",
      proxyV2({ command: 0, family: 0x7f, body: Buffer.alloc(30) }),
      undefined,
    ],
    [
      "fields",
      proxyV2({ family: 0x11, body: Buffer.concat([IPV4, tlv(0x01, "h2"), tlv(0x04, "")]) }),
      "203.0.113.9",
    ],
  ])(
    "a PROXY protocol header of version 2 is read, and is incomplete wherever it is cut: %s",
    (_, header, address) => {
      const expected = { state: "read", length: header.length, address, isSecure: false };
      expect(read(Buffer.concat([header, Buffer.from(HTTP)]))).toEqual(expected);
      for (let cut = 0; cut < header.length; cut++) {
        expect(read(header.subarray(0, cut))).toEqual({ state: "incomplete" });
      }
    },
  );

  test("the checksum of a PROXY protocol header is compared, and TLS that the proxy ended is told", () => {
    const fields = (crc: number) => {
      const value = Buffer.alloc(4);
      value.writeUInt32BE(crc);
      const ssl = Buffer.from([0x01, 0, 0, 0, 0]);
      const body = Buffer.concat([IPV4, tlv(0x20, ssl), tlv(0x03, value)]);
      return proxyV2({ family: 0x11, body });
    };
    const right = crc32c(fields(0));
    expect(read(fields(right))).toMatchObject({ state: "read", isSecure: true });
    expect(read(fields((right ^ 1) >>> 0))).toEqual({
      state: "invalid",
      reason: "its checksum is wrong",
    });
  });

  test.each([
    ["version", proxyV2({ version: 1, family: 0x11, body: IPV4 }), "version is 1"],
    ["command", proxyV2({ command: 2, family: 0x11, body: IPV4 }), "command 2"],
    ["family", proxyV2({ family: 0x41, body: IPV4 }), "family"],
    ["transport", proxyV2({ family: 0x13, body: IPV4 }), "family"],
    ["addresses", proxyV2({ family: 0x21, body: IPV4 }), "too short"],
    ["length", proxyV2({ family: 0x11, body: Buffer.alloc(MAX_HEADER_BYTES) }), "4096 bytes"],
    [
      "field",
      proxyV2({ family: 0x11, body: Buffer.concat([IPV4, Buffer.from("010003ab", "hex")]) }),
      "cut off",
    ],
    [
      "field head",
      proxyV2({ family: 0x11, body: Buffer.concat([IPV4, Buffer.from("01", "hex")]) }),
      "cut off",
    ],
    [
      "checksum field",
      proxyV2({ family: 0x11, body: Buffer.concat([IPV4, tlv(0x03, "ab")]) }),
      "malformed",
    ],
  ])("a PROXY protocol header with a wrong %s is refused", (_, header, reason) => {
    expect(read(header)).toEqual({ state: "invalid", reason: expect.stringContaining(reason) });
  });
});

test.each(["G", HTTP, "\r\nGET", "PROXYX", "\u0016\u0003\u0001", "PRI * HTTP/2.0"])(
  "%j is no PROXY protocol header",
  (text) => {
    expect(read(text).state).toBe("none");
  },
);

test("a million random inputs of the reader of PROXY protocol headers are decided, the same for each part of them", () => {
  let seed = 11;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const samples = [
    Buffer.from("PROXY TCP4 203.0.113.9 127.0.0.1 50000 1080\r\n", "latin1"),
    Buffer.from("PROXY TCP6 2001:db8::1 ::1 50000 443\r\n", "latin1"),
    proxyV2({ family: 0x11, body: Buffer.concat([Buffer.alloc(12, 7), tlv(0x01, "http/1.1")]) }),
    proxyV2({
      family: 0x21,
      body: Buffer.concat([Buffer.alloc(36, 7), tlv(0x20, Buffer.alloc(9))]),
    }),
  ];
  const states = { incomplete: 0, none: 0, invalid: 0, read: 0 };
  const bytes = Buffer.alloc(128);
  for (let run = 0; run < 1_000_000; run++) {
    const sample = samples[random(samples.length)] ?? Buffer.alloc(0);
    const length = Math.min(sample.copy(bytes), 1 + random(sample.length + 4));
    for (let changes = random(4); changes > 0; changes--) bytes[random(length)] = random(256);
    const header = readProxyHeader(bytes.subarray(0, length));
    states[header.state]++;
    if (header.state !== "read") continue;
    if (header.length > length || header.length < 15) throw new Error("it ends elsewhere");
    // What follows changes nothing.
    const again = readProxyHeader(bytes.subarray(0, header.length));
    if (again.state !== "read" || again.length !== header.length) throw new Error("it changed");
  }
  expect(Math.min(...Object.values(states))).toBeGreaterThan(1000);
});
