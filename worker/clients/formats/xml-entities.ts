/**
 * Expands the entities that an untrusted XML document declares in its DOCTYPE, within narrow limits, and removes the DOCTYPE.
 * Nothing outside the document is ever read. Pure.
 *
 * Predefined entities (`&lt;`) and character references (`&#8226;`) are decoded separately and without a limit: each is
 * shorter than its reference.
 */
import { ArchiveError } from "./archive.ts";

/** Characters that all references to declared entities of one document may expand to. */
const MAX_EXPANDED_CHARS = 256 * 1024;
const MAX_DEPTH = 16;

/** The document without its DOCTYPE and with its declared entities expanded. Throws `ArchiveError`. */
export function resolveEntities(what: string, document: string): string {
  const start = doctypeStart(what, document);
  if (start === undefined) return document;
  const { entities, end } = readDoctype(what, document, start);
  const rest = document.slice(end);
  return document.slice(0, start) + (entities.size === 0 ? rest : expand(what, rest, entities));
}

const PREDEFINED: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

/** Decodes predefined entities and character references; references to unknown entities are kept. */
export function decodePredefined(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(
    /&(?:#x([\da-f]{1,8})|#(\d{1,10})|(amp|lt|gt|quot|apos));/gi,
    (reference, hex?: string, decimal?: string, name?: string) =>
      name === undefined ? charOf(hex, decimal) : (PREDEFINED[name] ?? reference),
  );
}

/** Empty for code points that are not XML characters (§2.2). */
function charOf(hex: string | undefined, decimal: string | undefined): string {
  const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
  const isChar =
    code === 0x9 ||
    code === 0xa ||
    code === 0xd ||
    (code >= 0x20 && code <= 0xd7ff) ||
    (code >= 0xe000 && code <= 0xfffd) ||
    (code >= 0x10000 && code <= 0x10ffff);
  return isChar ? String.fromCodePoint(code) : "";
}

// --- the DOCTYPE ---

/** The index of the DOCTYPE, which only white space, comments and processing instructions may precede. */
function doctypeStart(what: string, document: string): number | undefined {
  for (let at = 0; ; ) {
    while (/\s/.test(document.charAt(at))) at++;
    if (document.startsWith("<!DOCTYPE", at)) return at;
    const end = skipOpaque(what, document, at);
    if (end === undefined) return undefined;
    at = end;
  }
}

/**
 * The end of the comment, CDATA section or processing instruction that starts at `at`; undefined when none does. Throws
 * `ArchiveError` when it is unterminated: searching on from each opener would take quadratic time.
 */
function skipOpaque(what: string, text: string, at: number): number | undefined {
  for (const [open, close] of [
    ["<!--", "-->"],
    ["<![CDATA[", "]]>"],
    ["<?", "?>"],
  ] as const) {
    if (!text.startsWith(open, at)) continue;
    const end = text.indexOf(close, at + open.length);
    if (end === -1)
      throw new ArchiveError(`${what} is not well-formed XML: ${open} without ${close}`);
    return end + close.length;
  }
  return undefined;
}

type Entities = ReadonlyMap<string, string>;

function readDoctype(
  what: string,
  document: string,
  start: number,
): { readonly entities: Entities; readonly end: number } {
  const entities = new Map<string, string>();
  const subset = endOfMarkup(what, document, start, "[>");
  if (document[subset - 1] === ">") return { entities, end: subset };
  for (let at = subset; ; ) {
    while (/\s/.test(document.charAt(at))) at++;
    if (document[at] === "]") return { entities, end: endOfMarkup(what, document, at, ">") };
    if (document[at] === "%") throw externalError(what, "a parameter entity");
    if (document.startsWith("<!ENTITY", at)) declare(what, document, at, entities);
    at = skipOpaque(what, document, at) ?? endOfMarkup(what, document, at, ">");
  }
}

/** The index after the next of the characters `ends` that is not within quotes. */
function endOfMarkup(what: string, document: string, from: number, ends: string): number {
  for (let at = from; at < document.length; at++) {
    const char = document.charAt(at);
    if (ends.includes(char)) return at + 1;
    if (char !== '"' && char !== "'") continue;
    const closing = document.indexOf(char, at + 1);
    if (closing === -1) break;
    at = closing;
  }
  throw new ArchiveError(`${what} is not well-formed XML (unterminated DOCTYPE)`);
}

const DECLARATION =
  /<!ENTITY\s+(%\s)?\s*([^\s"'<>%&;]{1,200})\s+(?:(SYSTEM|PUBLIC)\s|"([^"]*)"|'([^']*)')/y;

function declare(what: string, document: string, at: number, entities: Map<string, string>): void {
  DECLARATION.lastIndex = at;
  const [whole, isParameter, name = "", external, double, single] =
    DECLARATION.exec(document) ?? [];
  if (whole === undefined) {
    throw new ArchiveError(`${what} is not well-formed XML (invalid entity declaration)`);
  }
  if (isParameter !== undefined) throw externalError(what, "a parameter entity");
  if (external !== undefined) throw externalError(what, `the external entity ${name}`);
  // The first declaration of a name counts, and its character references are decoded at once (§4.2, §4.4.5).
  const value = (double ?? single ?? "").replace(
    /&(?:#x([\da-f]{1,8})|#(\d{1,10}));/gi,
    (_, hex?: string, decimal?: string) => charOf(hex, decimal),
  );
  if (!entities.has(name) && !Object.hasOwn(PREDEFINED, name)) entities.set(name, value);
}

function externalError(what: string, entity: string): ArchiveError {
  return new ArchiveError(
    `${what} declares ${entity}, which is not allowed: external content is never read`,
  );
}

// --- expansion ---

const REFERENCE = /&([^\s&;#<>"']{1,200});/y;

/** Expands the entities. Their text may contain elements, except in an attribute, where it is only text. */
function expand(what: string, document: string, entities: Entities): string {
  const textOf = createResolver(what, entities);
  const special = /[<>&"']/g;
  const parts: string[] = [];
  let copied = 0;
  let added = 0;
  /** `<`: within a tag; a quote: within the value of an attribute. */
  let state: "" | "<" | '"' | "'" = "";
  for (let found = special.exec(document); found !== null; found = special.exec(document)) {
    const [char] = found;
    const at = found.index;
    if (char === "&" && state !== "<") {
      REFERENCE.lastIndex = at;
      const [reference = "", name = ""] = REFERENCE.exec(document) ?? [];
      const text = textOf(name);
      if (text === undefined) continue;
      added += text.length;
      if (added > MAX_EXPANDED_CHARS) throw expansionError(what);
      parts.push(document.slice(copied, at), state === "" ? text : escapeMarkup(text));
      copied = at + reference.length;
      special.lastIndex = copied;
    } else if (state === "") {
      if (char !== "<") continue;
      const end = skipOpaque(what, document, at);
      if (end === undefined) state = "<";
      else special.lastIndex = end;
    } else if (state === "<") {
      if (char === ">") state = "";
      else if (char === '"' || char === "'") state = char;
    } else if (char === state) {
      state = "<";
    }
  }
  parts.push(document.slice(copied));
  return parts.join("");
}

function escapeMarkup(text: string): string {
  return text.replaceAll("<", "&lt;").replaceAll('"', "&quot;").replaceAll("'", "&apos;");
}

/** Resolves an entity with all entities in it; undefined for one that is not declared. */
function createResolver(what: string, entities: Entities): (name: string) => string | undefined {
  const resolved = new Map<string, string>();
  const within: string[] = [];

  function resolve(name: string): string | undefined {
    const value = entities.get(name);
    const cached = value === undefined ? undefined : resolved.get(name);
    if (value === undefined || cached !== undefined) return cached;
    if (within.includes(name)) {
      throw new ArchiveError(`${what} has a recursive entity: ${name}`);
    }
    if (within.length >= MAX_DEPTH) {
      throw new ArchiveError(`${what} has entities nested more than ${MAX_DEPTH} deep`);
    }
    within.push(name);
    let length = value.length;
    const text = value.replace(/&([^\s&;#<>"']{1,200});/g, (reference, inner: string) => {
      const replacement = resolve(inner);
      length += replacement?.length ?? 0;
      if (length > MAX_EXPANDED_CHARS + value.length) throw expansionError(what);
      return replacement ?? reference;
    });
    within.pop();
    resolved.set(name, text);
    return text;
  }
  return resolve;
}

function expansionError(what: string): ArchiveError {
  return new ArchiveError(
    `${what} has entities that expand to more than ${MAX_EXPANDED_CHARS} characters (entity bomb)`,
  );
}
