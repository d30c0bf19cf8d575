/** One attempt to deliver an event, to receivers that behave badly in every way. */
import type { lookup as dnsLookup } from "node:dns";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect, createServer, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../../shared/base/clock.ts";
import { parseAddressRules } from "../../../worker/webhooks/receiver-addresses.ts";
import type { Receiver } from "../../../worker/webhooks/receivers.ts";
import {
  type Attempt,
  createSender,
  type Sender,
  type SenderDeps,
} from "../../../worker/webhooks/sender.ts";
import { parseSecret } from "../../../worker/webhooks/signature.ts";
import { makeCertificate } from "../../support/certificates.ts";
import { freePort } from "../../support/ports.ts";
import { listen } from "../../support/servers.ts";
import { until } from "../../support/until.ts";
import { newSecret, startWebhookReceiver } from "../../support/webhook-receiver.ts";

const LOCAL = parseAddressRules(["127.0.0.0/8"]);
const NOWHERE = parseAddressRules([]);
/** For tests that wait for the end of it. */
const SOON = { timeLimitMs: 400 };

function receiverAt(url: string, more: Partial<Receiver> = {}): Receiver {
  return {
    name: "one",
    url: new URL(url),
    secrets: [Buffer.alloc(32, 1)],
    events: undefined,
    hasPersonalData: true,
    authority: undefined,
    ...more,
  };
}

function senderTo(url: string, more: Partial<SenderDeps> = {}): Sender {
  const sender = createSender({
    receiver: receiverAt(url),
    rules: LOCAL,
    proxy: undefined,
    connections: 4,
    clock: systemClock,
    // Only reached by a test that fails.
    timeLimitMs: 20_000,
    ...more,
  });
  onTestFinished(() => sender.close());
  return sender;
}

function sendTo(url: string, more: Partial<SenderDeps> = {}): Promise<Attempt> {
  return senderTo(url, more).send({ id: "event-1", body: '{"id":"event-1"}' });
}

/** A receiver that answers as `respond` does, byte by byte. */
async function raw(respond: (socket: Socket) => void): Promise<{ url: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", () => respond(socket));
  });
  return { url: `http://127.0.0.1:${await listen(server)}/`, sockets };
}

