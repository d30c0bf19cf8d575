/** The end of a request's body (RFC 9112 §6): a request that two servers could parse differently is refused. */
import { type Case, chunked, forwarded, get, head, post, refused, type Subject } from "../case.ts";

const TE = "Transfer-Encoding: chunked";
/** A request that an attacker hides after a body that is ended too early. */
const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

const lengths: [name: string, value: string][] = [
  ["signed", "+4"],
  ["negative", "-4"],
  ["hexadecimal", "0x4"],
  ["octal with 0o", "0o4"],
  ["with a fraction", "4.0"],
  ["with an exponent", "4e0"],
  ["with an underscore", "1_0"],
  ["with a space inside", "4 4"],
  ["followed by letters", "4abc"],
  ["followed by a comma", "4,"],
  ["after a comma", ",4"],
  ["a list", "4, 4"],
  ["a list of different values", "4, 5"],
  ["quoted", '"4"'],
  ["beyond 2^64", "99999999999999999999"],
  ["of 2^64 + 4", "18446744073709551620"],
  ["with NUL", "4\x00"],
  ["with a vertical tab", "\x0b4"],
  ["of full-width digits", "\xef\xbc\x94"],
  ["with a minus zero", "-0"],
];

const codings: [name: string, value: string][] = [
  ["gzip", "gzip"],
  ["identity", "identity"],
  ["gzip and chunked", "gzip, chunked"],
  ["chunked and gzip", "chunked, gzip"],
  ["chunked twice", "chunked, chunked"],
  ["an empty element before", ", chunked"],
  ["an empty element at the end", "chunked,"],
  ["a prefix", "xchunked"],
  ["a suffix", "chunkedx"],
  ["a parameter", "chunked;q=1"],
  ["quotes", '"chunked"'],
  ["a space inside", "chun ked"],
  ["a vertical tab before", "\x0bchunked"],
  ["a form feed after it", "chunked\x0c"],
  ["NUL after it", "chunked\x00"],
  ["a no-break space before", "\xa0chunked"],
  ["a Kelvin sign", "chun\xe2\x84\xaaed"],
  ["a semicolon after it", "chunked;"],
  ["nothing", ""],
];

