import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HttpSyntaxError } from "../../../balancer/http1/fields.ts";
import {
  type RequestHead,
  requestLine,
  serializeHead,
  statusLine,
} from "../../../balancer/http1/head.ts";
import { HeadCollector } from "../../../balancer/http1/head-collector.ts";
import { DEFAULT_HTTP_LIMITS } from "../../../balancer/http1/limits.ts";
import { parseRequestHead } from "../../../balancer/http1/request-head.ts";
import { parseResponseHead } from "../../../balancer/http1/response-head.ts";
import { get, head } from "../../conformance/case.ts";
import { watchMachine } from "../../support/machine.ts";

const machine = watchMachine();

/** Collects and parses a request's head that arrives in parts. */
function readRequest(...parts: string[]): RequestHead | string {
  const collector = new HeadCollector("downstream");
  try {
    for (const part of parts) {
      const bytes = Buffer.from(part, "latin1");
      if (collector.push(bytes, 0) >= 0) return parseRequestHead(collector.take());
    }
    return "incomplete";
  } catch (error) {
    if (error instanceof HttpSyntaxError) return `${error.status} ${error.reason}`;
    throw error;
  }
}

const isBadRequest = (outcome: RequestHead | string): boolean =>
  typeof outcome === "string" && outcome.startsWith("400 ");

function readResponse(text: string, method = "GET") {
  try {
    return parseResponseHead(text, method);
  } catch (error) {
    if (error instanceof HttpSyntaxError) return error.reason;
    throw error;
  }
}

const H = "Host: h\r\n";
const line = (text: string): string => head(text, "Host: h");
const post = (...fields: string[]): string => head("POST / HTTP/1.1", "Host: h", ...fields);