async function answering(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(createHttpServer(listener))}/`;
}

const closed = (socket: Socket | undefined): Promise<void> =>
  new Promise((resolve) => {
    if (socket === undefined || socket.destroyed) resolve();
    else socket.once("close", () => resolve());
  });

describe("what a receiver answers", () => {
  test.each([
    [200, undefined],
    [204, undefined],
    [301, "redirect"],
    [308, "redirect"],
    [400, "status 4xx"],
    [404, "status 4xx"],
    [408, "busy"],
    [410, "gone"],
    [425, "busy"],
    [429, "busy"],
    [500, "status 5xx"],
    [503, "status 5xx"],
    [999, "status other"],
  ])("status %d of a receiver counts as %s", async (status, cause) => {
    const url = await answering((_, response) => response.writeHead(status).end());
    const attempt = await sendTo(url);
    expect(attempt).toMatchObject(
      cause === undefined ? { outcome: "accepted", status } : { outcome: "failed", cause },
    );
  });

  test.each([
    ["7", 7000],
    ["999999999", 600_000],
    ["Fri, 31 Dec 1999 23:59:59 GMT", undefined],
    ["-1", undefined],
  ])("Retry-After: %s means %s ms", async (value, retryAfterMs) => {
    const url = await answering((_, response) =>
      response.writeHead(429, { "retry-after": value }).end(),
    );
    expect(await sendTo(url)).toMatchObject({ outcome: "failed" });
    expect((await sendTo(url)) as { retryAfterMs?: number }).toHaveProperty("cause", "busy");
    const attempt = (await sendTo(url)) as { readonly retryAfterMs?: number };
    expect(attempt.retryAfterMs).toBe(retryAfterMs);
  });

  test("a redirect is not followed, wherever it leads", async () => {
    let requests = 0;
    const inside = await answering((_, response) => {
      requests++;
      response.end();
    });
    const url = await answering((_, response) =>
      response.writeHead(302, { location: inside }).end(),
    );
    expect(await sendTo(url)).toMatchObject({
      cause: "redirect",
      reason: "status 302: redirects are not followed; set the final URL",
    });
    expect(requests).toBe(0);
  });

  test("an event has the signatures of both secrets while they are rotated", async () => {
    const [old, young] = [newSecret(), newSecret()];
    const secrets = [young, old].map((secret) => parseSecret(secret) as Buffer);
    for (const secret of [old, young]) {
      const receiver = await startWebhookReceiver({ secret });
      const attempt = await sendTo(receiver.url, {
        receiver: receiverAt(receiver.url, { secrets }),
      });
      expect(attempt).toEqual({ outcome: "accepted", status: 204 });
      expect(receiver.problems).toEqual([]);
    }
  });
});

describe("a receiver that misbehaves", () => {
  test("a receiver that never responds is given up after the time limit", async () => {
    const { url } = await raw(() => {});
    expect(await sendTo(url, SOON)).toEqual({
      outcome: "failed",
      cause: "timeout",
      reason: "no response within 0.4 s",
    });
  });

  test("a receiver that sends its head a byte at a time is given up after the time limit", async () => {
    const { url } = await raw((socket) => {
      const timer = setInterval(() => socket.write("x"), 20);
      socket.write("HTTP/1.1 200 OK\r\nx: ");
      socket.once("close", () => clearInterval(timer));
    });
    expect(await sendTo(url, SOON)).toMatchObject({ cause: "timeout" });
  });

  test("a receiver that sends gigabytes has its connection closed after some kilobytes; its status counts", async () => {
    let written = 0;
    const { url, sockets } = await raw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
      const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
      const write = (): void => {
        while (!socket.destroyed && socket.write(chunk)) written += chunk.length;
      };
      socket.on("drain", write);
      write();
    });
    const startMs = performance.now();
    expect(await sendTo(url, { timeLimitMs: 10_000 })).toEqual({
      outcome: "accepted",
      status: 200,
    });
    expect(performance.now() - startMs).toBeLessThan(5000);
    await closed(sockets[0]);
    // What the kernel buffers.
    expect(written).toBeLessThan(16 * 1024 * 1024);
  });

  test("a receiver that never ends a short body is not waited for beyond the time limit; its status counts", async () => {
    const { url, sockets } = await raw((socket) => {
      socket.write("HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\nabc");
    });
    const attempt = await sendTo(url, { timeLimitMs: 2000 });
    expect(attempt).toEqual({ outcome: "accepted", status: 202 });
    await closed(sockets[0]);
  });

  test.each([
    ["garbage", "\u0000\u0001garbage\r\n\r\n"],
    ["a head that is far too large", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(100_000)}\r\n\r\n`],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
  ])("a receiver that responds with %s has failed", async (_, text) => {
    const { url } = await raw((socket) => socket.end(text));
    expect(await sendTo(url)).toMatchObject({ outcome: "failed", cause: "connection closed" });
  });

  test("a receiver that resets the connection has failed", async () => {
    const { url } = await raw((socket) => socket.resetAndDestroy());
    expect(await sendTo(url)).toMatchObject({ outcome: "failed", cause: "connection closed" });
  });

  test("a receiver that is not there has failed", async () => {
    expect(await sendTo(`http://127.0.0.1:${await freePort()}/`)).toMatchObject({
      cause: "no connection",
    });
  });

  test("a receiver that misbehaves does not keep a sender that stops from stopping", async () => {
    const { url, sockets } = await raw(() => {});
    const sender = senderTo(url, { timeLimitMs: 60_000 });
    const attempt = sender.send({ id: "event-1", body: "{}" });
    await until("it is connected", () => sockets.length === 1);
    sender.abort();
    expect(await attempt).toEqual({ outcome: "aborted" });
  });
});