const cases: Case[] = [
  ...lengths.map(([name, value]) =>
    refused(
      `Content-Length ${name}`,
      "RFC 9112 §6.3 ¶5",
      post("abcd", `Content-Length: ${value}`),
      {
        status: [400, 413],
        ...(value === "4, 4" && { kind: "choice" as const }),
      },
    ),
  ),
  refused("an empty Content-Length", "RFC 9112 §6.3", post("", "Content-Length:"), {}),
  refused(
    "two lengths",
    "RFC 9112 §6.3 ¶5",
    post("abcd", "Content-Length: 4", "Content-Length: 5"),
  ),
  refused(
    "the same length twice",
    "RFC 9112 §6.3 ¶5: refuse or take one",
    post("abcd", "Content-Length: 4", "Content-Length: 4"),
    { kind: "choice" },
  ),
  refused(
    "two lengths in different case",
    "CVE-2026-1525",
    post("abcd", "Content-Length: 4", "content-length: 0"),
  ),
  refused(
    "length and chunks",
    "RFC 9112 §6.1: smuggling",
    post("0\r\n\r\n", "Content-Length: 5", TE),
    { kind: "choice" },
  ),
  refused(
    "chunks and length",
    "RFC 9112 §6.1: smuggling",
    post("0\r\n\r\n", TE, "Content-Length: 5"),
    { kind: "choice" },
  ),
  refused(
    "length and chunks, and a request hidden in them",
    "RFC 9112 §11.2",
    post(`0\r\n\r\n${HIDDEN}`, `Content-Length: ${5 + HIDDEN.length}`, TE),
    { kind: "choice" },
  ),
  refused(
    "length and an unknown coding",
    "RFC 9112 §6.1",
    post("abcd", "Content-Length: 4", "Transfer-Encoding: xchunked"),
    { status: [400, 501] },
  ),
  ...codings.map(([name, value]) =>
    refused(
      `Transfer-Encoding with ${name}`,
      "RFC 9112 §6.1, CVE-2021-22959, CVE-2022-32213",
      post("0\r\n\r\n", `Transfer-Encoding: ${value}`),
      {
        status: [400, 501],
        ...((value === "" || value.includes(", chunked") || value === "chunked,") && {
          kind: "choice" as const,
        }),
      },
    ),
  ),
  refused(
    "chunked in two fields",
    "RFC 9112 §6.1: chunked at most once",
    post("0\r\n\r\n", TE, TE),
    { status: [400, 501] },
  ),
  refused(
    "gzip in one field and chunked in another",
    "RFC 9112 §6.1",
    post("0\r\n\r\n", "Transfer-Encoding: gzip", TE),
    { status: [400, 501], kind: "choice" },
  ),
  refused(
    "chunks in HTTP/1.0",
    "RFC 9112 §6.1: treat as faulty",
    `${head("POST / HTTP/1.0", "Host: h", TE)}0\r\n\r\n`,
    { status: [400, 501] },
  ),
  refused(
    "chunks in HTTP/1.0 with keep-alive",
    "RFC 9112 §6.1",
    `${head("POST / HTTP/1.0", "Host: h", "Connection: keep-alive", TE)}0\r\n\r\n${HIDDEN}`,
    { status: [400, 501] },
  ),

  // --- valid framing ---
  forwarded("a length", "RFC 9112 §6.2", post("abcd", "Content-Length: 4"), { body: "abcd" }),
  forwarded("a length of 0", "RFC 9112 §6.2", post("", "Content-Length: 0"), { body: "" }),
  forwarded("a length with leading zeros", "RFC 9110 §8.6", post("abcd", "Content-Length: 0004"), {
    body: "abcd",
  }),
  forwarded(
    "a body in several segments",
    "RFC 9112 §6.2",
    [post("a", "Content-Length: 4"), "b", "cd"],
    { body: "abcd" },
  ),
  forwarded("POST without a length", "RFC 9112 §6.3 ¶7: no body", post(""), { body: "" }),
  forwarded("a body with GET", "RFC 9110 §9.3.1", `${get("Content-Length: 4")}abcd`, {
    body: "abcd",
  }),
  forwarded(
    "a body with DELETE",
    "RFC 9110 §9.3.5",
    `${head("DELETE / HTTP/1.1", "Host: h", "Content-Length: 4")}abcd`,
    { body: "abcd" },
  ),
  forwarded("chunks", "RFC 9112 §7.1", chunked("4\r\nabcd\r\n0\r\n\r\n"), { body: "abcd" }),
  forwarded("chunks with GET", "RFC 9110 §9.3.1", `${get(TE)}2\r\nab\r\n0\r\n\r\n`, { body: "ab" }),
  forwarded(
    "the coding in another case",
    "RFC 9112 §7",
    post("2\r\nab\r\n0\r\n\r\n", "Transfer-Encoding: Chunked"),
    { body: "ab" },
  ),
  forwarded(
    "a body that looks like a request",
    "RFC 9112 §6.2",
    post(HIDDEN, `Content-Length: ${HIDDEN.length}`),
    { body: HIDDEN },
  ),
  forwarded(
    "a chunk that looks like a request",
    "RFC 9112 §7.1",
    chunked(`${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`),
    { body: HIDDEN },
  ),
  forwarded(
    "every byte value in a body",
    "RFC 9110 §6.4",
    post(
      Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join(""),
      "Content-Length: 256",
    ),
    { body: Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join("") },
  ),
  forwarded(
    "a body of HTTP/1.0",
    "RFC 9112 §6.2",
    `${head("POST / HTTP/1.0", "Host: h", "Content-Length: 4")}abcd`,
    { body: "abcd", leaves: "closed" },
  ),
];

export const framing: Subject = { name: "the framing", cases };
