/**
 * Decodes an XML document (XML 1.0 §4.3.3 and appendix F): by its byte order mark, else by the zero bytes of UTF-16, else by
 * its declaration, else as UTF-8. Pure.
 */
import { TextDecoder } from "node:util";
import { ArchiveError } from "./archive.ts";

/** Only this much is searched for the declaration. */
const DECLARATION_BYTES = 1024;
const DECLARED = /^<\?xml\s[^>]{0,500}?\sencoding\s*=\s*(?:"([^"]{1,60})"|'([^']{1,60})')/;

const LATIN1 = new Set(["iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "l1"]);
const WINDOWS_1252 = new Set(["windows-1252", "cp1252", "cp-1252", "x-cp1252"]);
const UTF_8 = new Set(["utf-8", "utf8", "us-ascii", "ascii"]);

/** Removes the byte order mark. Throws `ArchiveError`; `what` names the document. */
export function decodeXml(what: string, bytes: Buffer): string {
  const physical = physicalEncoding(bytes);
  if (physical !== undefined) return decodeAs(what, physical, bytes);
  const head = bytes.toString("latin1", 0, DECLARATION_BYTES);
  const [, double, single] = DECLARED.exec(head) ?? [];
  return decodeAs(what, double ?? single ?? "UTF-8", bytes);
}

/** The encoding that the first bytes prove, whatever is declared; undefined for supersets of ASCII. */
function physicalEncoding(bytes: Buffer): string | undefined {
  const [a = 1, b = 1, c = 1, d = 1] = bytes;
  if (a === 0xef && b === 0xbb && c === 0xbf) return "UTF-8";
  const isLittle32 = (a === 0xff && b === 0xfe && c === 0 && d === 0) || (b + c + d === 0 && a > 0);
  const isBig32 = a + b === 0 && ((c === 0xfe && d === 0xff) || (c === 0 && d > 0));
  if (isLittle32 || isBig32) return "UTF-32";
  if ((a === 0xff && b === 0xfe) || (a > 0 && b === 0)) return "UTF-16LE";
  if ((a === 0xfe && b === 0xff) || (a === 0 && b > 0)) return "UTF-16BE";
  // "<?xm" in EBCDIC, in which the declaration itself would be encoded.
  return a === 0x4c && b === 0x6f && c === 0xa7 && d === 0x94 ? "EBCDIC" : undefined;
}

function decodeAs(what: string, encoding: string, bytes: Buffer): string {
  const label = encoding.trim().toLowerCase();
  // Not left to TextDecoder: it decodes Latin-1 as windows-1252, and in some versions of Node windows-1252 as Latin-1.
  if (LATIN1.has(label)) return bytes.toString("latin1");
  if (WINDOWS_1252.has(label)) return windows1252(bytes);
  const decoder = decoderOf(UTF_8.has(label) ? "utf-8" : label);
  if (decoder === undefined) {
    const shown = JSON.stringify(encoding);
    throw new ArchiveError(`${what} uses the unsupported encoding ${shown}; use UTF-8`);
  }
  if (decoder.encoding.startsWith("utf-16") && physicalEncoding(bytes) !== encoding) {
    throw new ArchiveError(`${what} declares ${encoding}, but its characters have one byte each`);
  }
  try {
    return decoder.decode(bytes);
  } catch (error) {
    const reason = `${what} is not valid ${encoding} (invalid byte sequence)`;
    throw new ArchiveError(`${reason}; declare the encoding that it uses`, { cause: error });
  }
}

function decoderOf(label: string): TextDecoder | undefined {
  try {
    return new TextDecoder(label, { fatal: true });
  } catch {
    return undefined;
  }
}

/** The bytes 0x80 to 0x9f in windows-1252; all others are as in ISO-8859-1. */
const HIGH = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

function windows1252(bytes: Buffer): string {
  return bytes
    .toString("latin1")
    .replace(/[\x80-\x9f]/g, (char) => HIGH[char.charCodeAt(0) - 0x80] ?? char);
}
