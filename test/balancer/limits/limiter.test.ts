/** What one address may ask for, and that nobody else pays for it. */
import { describe, expect, onTestFinished, test } from "vitest";
import { TokenBuckets } from "../../../balancer/limits/token-buckets.ts";
import { sign } from "../../../shared/settings/secret.ts";
import { proxyV2 } from "../../support/proxy-header.ts";
import {
  ok,
  type Rig,
  type RigOptions,
  startRig,
  startSimpleWorker,
  TOKEN_KEY,
  until,
  workerRecord,
} from "../rig.ts";

describe("a bucket", () => {
  test("gives what is allowed at once, and then as much per minute", () => {
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

  test("of an address that has everything back is forgotten, and the number of addresses is bounded", () => {
    const buckets = new TokenBuckets(60, 100);
    for (let address = 0; address < 1000; address++) buckets.take(String(address), 0);
    expect(buckets.size).toBe(100);
    buckets.prune(500);
    expect(buckets.size).toBe(100);
    buckets.prune(1000);
    expect(buckets.size).toBe(0);
  });
});

async function start(options: RigOptions): Promise<{ rig: Rig; heads: string[] }> {
  const heads: string[] = [];
  const worker = await startSimpleWorker((head) => {
    heads.push(head);
    return ok("fine");
  });
  onTestFinished(() => worker.close());
  const rig = await startRig({
    trusted: ["127.0.0.1"],
    workers: [workerRecord("w1", worker.port)],
    ...options,
  });
  onTestFinished(() => rig.close());
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

test("people who come back are never limited, strangers who claim it are", async () => {
  const { rig } = await start({ addressLimits: { handshakes: 1, requests: 1 } });
  const token = (key: Buffer, claims: object): string => {
    const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
    const signed = `${encode({ alg: "HS256" })}.${encode(claims)}`;
    return `x-oct-jwt: ${signed}.${sign(key, signed)}\r\n`;
  };
  const room = { room: "A".repeat(24) };
  const by = (field: string) => ask(rig, "192.0.2.1", HANDSHAKE, field);
  expect(await by("")).toBe("200");
  expect(await by("")).toMatch(/^429/);
  for (let count = 0; count < 10; count++) expect(await by(token(TOKEN_KEY, room))).toBe("200");
  expect(await by(token(Buffer.alloc(32, 9), room))).toMatch(/^429/);
  expect(await by(token(TOKEN_KEY, { user: "ada" }))).toMatch(/^429/);
  expect(await by("x-oct-jwt: a.b.c\r\n")).toMatch(/^429/);
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
    await until(() => client.text !== "" || client.socket.readableEnded, "an outcome");
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
