/** What one address may ask for, and that nobody else pays for it. */
import { describe, expect, test } from "vitest";
import { createTrustedProxies } from "../../../balancer/http1/forwarding.ts";
import { parseRequestHead } from "../../../balancer/http1/request-head.ts";
import { createLimiter, type Limits } from "../../../balancer/limits/limiter.ts";
import { roomTokenSignature } from "../../../balancer/limits/room-token.ts";
import { TokenBuckets } from "../../../balancer/limits/token-buckets.ts";
import { findRoute } from "../../../balancer/routing/session-key.ts";
import { newIncarnation, type WorkerId } from "../../../shared/base/ids.ts";
import { taggedId, workerTag } from "../../../shared/base/worker-tag.ts";
import { createCounters } from "../../../shared/metrics/metrics.ts";
import { sign } from "../../../shared/settings/secret.ts";
import { holdings } from "../../robustness/memory.ts";
import { proxyV2 } from "../../support/proxy-header.ts";
import { createStepClock } from "../../support/step-clock.ts";
import { until } from "../../support/until.ts";
import { ok, type Rig, type RigOptions, startSimpleRig, TOKEN_KEY } from "../rig.ts";

describe("a bucket", () => {
  test("a bucket gives what is allowed at once, and then as much per minute", () => {
    const buckets = new TokenBuckets(60, 10);
    for (let taken = 0; taken < 60; taken++) expect(buckets.take("a", 0)).toBe(0);
    expect(buckets.take("a", 0)).toBeCloseTo(1000);
    expect(buckets.take("a", 900)).toBeCloseTo(100);
    expect(buckets.take("b", 900)).toBe(0);
    expect(buckets.take("a", 1000)).toBe(0);
    expect(buckets.take("a", 1000)).toBeGreaterThan(0);
    for (let taken = 0; taken < 60; taken++) expect(buckets.take("a", 100_000)).toBe(0);
    expect(buckets.take("a", 100_000)).toBeGreaterThan(0);
  });

  test("a bucket of an address that has everything back is forgotten, and the number of addresses is bounded", () => {
    const buckets = new TokenBuckets(60, 100);
    for (let address = 0; address < 1000; address++) buckets.take(String(address), 0);
    expect(buckets.size).toBe(100);
    buckets.prune(500);
    expect(buckets.size).toBe(100);
    buckets.prune(1000);
    expect(buckets.size).toBe(0);
  });
});

test("a bucket does not keep the request head that its address came in", () => {
  const buckets = new TokenBuckets(60, 10_000);
  const before = holdings().heap;
  for (let count = 0; count < 2000; count++) {
    const head = `203.113.${100 + (count >> 8)}.${count & 255}`.padEnd(16_384, " ");
    buckets.take(head.slice(0, head.indexOf(" ")), 0);
  }
  expect(holdings().heap - before).toBeLessThan(4_000_000);
  expect(buckets.size).toBe(2000);
});

async function start(options: RigOptions): Promise<{ rig: Rig; heads: string[] }> {
  const heads: string[] = [];
  const { rig } = await startSimpleRig(
    (head) => {
      heads.push(head);
      return ok("fine");
    },
    { trusted: ["127.0.0.1"], ...options },
  );
  return { rig, heads };
}

/** The status and Retry-After of a request from `address`, by way of a trusted proxy. */
async function ask(
  rig: Rig,
  address: string,
  request = "GET /p HTTP/1.1",
  fields = "",
): Promise<string> {
  const text = await rig.ask(
    `${request}\r\nHost: e\r\nX-Forwarded-For: ${address}\r\nConnection: close\r\n${fields}\r\n`,
  );
  const retry = /\r\nRetry-After: (\d+)/.exec(text)?.[1];
  return text.slice(9, 12) + (retry === undefined ? "" : ` after ${retry}`);
}