describe("a refused request head", () => {
  test.each<[name: string, bytes: string, expected: string]>([
    [
      "length and chunks",
      post("Content-Length: 1", "Transfer-Encoding: chunked"),
      "400 Content-Length with Transfer-Encoding",
    ],
    [
      "chunks and length",
      post("Transfer-Encoding: chunked", "Content-Length: 1"),
      "400 Content-Length with Transfer-Encoding",
    ],
    ["two lengths", post("Content-Length: 1", "Content-Length: 2"), "400 Content-Length"],
    ["the same length twice", post("Content-Length: 1", "content-length: 1"), "400 Content-Length"],
    ["a list of lengths", post("Content-Length: 1, 1"), "400 Content-Length"],
    ["a signed length", post("Content-Length: +1"), "400 Content-Length"],
    ["a negative length", post("Content-Length: -1"), "400 Content-Length"],
    ["a hexadecimal length", post("Content-Length: 0x1"), "400 Content-Length"],
    ["an empty length", post("Content-Length:"), "400 Content-Length"],
    ["a length with a space inside", post("Content-Length: 1 1"), "400 Content-Length"],
    ["a length of 16 digits", post("Content-Length: 9999999999999999"), "400 Content-Length"],
    ["two codings", post("Transfer-Encoding: gzip, chunked"), "400 Transfer-Encoding"],
    [
      "an empty coding before chunked",
      post("Transfer-Encoding: , chunked"),
      "400 Transfer-Encoding",
    ],
    [
      "chunked twice",
      post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
      "400 Transfer-Encoding",
    ],
    ["identity", post("Transfer-Encoding: identity"), "400 Transfer-Encoding"],
    ["xchunked", post("Transfer-Encoding: xchunked"), "400 Transfer-Encoding"],
    ["chunked with a parameter", post("Transfer-Encoding: chunked;a=b"), "400 Transfer-Encoding"],
    ["chunked with a vertical tab", post("Transfer-Encoding: \x0bchunked"), "400 field value"],
    ["an empty coding", post("Transfer-Encoding:"), "400 Transfer-Encoding"],
    [
      "an empty coding beside a length",
      post("Transfer-Encoding:", "Content-Length: 1"),
      "400 Transfer-Encoding",
    ],
    [
      "chunks in HTTP/1.0",
      `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n`,
      "400 Transfer-Encoding",
    ],
    ["a folded field", get("A: b", " c"), "400 folded field"],
    ["a folded first field", `GET / HTTP/1.1\r\n A: b\r\n${H}\r\n`, "400 folded field"],
    ["a space before the colon", `GET / HTTP/1.1\r\nHost : h\r\n\r\n`, "400 field name"],
    ["a field without colon", get("A"), "400 field without colon"],
    ["a field without name", get(": a"), "400 field name"],
    ["a bare LF after a field", `GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n`, "400 bare LF"],
    ["a bare LF as blank line", `GET / HTTP/1.1\r\n${H}\n`, "400 bare LF"],
    ["bare LFs only", "GET / HTTP/1.1\nHost: h\n\n", "400 bare LF"],
    ["a bare CR in a value", get("A: b\rC: d"), "400 field value"],
    ["a bare CR in the request line", `GET /\r HTTP/1.1\r\n${H}\r\n`, "400 target"],
    ["NUL in a value", get("A: b\0c"), "400 field value"],
    ["NUL in a name", get("A\0: b"), "400 field name"],
    ["a control byte in a value", get("A: \x01"), "400 field value"],
    ["DEL in a value", get("A: \x7f"), "400 field value"],
    ["a high byte in a name", get("\xe4: b"), "400 field name"],
    ["HTTP/0.9", "GET /\r\n\r\n", "400 request line"],
    ["HTTP/2.0", line("GET / HTTP/2.0"), "400 version"],
    ["HTTP/1.2", line("GET / HTTP/1.2"), "400 version"],
    ["HTTP/1.01", line("GET / HTTP/1.01"), "400 version"],
    ["a version in lower case", line("GET / http/1.1"), "400 version"],
    ["no Host", "GET / HTTP/1.1\r\n\r\n", "400 no Host field"],
    ["two Hosts", get("Host: h"), "400 two Host fields"],
    ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "400 Host field"],
    ["a Host with a path", "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", "400 Host field"],
    ["a Host with a user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "400 Host field"],
    ["a list of Hosts", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Host field"],
    ["a Host with a bad port", "GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", "400 Host field"],
    ["a Host with a quote", 'GET / HTTP/1.1\r\nHost: h"\r\n\r\n', "400 Host field"],
    ["a space in the target", line("GET /a b HTTP/1.1"), "400 target"],
    ["two spaces after the method", line("GET  / HTTP/1.1"), "400 target"],
    ["a tab as separator", line("GET\t/ HTTP/1.1"), "400 request line"],
    ["a leading space", line(" GET / HTTP/1.1"), "400 method"],
    ["a fragment", line("GET /a#b HTTP/1.1"), "400 target"],
    ["a high byte in the target", line("GET /\xe4 HTTP/1.1"), "400 target"],
    ["a target without slash", line("GET a HTTP/1.1"), "400 target"],
    ["a star with GET", line("GET * HTTP/1.1"), "400 target"],
    ["CONNECT", line("CONNECT h:443 HTTP/1.1"), "400 target"],
    ["another scheme", line("GET ftp://h/ HTTP/1.1"), "400 target"],
    [
      "an absolute target for another Host",
      line("GET http://g/ HTTP/1.1"),
      "400 Host differs from the target",
    ],
    ["an absolute target with a user", line("GET http://u@h/ HTTP/1.1"), "400 target"],
    ["an absolute target without a host", line("GET http:///x HTTP/1.1"), "400 target"],
    ["a method with a separator", line("G(T / HTTP/1.1"), "400 method"],
    ["a method of 33 bytes", `${"A".repeat(33)} / HTTP/1.1\r\n${H}\r\n`, "400 method"],
    ["two leading empty lines", `\r\n\r\nGET / HTTP/1.1\r\n${H}\r\n`, "400 empty line"],
    ["a target of 8193 bytes", line(`GET /${"a".repeat(8192)} HTTP/1.1`), "414 target too long"],
    ["a request line without end", `GET /${"a".repeat(9000)}`, "414 request line too long"],
    [
      "too many fields",
      `GET / HTTP/1.1\r\n${"A: b\r\n".repeat(DEFAULT_HTTP_LIMITS.maxFields)}${H}\r\n`,
      "431 too many fields",
    ],
    ["one field too long", get(`A: ${"b".repeat(33_000)}`), "431 head too long"],
    [
      "a head without end",
      `GET / HTTP/1.1\r\n${H}${"A: bbbbbbbbbbbbbbbb\r\n".repeat(2000)}`,
      "431 head too long",
    ],
    ["a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400 request line"],
  ])("a request head is refused with %s", (_name, bytes, expected) => {
    expect(readRequest(bytes)).toBe(expected);
    // The result does not depend on how the bytes are split.
    expect(readRequest(...bytes.split(""))).toBe(expected);
  });
});

describe("an accepted request head", () => {
  test.each<[name: string, bytes: string, expected: Partial<RequestHead>]>([
    [
      "only the required parts",
      "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
      {
        method: "GET",
        target: "/",
        minor: 1,
        host: "h",
        framing: { kind: "none" },
        keepAlive: true,
      },
    ],
    ["one leading empty line", `\r\nGET / HTTP/1.1\r\n${H}\r\n`, { method: "GET", target: "/" }],
    [
      "all characters in the target that browsers leave unescaped",
      line(`GET //a/../b|c^{d}"<>\`\\?e=[f]&&g HTTP/1.1`),
      { target: '//a/../b|c^{d}"<>`\\?e=[f]&&g' },
    ],
    ["an absolute target", line("GET http://H/a?b HTTP/1.1"), { target: "/a?b", host: "h" }],
    ["an absolute target without path", line("GET https://h HTTP/1.1"), { target: "/" }],
    ["an absolute target with a query only", line("GET http://h?q HTTP/1.1"), { target: "/?q" }],
    ["a star", line("OPTIONS * HTTP/1.1"), { target: "*" }],
    ["an absolute target for the whole server", line("OPTIONS http://h HTTP/1.1"), { target: "*" }],
    ["an unknown method", line("BREW /pot HTTP/1.1"), { method: "BREW" }],
    [
      "HTTP/1.0 without Host",
      "GET / HTTP/1.0\r\n\r\n",
      { minor: 0, host: undefined, keepAlive: false },
    ],
    [
      "HTTP/1.0 and keep-alive",
      `GET / HTTP/1.0\r\n${H}Connection: Keep-Alive\r\n\r\n`,
      { keepAlive: true },
    ],
    [
      "Connection: close",
      get("Connection: x, Close"),
      { keepAlive: false, connection: ["x", "close"] },
    ],
    ["a length", post("Content-Length: 007"), { framing: { kind: "length", length: 7 } }],
    ["a length of 0", post("Content-Length: 0"), { framing: { kind: "length", length: 0 } }],
    ["chunks", post("Transfer-Encoding: Chunked"), { framing: { kind: "chunked" } }],
    ["an IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", { host: "[::1]:80" }],
    ["a Host with an empty port", "GET / HTTP/1.1\r\nHost: h:\r\n\r\n", { host: "h:" }],
    ["8192 bytes of target", line(`GET /${"a".repeat(8191)} HTTP/1.1`), { method: "GET" }],
  ])("a request head is accepted with %s", (_name, bytes, expected) => {
    expect(readRequest(bytes)).toMatchObject(expected);
    expect(readRequest(...bytes.split(""))).toEqual(readRequest(bytes));
  });

  test("parsed fields keep their names, order, repetition and bytes", () => {
    const head = readRequest(
      get("__proto__: a", "X-Y:\t b c \t", "x-y: \xe4\xff", "Empty:", "constructor: z"),
    ) as RequestHead;
    expect(head.fields.map(({ name, value }) => [name, value])).toEqual([
      ["Host", "h"],
      ["__proto__", "a"],
      ["X-Y", "b c"],
      ["x-y", "\xe4\xff"],
      ["Empty", ""],
      ["constructor", "z"],
    ]);
  });

  test("bytes after a head are left to the next reader", () => {
    const collector = new HeadCollector("downstream");
    const bytes = Buffer.from(`GET /1 HTTP/1.1\r\n${H}\r\nGET /2 HTTP/1.1\r\n${H}\r\nrest`);
    const first = collector.push(bytes, 0);
    expect(parseRequestHead(collector.take()).target).toBe("/1");
    const second = collector.push(bytes, first);
    expect(parseRequestHead(collector.take()).target).toBe("/2");
    expect(bytes.subarray(second).toString()).toBe("rest");
  });

  test("a field of 32 KiB of spaces is parsed within 50 ms", () => {
    const startedMs = performance.now();
    readRequest(`GET / HTTP/1.1\r\n${H}A: b${" ".repeat(32_000)}c\r\n\r\n`);
    expect(performance.now() - startedMs).toBeLessThan(
      machine.limitMs(startedMs, { promisedMs: 50 }),
    );
  });
});

describe("a response head", () => {
  test.each<[name: string, text: string, reason: string]>([
    ["no version", "200 OK", "status line"],
    ["another protocol", "ICY 200 OK", "status line"],
    ["HTTP/2", "HTTP/2 200 OK", "status line"],
    ["two digits", "HTTP/1.1 20 OK", "status line"],
    ["status 600", "HTTP/1.1 600 No", "status line"],
    ["no space after the status", "HTTP/1.1 200", "status line"],
    ["a control byte in the reason", "HTTP/1.1 200 O\x01K", "status line"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1", "Content-Length"],
    [
      "length and chunks",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
      "Content-Length with Transfer-Encoding",
    ],
    ["two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", "Transfer-Encoding"],
    ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", "Transfer-Encoding"],
    ["a folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c", "folded field"],
    ["a space before a colon", "HTTP/1.1 200 OK\r\nA : b", "field name"],
  ])("a response head is refused with %s", (_name, text, reason) => {
    expect(readResponse(text)).toBe(reason);
  });

  test.each<[name: string, text: string, method: string, framing: unknown]>([
    ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 3", "GET", { kind: "length", length: 3 }],
    ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "GET", { kind: "chunked" }],
    ["neither", "HTTP/1.1 200 OK", "GET", { kind: "until-close" }],
    ["an empty reason", "HTTP/1.1 200 ", "GET", { kind: "until-close" }],
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3", "HEAD", { kind: "none" }],
    ["204", "HTTP/1.1 204 No Content\r\nContent-Length: 3", "GET", { kind: "none" }],
    ["304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3", "GET", { kind: "none" }],
    ["100", "HTTP/1.1 100 Continue", "GET", { kind: "none" }],
  ])("a response head gives the framing of its body: %s", (_name, text, method, framing) => {
    expect(readResponse(text, method)).toMatchObject({ framing });
  });

  test("a connection is not kept after a response whose body ends with it", () => {
    expect(readResponse("HTTP/1.1 200 OK")).toMatchObject({ keepAlive: false });
    expect(readResponse("HTTP/1.1 204 No Content")).toMatchObject({ keepAlive: true });
    expect(readResponse("HTTP/1.0 204 No Content")).toMatchObject({ keepAlive: false });
  });
});

// --- laws ---

const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,20}$/);
const value = fc.stringMatching(
  /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]{0,30}[\x21-\x7e\x80-\xff])?)?$/,
);
const plainField = fc
  .tuple(token, value)
  .filter(([name]) => !/^(host|connection|content-length|transfer-encoding)$/i.test(name));

