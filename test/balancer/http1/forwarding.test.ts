/** The client of a request, and the forwarding fields that describe it to the worker. */
import { describe, expect, test } from "vitest";
import {
  clientAddress,
  createTrustedProxies,
  ForwardingFields,
  type TrustedProxies,
} from "../../../balancer/http1/forwarding.ts";
import { readFields } from "../../../balancer/http1/head-lines.ts";
import { parseRequestHead } from "../../../balancer/http1/request-head.ts";
import { accessLine } from "../../../balancer/logs/access-log.ts";

const NONE = createTrustedProxies([]);
const PEER = "192.0.2.1";
/** The peer, and the proxies in front of it. */
const PROXIES = createTrustedProxies([PEER, "10.0.0.0/8"]);

interface Sent {
  readonly for: string | undefined;
  readonly realIp: string | undefined;
  readonly proto: string | undefined;
  readonly host: string | undefined;
  readonly forwarded: string | undefined;
}

/** The forwarding fields sent to a worker for a request with these field lines. */
function sent(
  lines: readonly string[],
  hop: { peerAddress?: string; secure?: boolean; trusted?: TrustedProxies } = {},
): Sent {
  const head = parseRequestHead(["GET / HTTP/1.1", "Host: h", ...lines].join("\r\n"));
  const { peerAddress = PEER, secure = false, trusted = NONE } = hop;
  const text = new ForwardingFields(peerAddress, secure).linesFor(head, trusted);
  const fields = readFields(`\r\n${text.slice(0, -2)}`, "downstream", 5);
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

describe("an untrusted peer", () => {
  test("forwarding fields of an untrusted peer are replaced; only its X-Forwarded-For is kept, before its own address", () => {
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

  test("an IPv6 peer over TLS is written in the form of RFC 7239", () => {
    const { proto, forwarded } = sent([], { secure: true, peerAddress: "2001:db8::1" });
    expect(proto).toBe("https");
    expect(forwarded).toBe('for="[2001:db8::1]";host="h";proto=https');
  });

  test("a peer that has disconnected is forwarded as unknown", () => {
    expect(sent([], { peerAddress: "" })).toMatchObject({ for: "unknown", realIp: "unknown" });
  });
});

test("the forwarding fields of each request of a connection name the Host of that request", () => {
  const forwarding = new ForwardingFields(PEER, false);
  const forwardedHost = (...lines: string[]): string | undefined => {
    const head = parseRequestHead(["GET / HTTP/1.0", ...lines].join("\r\n"));
    return /X-Forwarded-Host: (.*)\r\n/.exec(forwarding.linesFor(head, NONE))?.[1];
  };
  expect(forwardedHost("Host: a")).toBe("a");
  expect(forwardedHost("Host: b", "X-Forwarded-For: 1.1.1.1")).toBe("b");
  expect(forwardedHost()).toBe(undefined);
  expect(forwardedHost("Host: a")).toBe("a");
});

describe("a trusted proxy", () => {
  test("forwarding fields of a trusted proxy are kept, and its address is appended", () => {
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
    // Every entry is a trusted proxy: the first one is the client.
    ["10.0.0.5, 10.0.0.4", "10.0.0.5"],
    // No trusted proxy vouches for the entries before a malformed one.
    ["6.6.6.6, unknown, 10.0.0.4", "10.0.0.4"],
    ['6.6.6.6, x" 200', PEER],
    ["unknown", PEER],
  ])(
    "X-Forwarded-For: %s of a trusted proxy names the client %s, to the worker and in access.log",
    (text, client) => {
      expect(fromProxy(`X-Forwarded-For: ${text}`).realIp).toBe(client);
      const head = parseRequestHead(`GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: ${text}`);
      expect(clientAddress(head.fields, PEER, PROXIES)).toBe(client);
      const served = {
        peerAddress: PEER,
        requestLine: "GET / HTTP/1.1",
        status: 200,
        bodyBytes: 0,
      };
      expect(accessLine({ ...served, head }, PROXIES, "now")).toMatch(`${client} - - [now]`);
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
    // Unquoted, as several proxies write it.
    ["for=[2001:db8::9]:443;proto=https", "2001:db8::9", "https", "h"],
    // The element about the client counts, not the one about the proxy, nor one that the client forged.
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
    "Forwarded: %s of a trusted proxy names the client %s, its scheme %s and its host %s",
    (text, address, proto, host) => {
      expect(fromProxy(`Forwarded: ${text}`)).toMatchObject({
        realIp: address,
        proto,
        host,
        forwarded: `${text}, for=192.0.2.1;host="h";proto=http`,
      });
    },
  );

  test("the addresses in Forwarded of a trusted proxy are sent in X-Forwarded-For too", () => {
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
    "a trusted proxy with the malformed Forwarded %s is itself the client, and the field is dropped",
    (text) => {
      expect(fromProxy(`Forwarded: ${text}`)).toEqual({
        for: "unknown, 192.0.2.1",
        realIp: PEER,
        proto: "http",
        host: "h",
        forwarded: 'for=192.0.2.1;host="h";proto=http',
      });
    },
  );

  test("Forwarded of a trusted proxy is read after a malformed one of its client", () => {
    expect(
      fromProxy('Forwarded: for="6.6.6.6', "Forwarded: for=203.0.113.9;proto=https"),
    ).toMatchObject({ realIp: "203.0.113.9", proto: "https" });
    expect(fromProxy('Forwarded: for="6.6.6.6, for=203.0.113.9').realIp).toBe(PEER);
  });

  test("X-Forwarded-* of a trusted proxy takes precedence over Forwarded, and Forwarded over X-Real-IP", () => {
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
  ])("X-Forwarded-Proto: %s of a trusted proxy means the scheme %s", (text, proto) => {
    expect(fromProxy(`X-Forwarded-Proto: ${text}`).proto).toBe(proto);
  });

  test("a Forwarded of 30,000 bytes is parsed in linear time", () => {
    /** In ms of CPU. */
    const timeOnce = (text: string): number => {
      const before = process.cpuUsage();
      for (let i = 0; i < 5; i++) fromProxy(`Forwarded: ${text}`);
      return process.cpuUsage(before).user / 1000;
    };
    /** The best of several runs, until one is below `enoughMs`: what else this process does only makes a run slower. */
    const time = (text: string, enoughMs = 0): number => {
      let best = Number.POSITIVE_INFINITY;
      for (let run = 0; run < 7 || (run < 50 && best >= enoughMs && enoughMs > 0); run++) {
        best = Math.min(best, timeOnce(text));
      }
      return best;
    };
    for (const part of ['for="', "for=a;x=", "for=a, ", '\\"', " ", 'a="\\', ";"]) {
      const long = part.repeat(30_000 / part.length);
      const short = part.repeat(3_000 / part.length);
      time(short);
      // Ten times as long takes ten times as long, not a hundred times.
      const limitMs = 40 * Math.max(time(short), 0.5);
      expect(time(long, limitMs), part).toBeLessThan(limitMs);
    }
  });
});

test("trusted proxies are listed by address or range, IPv4 and IPv6", () => {
  const trusted = createTrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]);
  for (const address of ["10.1.2.3", "192.0.2.7", "2001:db8::5", "::1", "::ffff:10.1.2.3"]) {
    expect(trusted.has(address), address).toBe(true);
  }
  for (const address of ["11.0.0.1", "192.0.2.8", "2001:db9::5", "", "x"]) {
    expect(trusted.has(address), address).toBe(false);
  }
});

test.each(["10.0.0.0/33", "::/129", "10.0.0", "1.2.3.4:80"])(
  "CT_TRUSTED_PROXIES refuses %s, which is not a network",
  (entry) => {
    expect(() => createTrustedProxies([entry])).toThrow(
      `CT_TRUSTED_PROXIES="${entry}" is not allowed`,
    );
  },
);
