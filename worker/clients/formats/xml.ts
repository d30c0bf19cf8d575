/**
 * Parses untrusted XML into nodes with attributes and children, found by name. Encodings are honored, entities are expanded
 * within narrow limits, and nothing is ever fetched.
 */
import { XMLParser } from "fast-xml-parser";
import { describeError } from "../../../shared/base/errors.ts";
import { fieldsOf } from "../../../shared/base/json.ts";
import { ArchiveError } from "./archive.ts";
import { cutText } from "./artifact.ts";
import { decodeXml } from "./xml-encoding.ts";
import { decodePredefined, resolveEntities } from "./xml-entities.ts";

export interface XmlNode {
  /** Its own text, trimmed. */
  readonly text: string;
  attribute(name: string): string | undefined;
  all(name: string): readonly XmlNode[];
  child(name: string): XmlNode | undefined;
}

const ATTRIBUTE = "@";
const TEXT = "#text";
/** The parser quotes whole tags in its messages. */
const MAX_REASON_CHARS = 200;

/** Declared entities are expanded before the parser sees the text. */
const ENTITIES = {
  decode: decodePredefined,
  setExternalEntities: () => {},
  addInputEntities: () => {},
  setXmlVersion: () => {},
  reset: () => {},
};

/** The root element, which must be called `root`. Throws `ArchiveError`; `what` names the document. */
export function parseXml(
  what: string,
  bytes: Buffer,
  root: string,
  unread: string[] = [],
): XmlNode {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: ATTRIBUTE,
    textNodeName: TEXT,
    parseTagValue: false,
    parseAttributeValue: false,
    removeNSPrefix: true,
    entityDecoder: ENTITIES,
    stopNodes: unread,
  });
  const text = resolveEntities(what, decodeXml(what, bytes));
  let document: unknown;
  try {
    document = parser.parse(text, true);
  } catch (error) {
    const reason = cutText(describeError(error), MAX_REASON_CHARS);
    throw new ArchiveError(`${what} is not well-formed XML (${reason})`, { cause: error });
  }
  const found = nodeOf(document).child(root);
  if (found === undefined) throw new ArchiveError(`${what} has no <${root}>`);
  return found;
}

function nodeOf(value: unknown): XmlNode {
  const fields = fieldsOf(value);
  const field = (name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);
  const all = (name: string): XmlNode[] => {
    const found = field(name);
    if (found === undefined) return [];
    return (Array.isArray(found) ? found : [found]).map(nodeOf);
  };
  return {
    text: textOf(typeof value === "string" ? value : field(TEXT)),
    attribute(name) {
      const found = field(ATTRIBUTE + name);
      return typeof found === "string" ? found.trim() : undefined;
    },
    all,
    child: (name) => all(name)[0],
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value.trim() : "";
}
