/** Who the client of a request is, and what a worker is told about it. */
import { describe, expect, test } from "vitest";
import type { Field } from "../../../balancer/http1/fields.ts";
import {
  clientAddress,
  createTrustedProxies,
  pushForwarding,
  type TrustedProxies,
} from "../../../balancer/http1/forwarding.ts";
import { parseRequestHead } from "../../../balancer/http1/request-head.ts";
import { accessLine } from "../../../balancer/logs/access-log.ts";

const NONE = createTrustedProxies([]);
const PEER = "192.0.2.1";
/** The connection's own proxy, and one in front of it. */
const PROXIES = createTrustedProxies([PEER, "10.0.0.0/8"]);

interface Sent {
  readonly for: string | undefined;
  readonly realIp: string | undefined;
  readonly proto: string | undefined;
  readonly host: string | undefined;
  readonly forwarded: string | undefined;
}

/** What a worker gets for a request with these field lines. */
function sent(
  lines: readonly string[],
  hop: { peerAddress?: string; secure?: boolean; trusted?: TrustedProxies } = {},
): Sent {
  const head = parseRequestHead(["GET / HTTP/1.1", "Host: h", ...lines].join("\r\n"));
  const fields: Field[] = [];
  pushForwarding(fields, head, { peerAddress: PEER, secure: false, trusted: NONE, ...hop });
  const only = (lower: string): string | undefined => {
    const values = fields.filter((field) => field.lower === lower).map(({ value }) => value);
    expect(values.length).toBeLessThanOrEqual(1);
    return values[0];
  };
  return {
    for: only("x-forwarded-for"),
    realIp: only("x-real-ip"),
    proto: only("x-forwarded-proto"),
    host: only("x-forwarded-host"),
    forwarded: only("forwarded"),
  };
}

const fromProxy = (...lines: string[]): Sent => sent(lines, { trusted: PROXIES });

describe("a stranger", () => {
  test("is named by its connection, whatever it says; only its chain is kept, in front of that", () => {
    expect(
      sent([
        "X-Forwarded-For: 1.1.1.1",
        "X-Forwarded-For: 2.2.2.2",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Real-IP: 1.1.1.1",
        "Forwarded: for=1.1.1.1;proto=https;host=evil",
      ]),
    ).toEqual({
      for: "1.1.1.1, 2.2.2.2, 192.0.2.1",
      realIp: "192.0.2.1",
      proto: "http",
      host: "h",
      forwarded: 'for=192.0.2.1;host="h";proto=http',
    });
  });

  test("with an IPv6 address over TLS is written as RFC 7239 wants it", () => {
    const { proto, forwarded } = sent([], { secure: true, peerAddress: "2001:db8::1" });
    expect(proto).toBe("https");
    expect(forwarded).toBe('for="[2001:db8::1]";host="h";proto=https');
  });

  test("that has gone is unknown", () => {
    expect(sent([], { peerAddress: "" })).toMatchObject({ for: "unknown", realIp: "unknown" });
  });
});

