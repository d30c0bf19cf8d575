/** The request line (RFC 9112 §3): method, target, version. */
import { type Case, forwarded, head, refused, type Subject } from "../case.ts";

const H = "Host: h";
const line = (text: string): string => head(text, H);

const controls = [0x00, 0x01, 0x07, 0x08, 0x0b, 0x0c, 0x0d, 0x1b, 0x7f];

const cases: Case[] = [
  // --- shape ---
  refused("HTTP/0.9", "RFC 9112 §3", "GET /\r\n\r\n"),
  {
    name: "HTTP/0.9 without an empty line",
    source: "RFC 9112 §3",
    kind: "rule",
    sends: "GET /\r\n",
    ends: true,
    worker: "nothing",
    leaves: "closed",
  },
  refused("no version", "RFC 9112 §3", line("GET / ")),
  refused("no method", "RFC 9112 §3", line(" / HTTP/1.1")),
  refused("no target", "RFC 9112 §3", line("GET HTTP/1.1")),
  refused("an empty target", "RFC 9112 §3", line("GET  HTTP/1.1")),
  refused("two spaces after the method", "RFC 9112 §3: SP is one space", line("GET  / HTTP/1.1"), {
    kind: "choice",
  }),
  refused("two spaces before the version", "RFC 9112 §3", line("GET /  HTTP/1.1"), {
    kind: "choice",
  }),
  refused("a space after the version", "RFC 9112 §3", line("GET / HTTP/1.1 "), { kind: "choice" }),
  refused("a tab as separator", "RFC 9112 §3", line("GET\t/\tHTTP/1.1"), { kind: "choice" }),
  refused("a space within the target", "RFC 9112 §3.2", line("GET /a b HTTP/1.1")),
  refused("a second version", "RFC 9112 §3: request splitting", line("GET / HTTP/1.1 HTTP/1.1")),
  refused("a space before it", "RFC 9112 §2.2", line(" GET / HTTP/1.1")),
  refused("a tab before it", "RFC 9112 §2.2", line("\tGET / HTTP/1.1")),
  refused("a bare LF at its end", "RFC 9112 §2.2", "GET / HTTP/1.1\nHost: h\r\n\r\n", {
    kind: "choice",
  }),
  refused("a bare CR at its end", "RFC 9112 §2.2", "GET / HTTP/1.1\rHost: h\r\n\r\n"),
  refused("CR CR LF at its end", "RFC 9112 §2.2", "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
  forwarded(
    "an empty line before it",
    "RFC 9112 §2.2: ignore at least one",
    `\r\n${line("GET /x HTTP/1.1")}`,
    { line: "GET /x HTTP/1.1" },
  ),
  refused("two bytes of garbage before it", "RFC 9112 §3", `\x00\x01${line("GET / HTTP/1.1")}`),
  refused(
    "a TLS handshake",
    "RFC 9112 §3",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    { status: 400 },
  ),
  refused(
    "the HTTP/2 preface",
    "RFC 9113 §3.4",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    { status: [400, 505] },
  ),

  ...(
    [
      ["1", "PROXY TCP4 203.0.113.9 127.0.0.1 50000 1080\r\n"],
      ["1 without addresses", "PROXY UNKNOWN\r\n"],
      ["2", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\xc3\x50\x04\x38"],
    ] as const
  ).map(([version, bytes]) =>
    refused(
      `a PROXY protocol header of version ${version}`,
      "policy: who the client is",
      `${bytes}${line("GET / HTTP/1.1")}`,
      { kind: "choice" },
    ),
  ),
  forwarded("method PROXY", "RFC 9110 §9.1", line("PROXY /x HTTP/1.1"), {
    line: "PROXY /x HTTP/1.1",
  }),

  // --- version ---
  ...(
    [
      ["HTTP/2.0", [400, 505]],
      ["HTTP/3", [400, 505]],
      ["HTTP/0.9", [400, 505]],
      ["HTTP/1", 400],
      ["HTTP/1.", 400],
      ["HTTP/.1", 400],
      ["HTTP/1,1", 400],
      ["HTTP/11", 400],
      ["HTTP/1.10", [400, 505]],
      ["HTTP/01.1", [400, 505]],
      ["HTTP/-1.1", 400],
      ["http/1.1", 400],
      ["Http/1.1", 400],
      ["HTTPS/1.1", 400],
      ["HTTP\\1.1", 400],
      ["HTTP/1.1x", 400],
      ["HTTP/1.\x001", 400],
      ["ICY/1.1", 400],
    ] as const
  ).map(([version, status]) =>
    refused(`version ${JSON.stringify(version)}`, "RFC 9112 §2.3", line(`GET / ${version}`), {
      status,
    }),
  ),
  refused(
    "version HTTP/1.2",
    "RFC 9112 §2.3: a higher minor may be served",
    line("GET / HTTP/1.2"),
    {
      kind: "choice",
      status: [400, 505],
    },
  ),
  forwarded("HTTP/1.0 with Host", "RFC 9112 §2.3", head("GET /x HTTP/1.0", H), {
    line: "GET /x HTTP/1.1",
    leaves: "closed",
  }),
  forwarded("HTTP/1.0 without Host", "RFC 9112 §3.2", "GET /x HTTP/1.0\r\n\r\n", {
    line: "GET /x HTTP/1.1",
    leaves: "closed",
  }),

  // --- method ---
  ...["GET", "OPTIONS", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "QUERY"].map((method) =>
    forwarded(`method ${method}`, "RFC 9110 §9", line(`${method} /x HTTP/1.1`), {
      line: `${method} /x HTTP/1.1`,
    }),
  ),
  forwarded("method HEAD", "RFC 9110 §9.3.2", line("HEAD /x HTTP/1.1"), {
    line: "HEAD /x HTTP/1.1",
    client: [{ status: 200, body: "" }],
    answers: [{ bytes: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" }],
  }),
  forwarded("methods are case-sensitive", "RFC 9110 §9.1", line("get /x HTTP/1.1"), {
    line: "get /x HTTP/1.1",
  }),
  forwarded("any token as method", "RFC 9110 §5.6.2", line("!#$%&'*+-.^_`|~09AZaz /x HTTP/1.1"), {
    line: "!#$%&'*+-.^_`|~09AZaz /x HTTP/1.1",
  }),
  ...["G(T", "G/T", "G:T", "G@T", 'G"T', "G[T", "G\\T", "G{T", "G\x00T", "G\x7fT", "G\xe4T"].map(
    (method) =>
      refused(`method ${JSON.stringify(method)}`, "RFC 9110 §9.1", line(`${method} / HTTP/1.1`)),
  ),
  refused("a method of 33 bytes", "bug class: long methods", line(`${"A".repeat(33)} / HTTP/1.1`), {
    kind: "choice",
    status: [400, 501],
  }),
  ...["TRACE /x HTTP/1.1", "TRACE /ct-health/ HTTP/1.1", "TRACE http://h/x HTTP/1.1"].map((text) =>
    refused(text, "RFC 9110 §9.3.8, bug class: cross-site tracing", line(text), {
      kind: "choice",
      worker: [],
      client: [{ status: 405, has: ["Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"] }],
      leaves: "open",
    }),
  ),
  refused(
    "TRACE with a body",
    "RFC 9110 §9.3.8: must not have one",
    `${head("TRACE /x HTTP/1.1", H, "Content-Length: 4")}abcd`,
    { kind: "choice", client: [{ status: 405 }], leaves: "any" },
  ),
  refused(
    "CONNECT",
    "RFC 9110 §9.3.6: not a tunnel for strangers",
    line("CONNECT h:443 HTTP/1.1"),
    { status: [400, 405, 501] },
  ),
  refused("CONNECT with an origin-form", "RFC 9112 §3.2.3", line("CONNECT /x HTTP/1.1"), {
    status: [400, 405, 501],
  }),

  // --- target ---
  ...(
    [
      ["unchanged bytes", "/a%2Fb/../c;d=e?f=g&h=%00"],
      ["a double slash", "//a//b"],
      ["dots", "/a/./../b"],
      ["an empty query", "/x?"],
      ["a second question mark", "/x?a?b"],
      ["escaped CR and LF", "/x%0d%0aHost:%20evil"],
      ["a broken escape", "/x%zz%"],
      ["characters that browsers do not escape", '/x"<>[]\\^`{|}'],
      ["a colon and an at", "/http://evil@h:1/"],
      ["a leading backslash", "/\\evil.example/x"],
    ] as const
  ).map(([name, target]) =>
    forwarded(
      `${name} in the target`,
      "RFC 9112 §3.2: a proxy must not rewrite the target",
      line(`GET ${target} HTTP/1.1`),
      { line: `GET ${target} HTTP/1.1` },
    ),
  ),
  forwarded("OPTIONS *", "RFC 9112 §3.2.4", line("OPTIONS * HTTP/1.1"), {
    line: "OPTIONS * HTTP/1.1",
  }),
  refused("GET *", "RFC 9112 §3.2.4", line("GET * HTTP/1.1")),
  refused("a target without slash", "RFC 9112 §3.2", line("GET x HTTP/1.1")),
  refused("an authority as target", "RFC 9112 §3.2.3", line("GET h:80 HTTP/1.1")),
  refused("a query as target", "RFC 9112 §3.2", line("GET ?x HTTP/1.1")),
  refused("a fragment", "RFC 9112 §3.2", line("GET /x#y HTTP/1.1"), { kind: "choice" }),
  refused("a high byte in the target", "RFC 3986 §2", line("GET /\xe4 HTTP/1.1"), {
    kind: "choice",
  }),
  ...controls.map((code) =>
    refused(
      `byte 0x${code.toString(16)} in the target`,
      "RFC 3986 §2: no control bytes",
      line(`GET /a${String.fromCharCode(code)}b HTTP/1.1`),
    ),
  ),
  refused("a tab in the target", "RFC 3986 §2", line("GET /a\tb HTTP/1.1")),
];

export const requestLine: Subject = { name: "a request line", cases };
