import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createTrustedProxies, ForwardingFields } from "../../../balancer/http1/forwarding.ts";
import { isForwardableTrailer } from "../../../balancer/http1/headers.ts";
import { parseRequestHead } from "../../../balancer/http1/request-head.ts";
import { parseResponseHead } from "../../../balancer/http1/response-head.ts";
import { forwardedHead, relayedHead } from "../../../balancer/proxy/heads.ts";
import type { SessionKey } from "../../../shared/base/ids.ts";

const NO_PROXIES = createTrustedProxies([]);

/** The fields of a forwarded request, as `name: value` with the name in lower case. */
function forward(
  lines: readonly string[],
  { peerAddress = "192.0.2.1", key }: { peerAddress?: string; key?: SessionKey } = {},
  start = "GET / HTTP/1.1",
): string[] {
  const head = parseRequestHead([start, "Host: h", ...lines].join("\r\n"));
  const text = forwardedHead(head, {
    client: { forwarding: new ForwardingFields(peerAddress, false), requestId: "id-1" },
    route: { key: key === undefined ? undefined : { rule: "header", key }, target: head.target },
    upstream: { host: "w:1", proof: "proof" },
    trusted: NO_PROXIES,
    isUpgrade: false,
  });
  return fieldsOf(text);
}

function fieldsOf(head: string): string[] {
  expect(head.endsWith("\r\n\r\n")).toBe(true);
  const [, ...lines] = head.slice(0, -4).split("\r\n");
  return lines.map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase()));
}

function values(fields: readonly string[], name: string): string[] {
  return fields
    .filter((field) => field.startsWith(`${name}: `))
    .map((field) => field.slice(name.length + 2));
}

function relay(lines: readonly string[], status = "200 OK", method = "GET"): string[] {
  const head = parseResponseHead([`HTTP/1.1 ${status}`, ...lines].join("\r\n"), method);
  const { text } = relayedHead(head, {
    client: { isLastResponse: false, requestId: "id-1" },
    request: parseRequestHead(`${method} / HTTP/1.1\r\nHost: h`),
    isBodyComplete: true,
    isContinued: false,
  });
  return fieldsOf(text);
}

describe("hop-by-hop fields", () => {
  test.each([
    "Connection: x",
    "Keep-Alive: 5",
    "TE: trailers",
    "Upgrade: h2c",
    "Proxy-Authorization: a",
    "Proxy-Connection: keep-alive",
    "Proxy-Anything: a",
    "Trailer: x",
  ])("the field %s is not forwarded", (line) => {
    const name = line.split(":")[0]?.toLowerCase() ?? "";
    expect(values(forward([line]), name)).toEqual([]);
  });

  test("a field that Connection lists is not forwarded", () => {
    const fields = forward(["Connection: close, X-Secret", "X-Secret: 1", "X-Other: 2"]);
    expect(values(fields, "x-secret")).toEqual([]);
    expect(values(fields, "x-other")).toEqual(["2"]);
  });

  test.each(["ctstickiness", "Cookie", "Authorization", "X-Oct-Jwt", "Origin"])(
    "Connection cannot remove %s",
    (name) => {
      const fields = forward([`Connection: ${name}`, `${name}: kept`]);
      expect(values(fields, name.toLowerCase())).toEqual(["kept"]);
    },
  );

  test("Connection cannot remove Host, the framing and the client's address", () => {
    const fields = forward(
      [
        "Connection: host, content-length, x-forwarded-for, forwarded, x-ct-edge, x-request-id",
        "Content-Length: 3",
      ],
      {},
      "POST / HTTP/1.1",
    );
    expect(values(fields, "host")).toEqual(["h"]);
    expect(values(fields, "content-length")).toEqual(["3"]);
    expect(values(fields, "x-forwarded-for")).toEqual(["192.0.2.1"]);
    expect(values(fields, "x-ct-edge")).toEqual(["proof"]);
  });

  test("a chunked body keeps Trailer and loses TE", () => {
    const fields = forward(
      ["Transfer-Encoding: chunked", "Trailer: X-Sum", "TE: trailers"],
      {},
      "POST / HTTP/1.1",
    );
    expect(values(fields, "trailer")).toEqual(["X-Sum"]);
    expect(values(fields, "transfer-encoding")).toEqual(["chunked"]);
    expect(values(fields, "te")).toEqual([]);
  });

  test("all other fields are forwarded in order, with their repetitions", () => {
    const fields = forward(["A: 1", "__proto__: 2", "a: 3", "Accept: */*"]);
    expect(fields.slice(1, 5)).toEqual(["a: 1", "__proto__: 2", "a: 3", "accept: */*"]);
  });

  test("Expect is forwarded, but not from an HTTP/1.0 client", () => {
    expect(values(forward(["Expect: 100-continue"]), "expect")).toEqual(["100-continue"]);
    expect(values(forward(["Expect: 100-continue"], {}, "GET / HTTP/1.0"), "expect")).toEqual([]);
  });
});