describe("a trusted proxy", () => {
  test("is believed, and its address appended", () => {
    expect(
      fromProxy(
        "X-Forwarded-For: 9.9.9.9, 198.51.100.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: edge.example",
        "Forwarded: for=198.51.100.7",
      ),
    ).toEqual({
      for: "9.9.9.9, 198.51.100.7, 192.0.2.1",
      realIp: "198.51.100.7",
      proto: "https",
      host: "edge.example",
      forwarded: 'for=198.51.100.7, for=192.0.2.1;host="h";proto=http',
    });
  });

  test.each([
    ["203.0.113.9", "203.0.113.9"],
    ["203.0.113.9:50718", "203.0.113.9"],
    ["203.0.113.9:50718, 10.0.0.4:41000", "203.0.113.9"],
    ["203.0.113.9, ::ffff:10.0.0.4", "203.0.113.9"],
    ["203.0.113.9, [::ffff:10.0.0.4]:41000", "203.0.113.9"],
    ['"[2001:DB8::9]:443", 10.0.0.4', "2001:db8::9"],
    ["fe80::9%eth0", "fe80::9"],
    ["6.6.6.6, 203.0.113.9, 10.0.0.4, ", "203.0.113.9"],
    // Every entry is a trusted proxy: then the first one is the client.
    ["10.0.0.5, 10.0.0.4", "10.0.0.5"],
    // No trusted proxy vouches for what stands in front of an entry that cannot be read.
    ["6.6.6.6, unknown, 10.0.0.4", "10.0.0.4"],
    ['6.6.6.6, x" 200', PEER],
    ["unknown", PEER],
  ])(
    "says by X-Forwarded-For: %s that the client is %s, here and in access.log",
    (said, client) => {
      expect(fromProxy(`X-Forwarded-For: ${said}`).realIp).toBe(client);
      const fields = [{ name: "X-Forwarded-For", lower: "x-forwarded-for", value: said }];
      expect(clientAddress(fields, PEER, PROXIES)).toBe(client);
      const served = {
        peerAddress: PEER,
        requestLine: "GET / HTTP/1.1",
        status: 200,
        bodyBytes: 0,
      };
      expect(accessLine({ ...served, fields }, PROXIES, "now")).toMatch(`${client} - - [now]`);
    },
  );

  test.each([
    ["for=203.0.113.9", "203.0.113.9", "http", "h"],
    ["for=203.0.113.9;proto=https;host=edge.example", "203.0.113.9", "https", "edge.example"],
    [
      'For="203.0.113.9:50718"; Proto=HTTPS ;HOST="edge.example:8443"',
      "203.0.113.9",
      "https",
      "edge.example:8443",
    ],
    ['for="[2001:db8::9]:443";proto=wss', "2001:db8::9", "https", "h"],
    // Not quoted, as several proxies write it.
    ["for=[2001:db8::9]:443;proto=https", "2001:db8::9", "https", "h"],
    // The element that speaks of the client counts, not the one about our own proxy, nor one that the client made up.
    [
      "for=6.6.6.6;proto=http;host=evil, for=203.0.113.9;proto=https;host=edge.example, for=10.0.0.4;proto=http;host=inner",
      "203.0.113.9",
      "https",
      "edge.example",
    ],
    ["for=unknown;proto=https", PEER, "https", "h"],
    ["for=_hidden;proto=https", PEER, "https", "h"],
    ["proto=https;host=edge.example", PEER, "https", "edge.example"],
    ["for=203.0.113.9;;proto=https;, ,", "203.0.113.9", "https", "h"],
    ['for="203.0.113.\\9";by=10.0.0.4;secret=x', "203.0.113.9", "http", "h"],
    ['for=203.0.113.9;proto=gopher;host="a b"', "203.0.113.9", "http", "h"],
  ])(
    "says by Forwarded: %s that the client is %s, over %s, at %s",
    (said, address, proto, host) => {
      expect(fromProxy(`Forwarded: ${said}`)).toMatchObject({
        realIp: address,
        proto,
        host,
        forwarded: `${said}, for=192.0.2.1;host="h";proto=http`,
      });
    },
  );

  test("that writes only Forwarded reaches workers that read only X-Forwarded-For", () => {
    const { for: chain } = fromProxy(
      'Forwarded: for="[2001:db8::9]:443", for=unknown, for=10.0.0.4:80',
    );
    expect(chain).toBe("2001:db8::9, unknown, 10.0.0.4, 192.0.2.1");
  });

  test.each([
    'for="203.0.113.9',
    "for=203.0.113.9 for=10.0.0.4",
    "203.0.113.9",
    "for",
    "=x",
    "for=a;for=203.0.113.9",
    'for="a"b',
    `for="${"\\".repeat(5)}`,
  ])(
    "with the Forwarded that cannot be read %s is itself the client, and nothing of it is sent on",
    (said) => {
      expect(fromProxy(`Forwarded: ${said}`)).toEqual({
        for: "unknown, 192.0.2.1",
        realIp: PEER,
        proto: "http",
        host: "h",
        forwarded: 'for=192.0.2.1;host="h";proto=http',
      });
    },
  );

  test("is read also behind a Forwarded that its client broke on purpose", () => {
    expect(
      fromProxy('Forwarded: for="6.6.6.6', "Forwarded: for=203.0.113.9;proto=https"),
    ).toMatchObject({ realIp: "203.0.113.9", proto: "https" });
    expect(fromProxy('Forwarded: for="6.6.6.6, for=203.0.113.9').realIp).toBe(PEER);
  });

  test("counts by X-Forwarded-* where it says something by Forwarded and X-Real-IP too", () => {
    expect(
      fromProxy(
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=7.7.7.7;proto=http;host=other.example",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: edge.example",
      ),
    ).toMatchObject({ realIp: "203.0.113.9", proto: "https", host: "edge.example" });
    expect(fromProxy("X-Real-IP: 6.6.6.6", "Forwarded: for=7.7.7.7").realIp).toBe("7.7.7.7");
    expect(fromProxy('X-Real-IP: "[2001:DB8::9]:1"').realIp).toBe("2001:db8::9");
  });

  test.each([
    ["https", "https"],
    ["https,http", "https"],
    ["HTTPS", "https"],
    ["wss", "https"],
    ["ws", "http"],
    ["gopher", "http"],
  ])("says by X-Forwarded-Proto: %s that the client used %s", (said, proto) => {
    expect(fromProxy(`X-Forwarded-Proto: ${said}`).proto).toBe(proto);
  });

  test("writes a Forwarded of 30,000 bytes that is read in linear time", () => {
    /** The best of several: whatever else the machine does only makes one slower. */
    const time = (text: string): number => {
      const took = Array.from({ length: 7 }, () => {
        const startedMs = performance.now();
        for (let i = 0; i < 5; i++) fromProxy(`Forwarded: ${text}`);
        return performance.now() - startedMs;
      });
      return Math.min(...took);
    };
    for (const part of ['for="', "for=a;x=", "for=a, ", '\\"', " ", 'a="\\', ";"]) {
      const long = part.repeat(30_000 / part.length);
      const short = part.repeat(3_000 / part.length);
      time(short);
      // Ten times as long takes ten times as long, not a hundred times.
      expect(time(long), part).toBeLessThan(40 * Math.max(time(short), 0.5));
    }
  });
});

test("proxies are listed by address or range, of both families", () => {
  const trusted = createTrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]);
  for (const address of ["10.1.2.3", "192.0.2.7", "2001:db8::5", "::1", "::ffff:10.1.2.3"]) {
    expect(trusted.has(address), address).toBe(true);
  }
  for (const address of ["11.0.0.1", "192.0.2.8", "2001:db9::5", "", "x"]) {
    expect(trusted.has(address), address).toBe(false);
  }
});

test.each(["10.0.0.0/33", "::/129", "10.0.0", "1.2.3.4:80"])(
  "a proxy %s that is no network stops the start",
  (entry) => {
    expect(() => createTrustedProxies([entry])).toThrow(
      `CT_TRUSTED_PROXIES="${entry}" is not allowed`,
    );
  },
);
