/**
 * How an exchange ends, over HTTP and HTTPS: an early response, and a client that has ended its side.
 */
import { describe, expect, test } from "vitest";
import { makeCertificate } from "../support/certificates.ts";
import { connectRaw, type RawSocket } from "../support/sockets.ts";
import { ok, type RawWorker, type Rig, type RigOptions, startRawRig } from "./rig.ts";

const certificate = await makeCertificate();

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
}

type Scheme = "http" | "https";

interface Played {
  readonly worker: RawWorker;
  readonly rig: Rig;
  readonly client: () => Promise<RawSocket>;
}

/** One worker, whose bytes the test writes, and clients that use `scheme`. */
async function play(
  scheme: Scheme,
  onHead?: (head: string, socket: RawSocket) => void,
  options: RigOptions = {},
): Promise<Played> {
  const { worker, rig } = await startRawRig(
    (socket) => {
      if (onHead === undefined) return;
      for (let head = socket.takeHead(); head !== undefined; head = socket.takeHead()) {
        onHead(head, socket);
      }
    },
    { certificate, ...options },
  );
  return {
    worker,
    rig,
    client: () => (scheme === "http" ? rig.client() : clientOverTls(rig)),
  };
}

function clientOverTls(rig: Rig): Promise<RawSocket> {
  const port = rig.path.listener.tlsPort ?? 0;
  return connectRaw({ port, allowHalfOpen: true, tls: {} });
}

