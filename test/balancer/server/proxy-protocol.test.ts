/** CT_PROXY_PROTOCOL: the client that a TCP balancer in front names, on both ports, and what else such a peer may send. */

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { describe, expect, test } from "vitest";
import { atEnd } from "../../support/at-end.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { proxyV2, tlv } from "../../support/proxy-header.ts";
import { RawSocket } from "../../support/sockets.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";
import {
  ok,
  type Rig,
  type RigOptions,
  startRig,
  startSimpleWorker,
  workerRecord,
} from "../rig.ts";

const V1 = Buffer.from("PROXY TCP4 203.0.113.9 127.0.0.1 50000 1080\r\n", "latin1");
const ADDRESSES = Buffer.from("cb0071097f000001c3500438", "hex");
const V2 = proxyV2({ family: 0x11, body: ADDRESSES });
const LOCAL = proxyV2({ command: 0, family: 0, body: Buffer.alloc(0) });
const GET = "GET /p HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n";
const HEALTH = "GET /ct-health HTTP/1.1\r\nHost: edge\r\n\r\n";

const certificate = await makeCertificate();

interface Setup {
  readonly rig: Rig;
  /** Heads that the worker got. */
  readonly heads: string[];
  readonly errors: () => Promise<string>;
}

async function start(options: RigOptions = {}): Promise<Setup> {
  const heads: string[] = [];
  const worker = await startSimpleWorker((head) => {
    heads.push(head);
    return ok("fine");
  });
  const logDir = tempFolder();
  const rig = await startRig({
    certificate,
    logDir,
    trusted: ["127.0.0.1"],
    takesProxyHeaders: true,
    workers: [workerRecord("w1", worker.port)],
    ...options,
  });
  return { rig, heads, errors: () => readFile(join(logDir, "error.log"), "utf8") };
}

type Port = "HTTP" | "HTTPS";

/** A client that has sent `header`, and speaks TLS behind it on the HTTPS port. */
async function clientOf(rig: Rig, port: Port, header: Buffer): Promise<RawSocket> {
  const tcp = await rig.client(port === "HTTP" ? rig.port : rig.path.listener.tlsPort);
  if (port === "HTTP") {
    if (header.length > 0) tcp.socket.write(header);
    return tcp;
  }
  // Of what the TLS layer writes, nothing may come before the header.
  if (header.length > 0) tcp.socket.write(header);
  tcp.socket.removeAllListeners("data");
  const tls = connectTls({ socket: tcp.socket, rejectUnauthorized: false });
  const raw = new RawSocket(tls);
  atEnd(() => void tls.destroy());
  await once(tls, "secureConnect");
  return raw;
}

async function askBy(rig: Rig, port: Port, header: Buffer, request: string): Promise<string> {
  const client = await clientOf(rig, port, header);
  client.write(request);
  await until("a response", () => client.text.includes("\r\n\r\n"));
  return client.text;
}