test("parsing a serialized request gives the same request", () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[A-Z]{1,32}$/).filter((method) => method !== "CONNECT"),
      fc.stringMatching(/^\/[\x21\x22\x24-\x7e]{0,60}$/),
      fc.array(plainField, { maxLength: 30 }),
      (method, target, pairs) => {
        const fields = [["Host", "h"] as const, ...pairs].map(([name, text]) => ({
          name,
          lower: name.toLowerCase(),
          value: text,
        }));
        const head = readRequest(serializeHead(requestLine(method, target), fields));
        expect(head).toMatchObject({ method, target, fields });
      },
    ),
  );
});

test("parsing a serialized response gives the same response", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 200, max: 599 }),
      value,
      fc.array(plainField, { maxLength: 30 }),
      (status, reason, pairs) => {
        const fields = pairs.map(([name, text]) => ({
          name,
          lower: name.toLowerCase(),
          value: text,
        }));
        const text = serializeHead(statusLine(status, reason), fields);
        const collector = new HeadCollector("upstream");
        expect(collector.push(Buffer.from(text, "latin1"), 0)).toBe(text.length);
        expect(parseResponseHead(collector.take(), "GET")).toMatchObject({
          status,
          reason,
          fields,
        });
      },
    ),
  );
});

test("any bytes give the same result however they are split", () => {
  const snippet = fc.oneof(
    fc.constantFrom(
      "\r\n",
      "\r",
      "\n",
      "\r\n\r\n",
      " ",
      ":",
      "GET / HTTP/1.1\r\n",
      H,
      "A: b\r\n",
      "\0",
    ),
    fc.string({ maxLength: 5 }),
  );
  fc.assert(
    fc.property(
      fc.array(snippet, { maxLength: 20 }),
      fc.array(fc.nat(60), { maxLength: 5 }),
      (snippets, cuts) => {
        const bytes = snippets.join("");
        const parts: string[] = [];
        let at = 0;
        for (const cut of cuts) {
          parts.push(bytes.slice(at, at + cut));
          at += cut;
        }
        parts.push(bytes.slice(at));
        const whole = bytes === "" ? "incomplete" : readRequest(bytes);
        const inParts = readRequest(...parts.filter((part) => part !== ""));
        // Two empty lines are refused at once. That they begin a PROXY protocol header is seen only if more was read with
        // them, so the reason in the log may differ, nothing else.
        const isRefusedEither = bytes.startsWith("\r\n\r\n");
        if (isRefusedEither) expect([inParts, whole].every(isBadRequest)).toBe(true);
        else expect(inParts).toEqual(whole);
      },
    ),
    { numRuns: 500 },
  );
});
