/** Host and the absolute form (RFC 9112 §3.2): exactly one valid host, the same in both. */
import { type Case, forwarded, head, played, refused, type Subject } from "../case.ts";

const lines = (...fields: string[]): string => head("GET / HTTP/1.1", ...fields);

const bad: [name: string, value: string, source: string][] = [
  ["a path", "h/x", "RFC 9110 §7.2"],
  ["a user", "user@h", "RFC 9110 §7.2"],
  ["a user and a password", "a:b@h", "RFC 9110 §7.2"],
  ["a scheme", "http://h", "RFC 9110 §7.2"],
  ["a query", "h?x", "RFC 9110 §7.2"],
  ["a fragment", "h#x", "RFC 9110 §7.2"],
  ["a space", "a b", "RFC 9110 §7.2"],
  ["a tab", "a\tb", "RFC 9110 §7.2"],
  ["a list", "a, b", "RFC 9110 §7.2"],
  ["a quote", 'h"', "RFC 3986 §3.2.2"],
  ["a backslash", "h\\x", "RFC 3986 §3.2.2"],
  ["angle brackets", "<h>", "RFC 3986 §3.2.2"],
  ["braces", "{h}", "RFC 3986 §3.2.2"],
  ["a port of letters", "h:http", "RFC 3986 §3.2.3"],
  ["two ports", "h:80:80", "RFC 3986 §3.2.3"],
  ["a negative port", "h:-1", "RFC 3986 §3.2.3"],
  ["an open bracket", "[::1", "RFC 3986 §3.2.2"],
  ["text after the bracket", "[::1]x", "RFC 3986 §3.2.2"],
  ["a name in brackets", "[h]", "RFC 3986 §3.2.2"],
  ["a high byte", "h\xe4", "RFC 3986 §3.2.2"],
  ["NUL", "h\x00", "RFC 9110 §5.5"],
];

/**
 * An absolute target and a Host, in which `S` and `P` stand for scheme and port of the connection, `OS` and `OP` for those of
 * the other listener; `isSame`: whether the worker gets the request.
 */
function authorities(name: string, target: string, value: string, isSame: boolean): Case {
  return played(
    `${target} with Host ${value}, where S and P are scheme and port of the connection, ${name}`,
    "RFC 9110 §4.2.3",
    async (stage) => {
      const [own, other] = [
        ["http", "80"],
        ["https", "443"],
      ].toSorted(([scheme]) => ((scheme === "https") === stage.secure ? -1 : 1));
      const fill = (text: string): string =>
        text
          .replace("OS:", `${other?.[0]}:`)
          .replace("S:", `${own?.[0]}:`)
          .replace("OP", other?.[1] ?? "")
          .replace("P", own?.[1] ?? "");
      const { answer } = await stage.ask(
        head(`GET ${fill(target)} HTTP/1.1`, `Host: ${fill(value)}`),
      );
      const status = isSame ? " 200 " : " 400 ";
      stage.check(answer?.line.includes(status) === true, `got ${answer?.line}`);
      // The form in which it reaches the worker is tested separately.
      const sent = stage.requests.map(({ line }) => line);
      stage.check(sent.length === (isSame ? 1 : 0), `sent ${sent.join(" | ")}`);
      if (!isSame) stage.check(stage.workerBytes === "", "a worker got bytes");
    },
    isSame ? {} : { kind: "choice" },
  );
}

