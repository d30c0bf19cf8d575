import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Field, HttpSyntaxError } from "../../../balancer/http1/fields.ts";
import { BodyReader, type Framing } from "../../../balancer/http1/framing.ts";
import type { Piece } from "../../../balancer/transport/transport.ts";

interface Result {
  readonly out: string;
  readonly done: boolean;
  /** The bytes after the body. */
  readonly rest: string;
}

const any = (_field: Field) => true;

/** Reads a body that arrives in parts. */
function read(
  framing: Framing,
  parts: readonly string[],
  options: { keepChunks?: boolean; mayPass?: (field: Field) => boolean } = {},
): Result | string {
  const reader = new BodyReader(framing, {
    sender: "downstream",
    keepChunks: options.keepChunks ?? true,
    mayPass: options.mayPass ?? any,
  });
  let out = "";
  let rest = "";
  try {
    for (const part of parts) {
      const bytes = Buffer.from(part, "latin1");
      const chunks: Piece[] = [];
      const end = reader.read(bytes, 0, chunks);
      for (const chunk of chunks)
        out += typeof chunk === "string" ? chunk : chunk.toString("latin1");
      rest += bytes.toString("latin1", end);
    }
  } catch (error) {
    if (error instanceof HttpSyntaxError) return error.reason;
    throw error;
  }
  return { out, done: reader.done, rest };
}

const CHUNKED: Framing = { kind: "chunked" };

describe("the body reader with a Content-Length", () => {
  test("a body with a length ends after that many bytes, and the rest is left to the next reader", () => {
    const framing: Framing = { kind: "length", length: 5 };
    expect(read(framing, ["hel", "lo", "GET"])).toEqual({ out: "hello", done: true, rest: "GET" });
    expect(read(framing, ["helloGET"])).toEqual({ out: "hello", done: true, rest: "GET" });
    expect(read(framing, ["hell"])).toEqual({ out: "hell", done: false, rest: "" });
  });

  test("a body of no bytes is complete immediately", () => {
    expect(read({ kind: "length", length: 0 }, ["x"])).toEqual({ out: "", done: true, rest: "x" });
    expect(read({ kind: "none" }, ["x"])).toEqual({ out: "", done: true, rest: "x" });
  });

  test("a body with a length is incomplete when the sender closes early", () => {
    const reader = new BodyReader(
      { kind: "length", length: 2 },
      { sender: "upstream", keepChunks: true, mayPass: any },
    );
    reader.read(Buffer.from("x"), 0, []);
    expect(reader.finish()).toBe(false);
  });
});

test("a body without a length ends with the connection", () => {
  const reader = new BodyReader(
    { kind: "until-close" },
    { sender: "upstream", keepChunks: true, mayPass: any },
  );
  reader.read(Buffer.from("x"), 0, []);
  expect(reader.done).toBe(false);
  expect(reader.finish()).toBe(true);
});