describe("fields between balancers and workers", () => {
  test("a client cannot send x-ct-* fields or a request id to a worker", () => {
    const fields = forward([
      "X-Ct-Edge: forged",
      "X-CT-Key: forged",
      "x-ct-whatever: forged",
      "X-Request-Id: forged",
    ]);
    expect(fields.filter((field) => field.includes("forged"))).toEqual([]);
    expect(values(fields, "x-ct-edge")).toEqual(["proof"]);
    expect(values(fields, "x-request-id")).toEqual(["id-1"]);
    expect(values(fields, "x-ct-key")).toEqual([]);
  });

  test("the session key that the client sent is forwarded to the worker", () => {
    expect(values(forward([], { key: "a b" as SessionKey }), "x-ct-key")).toEqual(["a b"]);
  });

  test("a client does not see x-ct-* fields or the request id of a worker", () => {
    const fields = relay([
      "X-Ct-Session: s",
      "x-ct-epoch: 1",
      "X-CT-Owner: w2",
      "X-Request-Id: theirs",
      "A: b",
      "Content-Length: 0",
    ]);
    expect(fields).toEqual(["a: b", "content-length: 0", "x-request-id: id-1"]);
  });
});

describe("the framing of a response", () => {
  test("the framing of a response is rewritten from what was parsed", () => {
    expect(relay(["Content-Length: 3"])).toContain("content-length: 3");
    expect(relay(["Transfer-Encoding: CHUNKED"])).toContain("transfer-encoding: chunked");
  });

  test("a response to HEAD and a 304 keep Content-Length, a 204 does not", () => {
    expect(relay(["Content-Length: 3"], "200 OK", "HEAD")).toContain("content-length: 3");
    expect(relay(["Content-Length: 3"], "304 Not Modified")).toContain("content-length: 3");
    expect(values(relay(["Content-Length: 3"], "204 No Content"), "content-length")).toEqual([]);
  });

  test("hop-by-hop fields of the worker's connection are not forwarded to the client", () => {
    const fields = relay([
      "Connection: close, X-A",
      "Keep-Alive: timeout=5",
      "X-A: 1",
      "Set-Cookie: a=b",
      "Upgrade: h2c",
      "Proxy-Authenticate: Basic",
      "Content-Length: 0",
    ]);
    expect(fields).toEqual(["set-cookie: a=b", "content-length: 0", "x-request-id: id-1"]);
  });
});

test.each([
  ["x-checksum", true],
  ["server-timing", true],
  ["content-length", false],
  ["transfer-encoding", false],
  ["host", false],
  ["cookie", false],
  ["set-cookie", false],
  ["authorization", false],
  ["ctstickiness", false],
  ["x-ct-owner", false],
  ["x-forwarded-for", false],
  ["x-forwarded-port", false],
  ["connection", false],
  ["trailer", false],
  ["if-match", false],
  ["proxy-authenticate", false],
])("the trailer %s is forwarded: %s", (lower, passes) => {
  expect(isForwardableTrailer({ name: lower, lower, value: "" })).toBe(passes);
});

describe("any list of Connection options", () => {
  const lists = fc.array(
    fc.oneof(
      fc.constantFrom(
        "ctstickiness",
        "Cookie",
        "HOST",
        "Content-Length",
        "transfer-encoding",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X-Real-IP",
        "Forwarded",
        "authorization",
        "x-oct-jwt",
        "Origin",
        "x-ct-edge",
        "x-request-id",
        "close",
        "X-Hop",
        "",
      ),
      fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}$/),
    ),
    { maxLength: 12 },
  );
  const paddings = fc.constantFrom("", " ", "\t", " \t ");

  test("no list of Connection options removes a protected field of a request, and listed other fields are removed", () => {
    fc.assert(
      fc.property(lists, paddings, (options, padding) => {
        const kept = [
          "ctstickiness: key",
          "cookie: a=b",
          "authorization: Basic eDp5",
          "x-oct-jwt: t",
          "origin: http://o",
          "content-length: 4",
        ];
        const fields = forward([
          `Connection: ${options.join(`${padding},${padding}`)}`,
          "X-Hop: 1",
          ...kept,
        ]);
        const added = ["host: h", "x-forwarded-for: 192.0.2.1", "x-real-ip: 192.0.2.1"];
        for (const field of [...kept, ...added, "x-request-id: id-1", "x-ct-edge: proof"]) {
          expect(fields.filter((other) => other === field)).toEqual([field]);
        }
        const isListed = options.some((option) => option.toLowerCase() === "x-hop");
        expect(fields.includes("x-hop: 1")).toBe(!isListed);
        expect(values(fields, "connection")).toEqual([]);
      }),
    );
  });

  test("no list of Connection options removes a cookie of a response", () => {
    fc.assert(
      fc.property(lists, (options) => {
        const fields = relay([`Connection: ${options.join(",")}`, "Set-Cookie: a=b"]);
        expect(values(fields, "set-cookie")).toEqual(["a=b"]);
      }),
    );
  });
});

test("a client whose connection closed before its address was read is forwarded as unknown", () => {
  const fields = forward(["X-Forwarded-For: 198.51.100.1"], { peerAddress: "" });
  expect(values(fields, "x-forwarded-for")).toEqual(["198.51.100.1, unknown"]);
  expect(values(fields, "forwarded")).toEqual(['for=unknown;host="h";proto=http']);
});