const cases: Case[] = [
  refused("no Host", "RFC 9112 §3.2: must be answered 400", "GET / HTTP/1.1\r\n\r\n"),
  refused("two Hosts", "RFC 9112 §3.2", lines("Host: a", "Host: b")),
  refused(
    "the same Host twice",
    "RFC 9112 §3.2: more than one Host line",
    lines("Host: h", "Host: h"),
  ),
  refused("two Hosts in different case", "RFC 9112 §3.2", lines("Host: a", "hOST: b")),
  refused("two Hosts in HTTP/1.0", "RFC 9112 §3.2", head("GET / HTTP/1.0", "Host: a", "Host: b")),
  refused("an empty Host", "RFC 9110 §7.2: http has no empty host", lines("Host:"), {
    kind: "choice",
  }),
  refused("a Host of spaces", "RFC 9110 §7.2", lines("Host:   "), { kind: "choice" }),
  refused("a folded Host", "RFC 9112 §5.2", lines("Host:", " h")),
  refused("a space before Host's colon", "RFC 9112 §5.1", lines("Host : h")),
  ...bad.map(([name, value, source]) =>
    refused(`a Host with ${name}`, source, lines(`Host: ${value}`)),
  ),
  ...[
    "h",
    "h:8080",
    "h.example.",
    "127.0.0.1:1",
    "[::1]",
    "[2001:db8::1]:443",
    "xn--hst-sna.example",
    "h:",
  ].map((value) =>
    forwarded(`Host ${value}`, "RFC 3986 §3.2.2", lines(`Host: ${value}`), {
      has: [`Host: ${value}`],
    }),
  ),
  forwarded("spaces around Host", "RFC 9112 §5.1", lines("Host: \t h \t"), { has: ["Host: h"] }),

  // --- absolute form ---
  forwarded(
    "an absolute target becomes path and query",
    "RFC 9112 §3.2.2",
    head("GET http://h/a/b?c HTTP/1.1", "Host: h"),
    { line: "GET /a/b?c HTTP/1.1", has: ["Host: h"] },
  ),
  forwarded(
    "an absolute target without path",
    "RFC 9112 §3.2.1",
    head("GET http://h HTTP/1.1", "Host: h"),
    { line: "GET / HTTP/1.1" },
  ),
  forwarded(
    "an absolute target with a query only",
    "RFC 9112 §3.2.1",
    head("GET http://h?q HTTP/1.1", "Host: h"),
    { line: "GET /?q HTTP/1.1" },
  ),
  forwarded(
    "an absolute target in another case",
    "RFC 9110 §4.2.3",
    head("GET HTTP://H/x HTTP/1.1", "Host: h"),
    { line: "GET /x HTTP/1.1" },
  ),
  forwarded(
    "OPTIONS of a whole server",
    "RFC 9112 §3.2.4",
    head("OPTIONS http://h HTTP/1.1", "Host: h"),
    { line: "OPTIONS * HTTP/1.1", kind: "choice" },
  ),
  ...(
    [
      ["S://h:P/x", "h"],
      ["S://h/x", "h:P"],
      ["S://h:P/x", "h:P"],
      ["S://H:P/x", "h"],
      ["S://h/x", "H:P"],
      ["S://h:/x", "h"],
      ["S://h/x", "h:"],
      ["S://h:/x", "h:P"],
      ["S://[::1]:P/x", "[::1]"],
      ["S://[::1]/x", "[::1]:P"],
    ] as const
  ).map(([target, value]) => authorities("is one authority", target, value, true)),
  ...(
    [
      ["S://h:OP/x", "h"],
      ["S://h/x", "h:OP"],
      ["OS://h:OP/x", "h"],
      ["OS://h:P/x", "h"],
      ["OS://h/x", "h:P"],
      ["OS://h/x", "h:OP"],
      ["S://h:8080/x", "h"],
      ["S://h:8P/x", "h:8"],
      ["S://g:P/x", "h"],
      ["S://hP/x", "h"],
      ["S://[::P]/x", "[:"],
    ] as const
  ).map(([target, value]) => authorities("is two authorities", target, value, false)),
  refused(
    "an absolute target for another host",
    "bug class: routing by one of two hosts",
    head("GET http://evil/x HTTP/1.1", "Host: h"),
    { kind: "choice" },
  ),
  refused(
    "an absolute target for another port",
    "bug class: routing by one of two hosts",
    head("GET http://h:81/x HTTP/1.1", "Host: h:80"),
    { kind: "choice" },
  ),
  refused("an absolute target and no Host", "RFC 9112 §3.2", "GET http://h/x HTTP/1.1\r\n\r\n"),
  refused(
    "an absolute target with a user",
    "RFC 9110 §4.2.4",
    head("GET http://u@h/ HTTP/1.1", "Host: h"),
  ),
  refused(
    "an absolute target without host",
    "RFC 9110 §4.2.1",
    head("GET http:///x HTTP/1.1", "Host: h"),
  ),
  refused("an unsupported scheme", "RFC 9110 §7.1", head("GET ftp://h/ HTTP/1.1", "Host: h"), {
    kind: "choice",
  }),
  refused("a file URL", "bug class: SSRF", head("GET file:///etc/passwd HTTP/1.1", "Host: h")),
  refused("a scheme without slashes", "RFC 9112 §3.2.2", head("GET http:h/x HTTP/1.1", "Host: h")),
];

export const host: Subject = { name: "the host", cases };