describe("the body reader with chunks", () => {
  test.each<[name: string, bytes: string, out: string]>([
    [
      "keeps its chunk boundaries",
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    ],
    [
      "has its chunk sizes normalized",
      "003\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\n",
      "3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n",
    ],
    ["loses its chunk extensions", '1;a=b;c="d e"\r\nx\r\n0;last\r\n\r\n', "1\r\nx\r\n0\r\n\r\n"],
    ["may be empty", "0\r\n\r\n", "0\r\n\r\n"],
    [
      "keeps its trailers",
      "0\r\nX-Sum: 1\r\nX-Other:2\r\n\r\n",
      "0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n",
    ],
    ["may contain CRLF as data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "4\r\n\r\n\r\n\r\n0\r\n\r\n"],
  ])("a chunked body %s", (_name, bytes, out) => {
    expect(read(CHUNKED, [`${bytes}GET`])).toEqual({ out, done: true, rest: "GET" });
    expect(read(CHUNKED, [...bytes.split(""), "GET"])).toEqual({ out, done: true, rest: "GET" });
  });

  test("a chunked body is decoded for HTTP/1.0", () => {
    const bytes = "3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n";
    const plain = { out: "abcde", done: true, rest: "" };
    expect(read(CHUNKED, [bytes], { keepChunks: false })).toEqual(plain);
  });

  test("trailers that may not pass are removed from a chunked body", () => {
    const mayPass = (field: Field) => field.lower !== "host";
    const result = read(CHUNKED, ["0\r\nHost: evil\r\nA: b\r\n\r\n"], { mayPass });
    expect(result).toMatchObject({ out: "0\r\nA: b\r\n\r\n" });
  });

  test.each<[name: string, bytes: string, reason: string]>([
    ["no size", "\r\nabc", "chunk size"],
    ["a signed size", "+3\r\nabc", "chunk size"],
    ["a negative size", "-3\r\nabc", "chunk size"],
    ["a size with 0x", "0x3\r\nabc", "chunk size"],
    ["a space after the size", "3 \r\nabc", "chunk size"],
    ["a space before the size", " 3\r\nabc", "chunk size"],
    ["a size of 13 digits", "fffffffffffff\r\n", "chunk size"],
    ["a size of 13 digits that are zeros", "0000000000001\r\n", "chunk size"],
    ["a bare LF after the size", "3\nabc", "chunk size"],
    ["a bare CR after the size", "3\rabc", "chunk size"],
    ["a bare LF in an extension", "3;a\nabc\r\n", "chunk extension"],
    ["NUL in an extension", "3;\0\r\n", "chunk extension"],
    ["an extension of more than 1 KiB", `3;${"a".repeat(1024)}\r\n`, "chunk extensions too long"],
    [
      "extensions of more than 16 KiB",
      `1;${"a".repeat(1000)}\r\nx\r\n`.repeat(17),
      "chunk extensions too long",
    ],
    ["more data than its size", "3\r\nabcd\r\n", "end of chunk"],
    ["less data than its size", "3\r\nab\r\n0\r\n\r\n", "end of chunk"],
    ["a bare LF after the data", "3\r\nabc\n0\r\n\r\n", "end of chunk"],
    ["a bare LF in a trailer", "0\r\nA: b\n\r\n", "trailer"],
    ["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "folded field"],
    ["a trailer without colon", "0\r\nabc\r\n\r\n", "field without colon"],
    ["trailers of more than 8 KiB", `0\r\nA: ${"b".repeat(8192)}\r\n\r\n`, "trailers too long"],
    ["more than 64 trailers", `0\r\n${"A: b\r\n".repeat(65)}\r\n`, "too many trailers"],
  ])("a chunked body is refused with %s", (_name, bytes, reason) => {
    expect(read(CHUNKED, [bytes])).toBe(reason);
    expect(read(CHUNKED, bytes.split(""))).toBe(reason);
  });
});

test("a chunked body gives the same output however its bytes are split, and decodes to its data", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 8 }),
      fc.array(fc.nat(30), { maxLength: 12 }),
      (chunks, cuts) => {
        const data = chunks.map((chunk) => Buffer.from(chunk).toString("latin1"));
        const body = data
          .map((chunk) => `${chunk.length.toString(16)};e=1\r\n${chunk}\r\n`)
          .join("");
        const bytes = `${body}0\r\nT: v\r\n\r\nNEXT`;
        const parts: string[] = [];
        let at = 0;
        for (const cut of cuts) {
          parts.push(bytes.slice(at, at + cut));
          at += cut;
        }
        parts.push(bytes.slice(at));
        const whole = read(CHUNKED, [bytes]);
        expect(read(CHUNKED, parts)).toEqual(whole);
        expect(whole).toMatchObject({ done: true, rest: "NEXT" });
        const plain = read(CHUNKED, parts, { keepChunks: false });
        expect(plain).toEqual({ out: data.join(""), done: true, rest: "NEXT" });
        // Reading the output again changes nothing.
        const written = (whole as Result).out;
        expect(read(CHUNKED, [written])).toEqual({ out: written, done: true, rest: "" });
      },
    ),
  );
});
