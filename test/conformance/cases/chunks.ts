/** Chunks (RFC 9112 §7.1): sizes, extensions, ends. An error after the head ends the connection. */
import { type Case, chunked, forwarded, type Subject } from "../case.ts";

/** `bytes` are not a valid body: the worker gets neither its end nor anything hidden after it. */
function broken(name: string, source: string, bytes: string, more: Partial<Case> = {}): Case {
  return {
    name,
    source,
    kind: "rule",
    sends: "",
    async play(stage) {
      const client = await stage.send(chunked(`${bytes}GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n`));
      await client.end();
      stage.check(
        !/^HTTP\/1\.1 [23]/.test(client.text),
        `the client got ${client.text.slice(0, 80)}`,
      );
      const complete = stage.requests.filter((request) => request.complete);
      stage.check(complete.length === 0, `a worker got ${JSON.stringify(stage.workerBytes)}`);
      stage.check(!stage.workerBytes.includes("/hidden"), "the hidden request reached a worker");
    },
    ...more,
  };
}

const END = "0\r\n\r\n";

const cases: Case[] = [
  ...(
    [
      ["no size", `\r\nabc\r\n${END}`],
      ["a size that is not a number", `xyz\r\nabc\r\n${END}`],
      ["a signed size", `+3\r\nabc\r\n${END}`],
      ["a negative size", `-3\r\nabc\r\n${END}`],
      ["a size with 0x", `0x3\r\nabc\r\n${END}`],
      ["a size with an h", `3h\r\nabc\r\n${END}`],
      ["a size with an underscore", `0_3\r\nabc\r\n${END}`],
      ["a size with a point", `3.0\r\nabc\r\n${END}`],
      ["a size with a comma", `3,3\r\nabc\r\n${END}`],
      ["a size with a vertical tab", `3\x0b\r\nabc\r\n${END}`],
      ["a size with NUL", `3\x00\r\nabc\r\n${END}`],
      ["a size with a no-break space", `3\xa0\r\nabc\r\n${END}`],
      ["a size of 2^64 + 3", `10000000000000003\r\nabc\r\n${END}`],
      ["more data than its size", `3\r\nabcd\r\n${END}`],
      ["less data than its size", `5\r\nabc\r\n${END}`],
      ["no CRLF after the data", `3\r\nabc${END}`],
      ["a bare CR after the data", `3\r\nabc\r${END}`],
      ["another pair of bytes after the data", `3\r\nabcXY${END}`],
      ["a bare CR after the size", `3\rabc\r\n${END}`],
      ["a size folded", `3\r\n abc\r\n${END}`],
    ] as const
  ).map(([name, bytes]) => broken(name, "RFC 9112 §7.1", bytes)),
  broken("a space after the size", "RFC 9112 §7.1: BWS is for extensions", `3 \r\nabc\r\n${END}`, {
    kind: "choice",
  }),
  broken("a space before the size", "RFC 9112 §7.1", ` 3\r\nabc\r\n${END}`),
  broken("a tab after the size", "RFC 9112 §7.1", `3\t\r\nabc\r\n${END}`, { kind: "choice" }),
  broken("a bare LF after the size", "CVE-2025-23167: line ends", `3\nabc\r\n${END}`, {
    kind: "choice",
  }),
  broken("a bare LF after the data", "RFC 9112 §2.2", `3\r\nabc\n${END}`, { kind: "choice" }),
  broken("bare LFs at the end", "RFC 9112 §7.1", "3\r\nabc\r\n0\n\n", { kind: "choice" }),
  broken("a bare LF in an extension", "bug class: chunk-ext smuggling", `3;a\nabc\r\n${END}`, {
    kind: "choice",
  }),
  broken("a bare CR in an extension", "bug class: chunk-ext smuggling", `3;a\rb\r\nabc\r\n${END}`),
  broken("NUL in an extension", "RFC 9112 §7.1.1", `3;a\x00\r\nabc\r\n${END}`, { kind: "choice" }),
  broken("an extension without semicolon", "RFC 9112 §7.1.1", `3 a=b\r\nabc\r\n${END}`),
  broken(
    "an extension of 20,000 bytes",
    "CVE-2024-22019",
    `3;${"a".repeat(20_000)}\r\nabc\r\n${END}`,
    { kind: "choice" },
  ),
  broken(
    "extensions of 40 KB in small chunks",
    "CVE-2024-22019",
    `${`1;${"a".repeat(1000)}\r\nx\r\n`.repeat(40)}${END}`,
    { kind: "choice" },
  ),
  broken(
    "a size of 13 digits",
    "CVE-2024-22019: sizes have limits",
    `0000000000003\r\nabc\r\n${END}`,
    { kind: "choice" },
  ),
  broken("data after a size of 0", "RFC 9112 §7.1.2", "0\r\nabc\r\n\r\n"),
  broken("a body that ends immediately", "RFC 9112 §7.1", "GET /hidden HTTP/1.1\r\n\r\n"),

  // --- valid bodies ---
  forwarded("one chunk", "RFC 9112 §7.1", chunked(`3\r\nabc\r\n${END}`), { body: "abc" }),
  forwarded("no data", "RFC 9112 §7.1", chunked(END), { body: "" }),
  forwarded("several chunks", "RFC 9112 §7.1", chunked(`1\r\na\r\n2\r\nbc\r\n${END}`), {
    body: "abc",
  }),
  forwarded("sizes in upper case", "RFC 9112 §7.1", chunked(`A\r\n0123456789\r\n${END}`), {
    body: "0123456789",
  }),
  forwarded("a size with leading zeros", "RFC 9112 §7.1", chunked("0003\r\nabc\r\n000\r\n\r\n"), {
    body: "abc",
  }),
  forwarded("CRLF as data", "RFC 9112 §7.1", chunked(`4\r\n\r\n\r\n\r\n${END}`), {
    body: "\r\n\r\n",
  }),
  forwarded("an end of body as data", "RFC 9112 §7.1", chunked(`5\r\n0\r\n\r\n\r\n${END}`), {
    body: "0\r\n\r\n",
  }),
  forwarded("an extension", "RFC 9112 §7.1.1: to be ignored", chunked(`3;a=b\r\nabc\r\n${END}`), {
    body: "abc",
  }),
  forwarded("an extension without value", "RFC 9112 §7.1.1", chunked(`3;a\r\nabc\r\n0;b\r\n\r\n`), {
    body: "abc",
  }),
  forwarded("a quoted extension", "RFC 9112 §7.1.1", chunked(`3;a="b;c, \\"d"\r\nabc\r\n${END}`), {
    body: "abc",
  }),
  forwarded("chunks byte by byte", "RFC 9112 §7.1", chunked(`3\r\nabc\r\n${END}`).split(""), {
    body: "abc",
  }),
  forwarded(
    "a chunk of 60,000 bytes",
    "RFC 9112 §7.1",
    chunked(`ea60\r\n${"x".repeat(60_000)}\r\n${END}`),
    { body: "x".repeat(60_000) },
  ),
  forwarded(
    "a thousand chunks of one byte",
    "RFC 9112 §7.1",
    chunked(`${"1\r\nx\r\n".repeat(1000)}${END}`),
    { body: "x".repeat(1000) },
  ),
];

export const chunks: Subject = { name: "a chunked body", cases };
