/** Field lines (RFC 9112 §5): names, values, folding, and their form at the worker. */
import { type Case, forwarded, get, head, refused, type Subject } from "../case.ts";

const controls = [
  0x00, 0x01, 0x02, 0x04, 0x07, 0x08, 0x0b, 0x0c, 0x0e, 0x10, 0x1a, 0x1b, 0x1f, 0x7f,
];

const cases: Case[] = [
  // --- names ---
  refused("a space before the colon", "RFC 9112 §5.1, CVE-2022-32213", get("A : b")),
  refused("a tab before the colon", "RFC 9112 §5.1", get("A\t: b")),
  refused("a vertical tab before the colon", "RFC 9112 §5.1", get("A\x0b: b")),
  refused(
    "a space before Content-Length's colon",
    "RFC 9112 §5.1: smuggling",
    get("Content-Length : 0"),
  ),
  refused(
    "a space before Transfer-Encoding's colon",
    "RFC 9112 §5.1: smuggling",
    get("Transfer-Encoding : chunked"),
  ),
  refused("no colon", "RFC 9112 §5", get("A")),
  refused("no name", "RFC 9112 §5", get(": a")),
  refused("a line of spaces", "RFC 9112 §5.2", get("  ")),
  refused("a space inside a name", "RFC 9110 §5.1", get("A B: c")),
  ...["(", ")", "<", ">", "@", ",", ";", "\\", '"', "/", "[", "]", "?", "=", "{", "}"].map((byte) =>
    refused(`${byte} in a name`, "RFC 9110 §5.6.2", get(`A${byte}B: c`)),
  ),
  refused("NUL in a name", "RFC 9110 §5.6.2", get("A\x00: b")),
  refused("CR in a name", "RFC 9110 §5.6.2", get("A\rB: c")),
  refused("DEL in a name", "RFC 9110 §5.6.2", get("A\x7f: b")),
  refused("a high byte in a name", "RFC 9110 §5.6.2", get("\xe4: b")),
  refused(
    "a high byte after Transfer-Encoding",
    "bug class: smuggling",
    get("Transfer-Encoding\xff: chunked"),
  ),
  forwarded("any token as name", "RFC 9110 §5.6.2", get("!#$%&'*+-.^_`|~9: x"), {
    has: ["!#$%&'*+-.^_`|~9: x"],
  }),
  forwarded("__proto__ as name", "CVE-2026-21710", get("__proto__: x", "constructor: y"), {
    has: ["__proto__: x", "constructor: y"],
  }),
  forwarded("a name of 100 bytes", "RFC 9110 §5.4", get(`${"n".repeat(100)}: x`), {
    has: [`${"n".repeat(100)}: x`],
  }),
  forwarded("names that look like numbers", "CVE-2026-21717", get("1: a", "4294967294: b"), {
    has: ["1: a", "4294967294: b"],
  }),
  forwarded("an underscore in a name", "RFC 9110 §5.6.2", get("Any_Name: x"), {
    has: ["Any_Name: x"],
  }),
  ...[
    ...["X_Forwarded_For", "x-forwarded_proto", "X_FORWARDED_HOST", "X_Forwarded_Port"],
    ...["X_Real_IP", "X.Real.IP", "X_Request_Id", "Transfer_Encoding", "Content_Length"],
    ...["X_Oct_Jwt", "Proxy_Authorization", "Keep_Alive"],
  ].map((name) =>
    forwarded(
      `${name}, which CGI confuses with another field, is removed`,
      "bug class: name mangling",
      get(`${name}: 1`),
      { lacks: [name.toLowerCase()], kind: "choice" },
    ),
  ),
  ...["x_ct_edge", "X_Ct_Key", "x-ct_session", "x+ct+owner"].map((name) =>
    forwarded(
      `${name}, which CGI confuses with an x-ct-* field, is removed`,
      "bug class: name mangling",
      get(`${name}: forged`),
      { lacks: [name.toLowerCase()], kind: "own" },
    ),
  ),

  // --- values ---
  ...controls.map((code) =>
    refused(
      `byte 0x${code.toString(16).padStart(2, "0")} in a value`,
      code === 0 ? "RFC 9110 §5.5" : "RFC 9110 §5.5: refuse, or keep where that is safe",
      get(`A: b${String.fromCharCode(code)}c`),
      code === 0 ? {} : { kind: "choice" },
    ),
  ),
  refused("a bare CR in a value", "RFC 9112 §2.2", get("A: b\rC: d")),
  refused(
    "a bare CR before a second field",
    "RFC 9112 §2.2: smuggling",
    get("A: b\rTransfer-Encoding: chunked"),
  ),
  refused("a bare LF after a field", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", {
    kind: "choice",
  }),
  refused("a bare LF as the empty line", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: h\r\n\n", {
    kind: "choice",
  }),
  refused("LF CR after a field", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: h\n\rA: b\r\n\r\n"),
  refused("CR CR LF after a field", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: h\r\r\nA: b\r\n\r\n"),
  refused("CR as the empty line", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: h\r\n\rX: y\r\n\r\n"),
  forwarded("an empty value", "RFC 9110 §5.5", get("A:"), { has: ["A: "] }),
  forwarded("spaces around a value", "RFC 9110 §5.5", get("A: \t b c \t "), { has: ["A: b c"] }),
  forwarded("no space after the colon", "RFC 9112 §5.1", get("A:b"), { has: ["A: b"] }),
  forwarded("a tab within a value", "RFC 9110 §5.5", get("A: b\tc"), { has: ["A: b\tc"] }),
  forwarded("high bytes in a value", "RFC 9110 §5.5: obs-text", get("A: \x80\xe4\xff"), {
    has: ["A: \x80\xe4\xff"],
  }),
  forwarded("colons in a value", "RFC 9110 §5.5", get("A: b: c:"), { has: ["A: b: c:"] }),
  forwarded("quotes and escapes in a value", "RFC 9110 §5.6.4", get('A: "b\\"c, d"'), {
    has: ['A: "b\\"c, d"'],
  }),
  forwarded("a value of 7,000 bytes", "RFC 9110 §5.4", get(`A: ${"v".repeat(7000)}`), {
    has: [`A: ${"v".repeat(7000)}`],
  }),
  forwarded("repeated fields in their order", "RFC 9110 §5.3", get("A: 1", "B: x", "a: 2"), {
    has: ["A: 1", "A: 2", "B: x"],
  }),
  forwarded("several Cookie fields", "RFC 6265 §5.4", get("Cookie: a=1", "Cookie: b=2"), {}),

  // --- folding ---
  refused("a folded value", "RFC 9112 §5.2: refuse or unfold", get("A: b", " c"), {
    kind: "choice",
  }),
  refused("a value folded by a tab", "RFC 9112 §5.2", get("A: b", "\tc"), { kind: "choice" }),
  refused("a folded Content-Length", "RFC 9112 §5.2: smuggling", get("Content-Length:", " 0"), {
    kind: "choice",
  }),
  refused("a folded Transfer-Encoding", "CVE-2022-32215", get("Transfer-Encoding:", " chunked"), {
    kind: "choice",
  }),
  refused(
    "a space before the first field",
    "RFC 9112 §2.2",
    head("GET / HTTP/1.1", " Host: evil", "Host: h"),
  ),
  refused("a field folded to nothing", "RFC 9112 §5.2", get("A: b", " "), { kind: "choice" }),
];

export const fields: Subject = { name: "a field", cases };
