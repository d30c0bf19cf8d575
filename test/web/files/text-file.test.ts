import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decode,
  encode,
  MAX_TEXT_BYTES,
  NEW_TEXT_FORM,
} from "../../../worker/web/client/files/text-file.ts";

const piece = fc.constantFrom("a", "let x = 1;", "é", "😀", "\ufeff", "\t", "\n", "\r\n", "\r", "");
const mixedText = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(""));

test("a text that is offered for editing is saved with the same bytes as long as nobody edits it", () => {
  fc.assert(
    fc.property(
      fc.oneof(mixedText, fc.string({ unit: "binary" })),
      fc.boolean(),
      (text, isMarked) => {
        const bytes = utf8((isMarked ? "\ufeff" : "") + text);
        const content = decode(bytes);
        if (content.kind !== "text") return;
        expect(content.text).not.toMatch(/\r/);
        expect(Buffer.from(encode(content.text, content.form))).toEqual(Buffer.from(bytes));
      },
    ),
    { numRuns: 500 },
  );
});

test("every text without zeros is offered for editing", () => {
  fc.assert(
    fc.property(mixedText, (text) => {
      expect(decode(utf8(text)).kind).toBe("text");
    }),
  );
});

test("arbitrary bytes are never changed by saving them as text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const content = decode(bytes);
      if (content.kind !== "text") return;
      expect(Buffer.from(encode(content.text, content.form))).toEqual(Buffer.from(bytes));
    }),
    { numRuns: 1_000 },
  );
});

test("an edited line of a text with mixed line ends leaves the line ends of the others as they are", () => {
  const { text, form } = decodeText("one\r\ntwo\nthree\rfour\r\nfive\r\n");
  expect(text).toBe("one\ntwo\nthree\nfour\nfive\n");
  expect(encodeText(text.replace("three", "THREE\nand more"), form)).toBe(
    "one\r\ntwo\nTHREE\r\nand more\rfour\r\nfive\r\n",
  );
});

test("editing one line of a text, or adding one, changes the bytes of no other line", () => {
  const line = fc.constantFrom("", "a", "b", "let x;");
  const lines = fc.array(fc.tuple(line, fc.constantFrom("\n", "\r\n", "\r")), { minLength: 1 });
  fc.assert(
    fc.property(lines, fc.nat(), (pairs, choice) => {
      const at = choice % pairs.length;
      const raw = pairs.map((pair) => pair.join(""));
      const { text, form } = decodeText(raw.join(""));
      const texts = text.split("\n");
      // `\r` before an empty line that ends in `\n` is one line end.
      fc.pre(texts.length === raw.length + 1);
      const edited = replaceAt(texts, at, 1, "edited").join("\n");
      const expected = replaceAt(raw, at, 1, `edited${pairs[at]?.[1]}`).join("");
      expect(encodeText(edited, form)).toBe(expected);
      const saved = encodeText(replaceAt(texts, at, 0, "added").join("\n"), form);
      expect(saved.startsWith(raw.slice(0, at).join(""))).toBe(true);
      expect(saved.endsWith(raw.slice(at).join(""))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("a new line gets the line end that the file has", () => {
  const { text, form } = decodeText("one\r\ntwo\r\n");
  expect(encodeText(`${text}three\n`, form)).toBe("one\r\ntwo\r\nthree\r\n");
});

test("line ends of other systems in a shared text become those of the file", () => {
  expect(encodeText("one\r\ntwo\rthree\n", NEW_TEXT_FORM)).toBe("one\ntwo\nthree\n");
});

test("a byte order mark is kept and is no part of the text", () => {
  const { text, form } = decodeText("\ufeffhello");
  expect(text).toBe("hello");
  expect(encodeText("bye", form)).toBe("\ufeffbye");
});

test("Latin-1 and UTF-16 texts are shown and not offered for editing", () => {
  expect(decode(Uint8Array.of(0x63, 0x61, 0x66, 0xe9, 0x0d, 0x0a))).toEqual({
    kind: "foreign-text",
    text: "café\n",
    encoding: "windows-1252",
  });
  expect(decode(Buffer.from("\ufeffhi\r\n", "utf16le"))).toEqual({
    kind: "foreign-text",
    text: "hi\n",
    encoding: "utf-16le",
  });
  expect(decode(Buffer.from("hello", "utf16le"))).toMatchObject({ text: "hello" });
  expect(decode(Buffer.from("hello", "utf16le").swap16())).toMatchObject({
    text: "hello",
    encoding: "utf-16be",
  });
});

test("pictures and archives are binary, whatever their size", () => {
  expect(decode(Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1"))).toEqual({
    kind: "binary",
  });
  expect(decode(Buffer.from("PK\x03\x04\x14\x01\x02\x05\xff", "latin1"))).toEqual({
    kind: "binary",
  });
  expect(decode(new Uint8Array(MAX_TEXT_BYTES + 1))).toEqual({ kind: "binary" });
});

test("a text of 8 MiB opens, a larger one is too large", () => {
  const bytes = new Uint8Array(MAX_TEXT_BYTES + 1).fill(0x61);
  expect(decode(bytes)).toEqual({ kind: "too-large" });
  expect(decode(bytes.subarray(1)).kind).toBe("text");
});

test("an empty file is a text", () => {
  expect(decode(new Uint8Array())).toEqual({ kind: "text", text: "", form: NEW_TEXT_FORM });
});

function replaceAt(items: readonly string[], at: number, count: number, item: string): string[] {
  return [...items.slice(0, at), item, ...items.slice(at + count)];
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function decodeText(raw: string) {
  const content = decode(utf8(raw));
  if (content.kind !== "text") throw new Error(`not a text: ${content.kind}`);
  return content;
}

function encodeText(text: string, form: Parameters<typeof encode>[1]): string {
  return Buffer.from(encode(text, form)).toString();
}