describe.each<Port>(["HTTP", "HTTPS"])("on the %s port", (port) => {
  test.each([
    ["version 1", V1],
    ["version 2", V2],
  ])(
    "a PROXY protocol header of %s names the client, also for what it forwards",
    async (_, header) => {
      const { rig, heads } = await start();
      const client = await clientOf(rig, port, header);
      for (const count of [1, 2, 3]) {
        client.write(GET);
        await until("a request", () => heads.length === count);
      }
      for (const head of heads) {
        expect(head).toContain("\r\nX-Real-IP: 203.0.113.9\r\n");
        expect(head).toContain("\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n");
        expect(head).toContain(`\r\nX-Forwarded-Proto: ${port.toLowerCase()}\r\n`);
      }
    },
  );

  test("a PROXY protocol header that comes byte by byte is read", async () => {
    const { rig, heads } = await start();
    const tcp = await rig.client(port === "HTTP" ? rig.port : rig.path.listener.tlsPort);
    tcp.socket.setNoDelay();
    for (const byte of V2) {
      tcp.socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    if (port === "HTTPS") return;
    tcp.write(GET);
    await until("a request", () => heads.length === 1);
    expect(heads[0]).toContain("X-Real-IP: 203.0.113.9");
  });

  test("the proxy's own connections are answered as its own", async () => {
    const { rig, heads } = await start();
    expect(await askBy(rig, port, LOCAL, GET)).toMatch(/^HTTP\/1\.1 200 /);
    // The client in X-Forwarded-For is the trusted proxy's word.
    expect(heads[0]).toContain("X-Real-IP: 198.51.100.1");
  });

  test.each([
    ["version 1", Buffer.from("PROXY UNKNOWN\r\n")],
    ["version 2", proxyV2({ family: 0, body: Buffer.alloc(0) })],
    ["version 2, by a Unix socket", proxyV2({ family: 0x31, body: Buffer.alloc(216) })],
  ])(
    "a client that the proxy does not know (%s) is not believed as the proxy is, and not limited with others",
    async (_, header) => {
      const { rig, heads } = await start({ addressLimits: { requests: 1, connections: 1 } });
      for (let count = 0; count < 3; count++) {
        expect(await askBy(rig, port, header, GET)).toMatch(/^HTTP\/1\.1 200 /);
      }
      expect(heads[0]).toContain("\r\nX-Forwarded-For: 198.51.100.1, unknown\r\n");
      expect(heads[0]).toContain("\r\nX-Real-IP: unknown\r\n");
    },
  );

  test("only health checks are answered without a PROXY protocol header", async () => {
    const { rig, heads, errors } = await start();
    expect(await askBy(rig, port, Buffer.alloc(0), HEALTH)).toMatch(/^HTTP\/1\.1 200 /);
    const answer = await askBy(rig, port, Buffer.alloc(0), GET);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain("This port takes the PROXY protocol, and its header is missing.");
    expect(heads).toEqual([]);
    await expect.poll(errors).toContain("sent a request without a PROXY protocol header; turn it");
  });

  test("a peer that is not trusted is served without a PROXY protocol header, and none is taken of it", async () => {
    const { rig, heads } = await start({ trusted: ["10.0.0.0/8"] });
    expect(await askBy(rig, port, Buffer.alloc(0), GET)).toMatch(/^HTTP\/1\.1 200 /);
    expect(heads[0]).toContain("X-Real-IP: 127.0.0.1");
    const stranger = await rig.client(port === "HTTP" ? rig.port : rig.path.listener.tlsPort);
    stranger.socket.write(V1);
    stranger.write(GET);
    await until("a response", () => stranger.text.includes("\r\n\r\n"));
    expect(stranger.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(heads).toHaveLength(1);
  });

  test.each([
    ["cut", V1.subarray(0, 20), true, "it was cut off"],
    ["of an unknown family", Buffer.from("PROXY TCP9 a b 1 2\r\n"), false, "family is unknown"],
    ["too long", Buffer.from(`PROXY TCP4 ${"1".repeat(200)}`), false, "more than 107 bytes"],
    [
      "with a wrong checksum",
      proxyV2({ family: 0x11, body: Buffer.concat([ADDRESSES, tlv(3, "crc?")]) }),
      false,
      "checksum is wrong",
    ],
    ["late", V1.subarray(0, 20), false, "did not come in time"],
  ])(
    "a PROXY protocol header that is %s closes the connection, and error.log says why",
    async (_, header, ends, reason) => {
      const { rig, errors } = await start({ limits: { headerTimeoutMs: 300 } });
      const client = await rig.client(port === "HTTP" ? rig.port : rig.path.listener.tlsPort);
      client.socket.write(header);
      if (ends) client.socket.end();
      await until("the end", () => client.socket.destroyed || client.socket.readableEnded);
      expect(client.text).toBe("");
      expect(rig.counters.value("balancer.refused", "proxy protocol")).toBe(1);
      await expect.poll(errors).toContain(reason);
      expect(await errors()).toContain("client: 127.0.0.1");
      await until("no connection", () => rig.path.listener.connections === 0);
    },
  );

  test("a check that only connects to a port with PROXY protocol headers is not reported", async () => {
    const { rig, errors } = await start();
    const client = await rig.client(port === "HTTP" ? rig.port : rig.path.listener.tlsPort);
    client.socket.end();
    await until("no connection", () => rig.path.listener.connections === 0);
    expect(rig.counters.value("balancer.refused", "proxy protocol")).toBe(0);
    expect(await errors().catch(() => "")).toBe("");
  });
});

test("a second PROXY protocol header is refused as a request", async () => {
  const { rig } = await start();
  const answer = await askBy(rig, "HTTP", Buffer.concat([V2, V1]), GET);
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).toContain("This port does not take the PROXY protocol.");
});

test("a connection on which nothing follows the PROXY protocol header is closed after the time for a head", async () => {
  const { rig } = await start({ limits: { headerTimeoutMs: 300 } });
  const client = await rig.client();
  client.socket.write(V2);
  await until("the end", () => client.socket.readableEnded);
  expect(client.text).toBe("");
});

test("TLS that the proxy ended is forwarded as https", async () => {
  const { rig, heads } = await start();
  const ssl = tlv(0x20, Buffer.from([0x01, 0, 0, 0, 0]));
  const header = proxyV2({ family: 0x11, body: Buffer.concat([ADDRESSES, ssl]) });
  await askBy(rig, "HTTP", header, GET);
  expect(heads[0]).toContain("\r\nX-Forwarded-Proto: https\r\n");
});