/** A room token of the edge. */
function jwt(claims: object, key: Buffer = TOKEN_KEY): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ alg: "HS256" })}.${encode(claims)}`;
  return `${signed}.${sign(key, signed)}`;
}

const LOGIN = "POST /api/login/initial HTTP/1.1";
const CREATE = "POST /api/session/create HTTP/1.1";
const HANDSHAKE = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1";
const EMPTY = "Content-Length: 0\r\n";

test("requests of an address beyond its limit get 429 with the time to wait, and nobody else's do", async () => {
  const { rig, heads } = await start({ addressLimits: { requests: 3 } });
  for (let count = 0; count < 3; count++) expect(await ask(rig, "192.0.2.1")).toBe("200");
  expect(await ask(rig, "192.0.2.1")).toBe("429 after 20");
  expect(await ask(rig, "192.0.2.2")).toBe("200");
  expect(heads).toHaveLength(4);
  expect(rig.counters.value("balancer.limited", "requests")).toBe(1);
});

test.each([
  ["logins", LOGIN],
  ["creates", CREATE],
  ["handshakes", HANDSHAKE],
] as const)("%s have a limit of their own", async (kind, request) => {
  const { rig } = await start({ addressLimits: { [kind]: 1 } });
  expect(await ask(rig, "192.0.2.1", request, EMPTY)).toBe("200");
  expect(await ask(rig, "192.0.2.1", request, EMPTY)).toBe("429 after 60");
  for (const other of [LOGIN, CREATE, HANDSHAKE].filter((one) => one !== request)) {
    expect(await ask(rig, "192.0.2.1", other, EMPTY)).toBe("200");
  }
  // What goes on is not counted as what begins.
  const next = "GET /socket.io/?EIO=4&transport=polling&sid=abc HTTP/1.1";
  expect(await ask(rig, "192.0.2.1", next)).toBe("200");
  expect(await ask(rig, "192.0.2.1", "POST /api/login/poll/abc HTTP/1.1", EMPTY)).toBe("200");
});

test("an IPv6 network counts as one address", async () => {
  const { rig } = await start({ addressLimits: { requests: 1 } });
  expect(await ask(rig, "2001:db8::1")).toBe("200");
  expect(await ask(rig, "2001:db8::2")).toBe("429 after 60");
  expect(await ask(rig, "2001:db8:0:1::1")).toBe("200");
});

test("an address that a client only claims does not count", async () => {
  const { rig } = await start({ addressLimits: { requests: 1 }, trusted: ["127.0.0.1"] });
  const forged = (address: string) => ask(rig, `${address}, 192.0.2.1`);
  expect(await forged("198.51.100.1")).toBe("200");
  expect(await forged("198.51.100.2")).toBe("429 after 60");
});

test("programs of this machine are not limited: they may be a proxy, through which everybody comes", async () => {
  const { rig } = await start({ addressLimits: { requests: 1, connections: 1 }, trusted: [] });
  for (let count = 0; count < 5; count++) expect(await ask(rig, "192.0.2.1")).toBe("200");
});

test("people who come back are not limited as strangers are, and strangers who claim it are", async () => {
  const { rig } = await start({ addressLimits: { handshakes: 1, requests: 1 } });
  const token = (key: Buffer, claims: object) => `x-oct-jwt: ${jwt(claims, key)}\r\n`;
  const room = { room: "A".repeat(24) };
  const by = (field: string) => ask(rig, "192.0.2.1", HANDSHAKE, field);
  expect(await by("")).toBe("200");
  expect(await by("")).toMatch(/^429/);
  for (let count = 0; count < 5; count++) {
    expect(await by(token(TOKEN_KEY, room))).toBe("200");
    // As browsers send it.
    expect(await by(`Cookie: a=b; oct-jwt=${jwt(room)}\r\n`)).toBe("200");
  }
  expect(await by(token(Buffer.alloc(32, 9), room))).toMatch(/^429/);
  expect(await by(token(TOKEN_KEY, { user: "ada" }))).toMatch(/^429/);
  expect(await by("x-oct-jwt: a.b.c\r\n")).toMatch(/^429/);
  // Ten times the limit of requests is used up.
  expect(await by(token(TOKEN_KEY, room))).toMatch(/^429/);
});

test("a dry run refuses nothing, and counts", async () => {
  const { rig } = await start({ addressLimits: { requests: 1 }, isDryRun: true });
  for (let count = 0; count < 3; count++) expect(await ask(rig, "192.0.2.1")).toBe("200");
  expect(rig.counters.value("balancer.limited", "requests")).toBe(2);
});

test("connections beyond the limit of their address are closed", async () => {
  const { rig } = await start({ addressLimits: { connections: 2 }, takesProxyHeaders: true });
  const connect = async (last: number) => {
    const client = await rig.client();
    const body = Buffer.from([192, 0, 2, last, 127, 0, 0, 1, 0, 1, 0, 2]);
    client.socket.write(proxyV2({ family: 0x11, body }));
    client.write("GET /p HTTP/1.1\r\nHost: e\r\n\r\n");
    await until("an outcome", () => client.text !== "" || client.socket.readableEnded);
    return client.text === "" ? "closed" : "served";
  };
  expect([await connect(1), await connect(1), await connect(1), await connect(2)]).toEqual([
    "served",
    "served",
    "closed",
    "served",
  ]);
  expect(rig.counters.value("balancer.limited", "connections")).toBe(1);
});

describe("sessions that are open", () => {
  const SID = taggedId(workerTag("w1" as WorkerId, newIncarnation()));
  const POLL = `GET /socket.io/?EIO=4&transport=polling&sid=${SID} HTTP/1.1`;

  test("sessions that are open go on when their address has used up its requests, up to ten times as many", async () => {
    const { rig } = await start({ addressLimits: { requests: 1 } });
    expect(await ask(rig, "192.0.2.1")).toBe("200");
    expect(await ask(rig, "192.0.2.1")).toMatch(/^429/);
    for (let count = 0; count < 10; count++) expect(await ask(rig, "192.0.2.1", POLL)).toBe("200");
    expect(await ask(rig, "192.0.2.1", POLL)).toMatch(/^429/);
    const text = "GET /socket.io/?EIO=4&transport=polling&sid=abc HTTP/1.1";
    expect(await ask(rig, "192.0.2.1", text)).toMatch(/^429/);
    expect(rig.counters.value("balancer.limited", "requests")).toBe(3);
  });

  test("sessions that are open have connections when a stranger behind their address has used up its own", () => {
    const { limiter, clock, ask } = unit({ connections: 2 });
    const admitted = () => {
      let count = 0;
      while (count < 1000 && limiter.admits("192.0.2.1")) count++;
      return count;
    };
    expect(admitted()).toBe(2);
    ask("GET /socket.io/?EIO=4", `x-oct-jwt: ${jwt({ room: "A".repeat(24) })}`);
    expect(admitted()).toBe(40);
    clock.advance(599_000);
    expect(admitted()).toBe(40);
    // A client that polls refreshes it.
    ask(`GET /socket.io/?sid=${SID}`, `x-oct-jwt: ${jwt({ room: "A".repeat(24) })}`);
    clock.advance(599_000);
    expect(admitted()).toBe(40);
    clock.advance(2000);
    expect(admitted()).toBe(2);
    expect(limiter.admits("192.0.2.2")).toBe(true);
  });

  test("sessions that are open do not lift the limits of their address by a token that is not of this edge", () => {
    const { limiter, ask } = unit({ connections: 1 });
    const forged = `x-oct-jwt: ${jwt({ room: "A".repeat(24) }, Buffer.alloc(32, 9))}`;
    ask("GET /socket.io/?EIO=4", forged);
    ask(`GET /socket.io/?sid=${SID}`, forged);
    expect([limiter.admits("192.0.2.1"), limiter.admits("192.0.2.1")]).toEqual([true, false]);
  });

  test("sessions that are open have 600 handshakes a minute by each token, and what is refused is counted", () => {
    const { ask, counters, clock } = unit({ handshakes: 1 });
    const by = (room: string) =>
      ask("GET /socket.io/?EIO=4", `x-oct-jwt: ${jwt({ room: room.repeat(24) })}`);
    for (let count = 0; count < 600; count++) expect(by("A")).toBe("served");
    expect(by("A")).toContain("one room token has more than 600 handshakes a minute");
    expect(by("B")).toBe("served");
    expect(counters.value("balancer.limited", "handshakes")).toBe(1);
    clock.advance(100);
    expect(by("A")).toBe("served");
  });
});

/** A limiter by itself, asked from 192.0.2.1. */
function unit(limits: Partial<Limits>, trusted: readonly string[] = []) {
  const clock = createStepClock();
  const counters = createCounters();
  const limiter = createLimiter({
    limits: { connections: 0, handshakes: 0, requests: 0, logins: 0, creates: 0, ...limits },
    isDryRun: false,
    trusted: createTrustedProxies(trusted),
    roomTokenSignature: (values) => roomTokenSignature(values, { accepted: [TOKEN_KEY] }),
    clock,
    counters,
  });
  if (limiter === undefined) throw new Error("no limits");
  const ask = (line: string, field = "A: b"): string => {
    const head = parseRequestHead(`${line} HTTP/1.1\r\nHost: e\r\n${field}`);
    const request = { head, route: findRoute(head), isHealthCheck: false };
    return limiter.check({ ...request, peerAddress: "192.0.2.1" })?.message ?? "served";
  };
  return { limiter, clock, counters, ask };
}

test.each(["GET /ct-health/", "TRACE /"])(
  "the request %s of a client is limited too",
  async (line) => {
    const { rig } = await start({ addressLimits: { requests: 1 } });
    await ask(rig, "192.0.2.1", `${line} HTTP/1.1`);
    expect(await ask(rig, "192.0.2.1", `${line} HTTP/1.1`)).toBe("429 after 60");
  },
);

test("health checks of trusted proxies and of this machine are not limited", () => {
  const { limiter } = unit({ requests: 1 }, ["198.51.100.7"]);
  const head = parseRequestHead("GET /ct-health/ HTTP/1.1\r\nHost: e");
  const check = (peerAddress: string, isHealthCheck = true) =>
    limiter.check({ head, route: findRoute(head), isHealthCheck, peerAddress }) === undefined;
  for (let count = 0; count < 5; count++) {
    expect([check("198.51.100.7"), check("127.0.0.1"), check("::1")]).toEqual([true, true, true]);
  }
  expect([check("198.51.100.7", false), check("198.51.100.7", false)]).toEqual([true, false]);
  expect([check("192.0.2.1"), check("192.0.2.1")]).toEqual([true, false]);
});
