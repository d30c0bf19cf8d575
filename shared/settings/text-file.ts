/**
 * Reads text files that operators made with any editor: a byte order mark is removed, and UTF-16 is accepted because
 * PowerShell's `>` writes it.
 */
import { readFileSync } from "node:fs";
import { TextDecoder } from "node:util";

/** The text of a file, without a byte order mark. Throws the system's error. */
export function readTextFile(path: string): string {
  return decodeText(readFileSync(path));
}

/** Decodes UTF-8, or UTF-16 with a byte order mark. */
function decodeText(bytes: Buffer): string {
  const isLittle = bytes[0] === 0xff && bytes[1] === 0xfe;
  const isBig = bytes[0] === 0xfe && bytes[1] === 0xff;
  const encoding = isLittle ? "utf-16le" : isBig ? "utf-16be" : "utf-8";
  return new TextDecoder(encoding).decode(bytes);
}