describe.each<Scheme>(["http", "https"])("over %s", (scheme) => {
  describe("a response that begins before the request's body has arrived", () => {
    const expect100 = "Expect: 100-continue\r\n";

    test.each([
      ["413 to an expectation", 413, `${expect100}Content-Length: 30000\r\n`, ""],
      ["417 to an expectation", 417, `${expect100}Content-Length: 30000\r\n`, ""],
      ["401 to an expectation", 401, `${expect100}Transfer-Encoding: chunked\r\n`, ""],
      ["403 to a small body", 403, "Content-Length: 5\r\n", "hal"],
      ["403 to a large body", 403, "Content-Length: 100000000\r\n", "half"],
      ["403 to a body in chunks", 403, "Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"],
      ["200 to an expectation", 200, `${expect100}Content-Length: 30000\r\n`, ""],
    ])(
      "an early response announces the end of the connection and closes it without a reset: %s",
      async (_, status, fields, body) => {
        const { client, worker } = await play(scheme, (_head, socket) =>
          socket.write(`HTTP/1.1 ${status} No\r\nContent-Length: 4\r\n\r\nstop`),
        );
        const one = await client();
        one.write(`POST / HTTP/1.1\r\nHost: h\r\n${fields}\r\n${body}`);
        await one.has("\r\n\r\nstop");
        expect(one.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} No\r\n`));
        expect(one.text.match(/^connection: close\r$/gim)).toHaveLength(1);
        // What follows the head is the rest of the body, never a request.
        one.write(get("/hidden"));
        await one.end();
        expect(one.error).toBeUndefined();
        expect(one.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
        const upstream = await worker.connection(0);
        await upstream.close();
        expect(upstream.text).not.toContain("/hidden");
      },
    );

    test("a response after the whole body keeps the connection for the next request", async () => {
      const { client, worker } = await play(scheme);
      const one = await client();
      one.write(`POST / HTTP/1.1\r\nHost: h\r\n${expect100}Content-Length: 4\r\n\r\nbody`);
      const upstream = await worker.connection(0);
      await upstream.has("body");
      upstream.write(`HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nstop`);
      await one.has("stop");
      expect(one.text).not.toMatch(/^connection: close\r$/im);
      one.write(get("/next"));
      await upstream.has("GET /next");
      upstream.write(ok("next"));
      await one.has("next");
    });

    test.each([
      ["a length", "Content-Length: 12\r\n", "half", "the rest"],
      [
        "chunks",
        "Transfer-Encoding: chunked\r\n",
        "4\r\nhalf\r\n",
        "8\r\nthe rest\r\n0\r\nX-Sum: 1\r\n\r\n",
      ],
    ])(
      "an early response that refuses nothing keeps the connection; the rest of a body with %s is discarded",
      async (_, fields, half, rest) => {
        const { client, worker } = await play(scheme);
        const one = await client();
        one.write(`POST / HTTP/1.1\r\nHost: h\r\n${fields}\r\n${half}`);
        const upstream = await worker.connection(0);
        await upstream.has("half");
        upstream.write(ok("enough"));
        await one.has("enough");
        expect(one.text).not.toMatch(/^connection: close\r$/im);
        one.write(rest.slice(0, 3));
        one.write(rest.slice(3) + get("/next"));
        // A request on the connection that still waits for the body would be swallowed.
        const other = await worker.connection(1);
        expect(await other.head()).toContain("GET /next");
        other.write(ok("next"));
        await one.has("next");
        await upstream.close();
        expect(upstream.text).not.toContain("/next");
      },
    );

    test("an invalid chunk after an early response ends the connection without another response", async () => {
      const { client, worker } = await play(scheme);
      const one = await client();
      one.write("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
      const upstream = await worker.connection(0);
      await upstream.has("half");
      upstream.write(ok("enough"));
      await one.has("enough");
      one.write(`zz\r\n${get("/hidden")}`);
      await one.end();
      expect(one.error).toBeUndefined();
      expect(one.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
      expect(worker.connections).toHaveLength(1);
    });

    test("the connection ends when the rest of a body does not come in time after an early response", async () => {
      const { client, worker } = await play(scheme, undefined, { limits: { bodyTimeoutMs: 200 } });
      const one = await client();
      one.write("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf");
      const upstream = await worker.connection(0);
      await upstream.has("half");
      upstream.write(ok("enough"));
      await one.has("enough");
      await one.end();
      expect(one.error).toBeUndefined();
    });

    test("a response may begin before the body and end after it: both sides stream, and the connection stays", async () => {
      const { client, worker } = await play(scheme);
      const one = await client();
      one.write(`POST / HTTP/1.1\r\nHost: h\r\n${expect100}Transfer-Encoding: chunked\r\n\r\n`);
      const upstream = await worker.withHead(0);
      upstream.write(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
      );
      await one.has("hi");
      expect(one.text).not.toMatch(/^connection: close\r$/im);
      one.write(`4\r\nbody\r\n0\r\n\r\n${get("/next")}`);
      await upstream.has("4\r\nbody\r\n0\r\n\r\n");
      upstream.write("0\r\n\r\n");
      await upstream.has("GET /next");
      upstream.write(ok("next"));
      await one.has("next");
    });
  });

  describe("a client that has ended its side", () => {
    test("a client that has ended its side gets the responses to all its requests, in order", async () => {
      const { client, worker } = await play(scheme);
      const one = await client();
      one.socket.end(`${get("/1")}${get("/ct-health/")}${get("/3")}`);
      const upstream = await worker.connection(0);
      expect(await upstream.head()).toContain("GET /1");
      upstream.write(ok("first"));
      await upstream.has("GET /3");
      upstream.write(ok("third"));
      await one.end();
      expect(one.text).toMatch(/first[\s\S]*{"status":"ok"}[\s\S]*third$/);
      expect(one.error).toBeUndefined();
    });

    test("a client that has ended its side gets the response to a complete request before an incomplete one", async () => {
      const { client, worker } = await play(scheme);
      const one = await client();
      one.socket.end(`${get("/1")}GET /2 HTTP/1.1\r\nHo`);
      const upstream = await worker.withHead(0);
      upstream.write(ok("first"));
      await one.end();
      expect(one.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
      expect(one.text.endsWith("first")).toBe(true);
    });

    test("an incomplete body of a client that has ended its side ends the request at the worker", async () => {
      const { client, worker } = await play(scheme);
      const one = await client();
      one.socket.end(`${get("/1")}POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf`);
      const upstream = await worker.withHead(0);
      upstream.write(ok("first"));
      await one.end();
      await upstream.end();
    });

    test("the second request of a client that has ended its side waits for a second at most", async () => {
      const { client, worker } = await play(scheme, undefined, {
        limits: { upstreamTimeoutMs: 60_000, keepaliveTimeoutMs: 60_000 },
      });
      const one = await client();
      one.socket.end(`${get("/1")}${get("/2")}`);
      const upstream = await worker.withHead(0);
      upstream.write(ok("first"));
      await upstream.head();
      await upstream.close();
      await one.end();
    });
  });
});