describe("addresses", () => {
  /** A name server that gives one answer after the other. */
  function names(...answers: readonly string[]): typeof dnsLookup {
    let asked = 0;
    const lookup = (
      _: string,
      _options: object,
      callback: (...result: unknown[]) => void,
    ): void => {
      const address = answers[Math.min(asked++, answers.length - 1)];
      callback(null, [{ address, family: 4 }]);
    };
    return lookup as unknown as typeof dnsLookup;
  }

  test("a name that resolves to an internal address is not connected to", async () => {
    const { url, sockets } = await raw((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
    const { port } = new URL(url);
    const attempt = await sendTo(`https://hooks.example:${port}/`, {
      rules: NOWHERE,
      lookup: names("127.0.0.1"),
    });
    expect(attempt).toMatchObject({
      cause: "address refused",
      reason:
        "hooks.example (127.0.0.1) is not a public address; if receivers may be there, add its network to CT_WEBHOOK_NETWORKS",
    });
    expect(sockets).toEqual([]);
  });

  test("a name that changes its address between a check and the connection is checked again", async () => {
    const { url, sockets } = await raw((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
    const { port } = new URL(url);
    // Plain http asks twice: before, and for the connection.
    const attempt = await sendTo(`http://hooks.example:${port}/`, {
      rules: parseAddressRules(["10.0.0.0/8"]),
      lookup: names("10.0.0.1", "127.0.0.1"),
    });
    expect(attempt).toMatchObject({ cause: "address refused" });
    expect(sockets).toEqual([]);
  });

  test.each(["http", "https"])(
    "a name whose lookup for %s never ends is given up after the time limit, or when deliveries stop",
    async (protocol) => {
      let lookups = 0;
      const lookup = (() => {
        lookups++;
      }) as unknown as typeof dnsLookup;
      const sender = senderTo(`${protocol}://hooks.example/`, { lookup, ...SOON });
      const late = await sender.send({ id: "event-1", body: "{}" });
      expect(late).toMatchObject({ outcome: "failed", cause: "timeout" });
      const stopped = sender.send({ id: "event-2", body: "{}" });
      await until("it is looked up", () => lookups === 2);
      sender.abort();
      expect(await stopped).toEqual({ outcome: "aborted" });
    },
    5000,
  );

  test("an address in the URL is refused without a connection", async () => {
    const { url, sockets } = await raw((socket) => socket.end());
    expect(await sendTo(url, { rules: NOWHERE })).toMatchObject({ cause: "address refused" });
    expect(sockets).toEqual([]);
  });

  test("a name in an allowed network is connected to", async () => {
    const url = new URL(await answering((_, response) => response.end()));
    url.hostname = "hooks.example";
    expect(await sendTo(url.href, { lookup: names("127.0.0.1") })).toMatchObject({
      outcome: "accepted",
    });
  });

  test("a certificate of an authority of the receiver's own is trusted, another is not", async () => {
    const { key, cert } = await makeCertificate({ names: [], addresses: ["127.0.0.1"] });
    const server = createHttpsServer({ key, cert }, (_, response) => response.end());
    const url = `https://127.0.0.1:${await listen(server)}/`;
    expect(await sendTo(url)).toMatchObject({ cause: "TLS" });
    const trusted = receiverAt(url, { authority: cert });
    expect(await sendTo(url, { receiver: trusted })).toMatchObject({ outcome: "accepted" });
  });

  test("a proxy resolves names, and may itself be anywhere", async () => {
    const url = new URL(await answering((_, response) => response.end()));
    const asked: (string | undefined)[] = [];
    const proxy = createHttpServer();
    proxy.on("connect", (request, socket: Socket) => {
      asked.push(request.url);
      const upstream = connect(Number(url.port), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.pipe(upstream).pipe(socket);
      });
      upstream.on("error", () => socket.destroy());
      socket.on("error", () => upstream.destroy());
    });
    const port = await listen(proxy);
    url.hostname = "hooks.example";
    const attempt = await sendTo(url.href, {
      proxy: `http://127.0.0.1:${port}`,
      rules: parseAddressRules(["10.0.0.0/8"]),
      lookup: names("10.0.0.1"),
    });
    expect(attempt).toMatchObject({ outcome: "accepted" });
    expect(asked).toEqual([url.host]);
  });
});
