/**
 * Reads a file of an operator, in YAML or JSON, by a schema. Its problems have the lines where they are. Pure.
 */
import { isMap, isSeq, LineCounter, type ParsedNode, parseDocument } from "yaml";
import type { z } from "zod";
import { parseJson } from "../base/json.ts";

type ReadYaml<T> = { readonly outcome: "read"; readonly value: T } | Problems;

interface Problems {
  readonly outcome: "invalid";
  readonly problems: readonly string[];
}

const MAX_PROBLEMS = 10;

export function readYaml<T>(
  text: string,
  schema: z.ZodType<T>,
  options: {
    /** The problem of an empty file. */
    readonly empty: string;
    /** A problem of the whole that makes all others pointless. */
    readonly refuse?: (value: unknown) => string | undefined;
    /** Names a place of the file, like `rule 3, name: `. */
    readonly describePath: (path: readonly PropertyKey[]) => string;
  },
): ReadYaml<T> {
  // About ten times faster than YAML.
  const json = /^\s*\{/.test(text) ? parseJson(text) : undefined;
  if (json !== undefined) {
    const read = schema.safeParse(json);
    // With mistakes it is read as YAML, which knows the lines.
    if (read.success) return { outcome: "read", value: read.data };
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, stringKeys: true, version: "1.2" });
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) return invalid([error.message.split("\n")[0] ?? ""]);
  if (document.directives?.yaml.version !== "1.2") return invalid(["it must be YAML 1.2"]);
  const value = toValue(document);
  if (value === ALIASED) return invalid(["aliases (&name, *name) are not allowed"]);
  if (value === null || value === undefined) return invalid([options.empty]);
  const refused = options.refuse?.(value);
  if (refused !== undefined) return invalid([refused]);
  const read = schema.safeParse(value);
  if (read.success) return { outcome: "read", value: read.data };
  return invalid(
    read.error.issues.map(({ path, message }) => {
      const where = options.describePath(path);
      return `${placeOf(document.contents, path, lines)}${where}${message}`;
    }),
  );
}

/** With the first of many problems. */
export function invalid(problems: readonly string[]): Problems {
  const more = problems.length - MAX_PROBLEMS;
  const shown = problems.slice(0, MAX_PROBLEMS);
  return { outcome: "invalid", problems: more > 0 ? [...shown, `and ${more} more`] : shown };
}

/** Aliases can make a few lines as large as the memory. */
const ALIASED = Symbol("aliased");

function toValue(document: { toJS(options: { maxAliasCount: number }): unknown }): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    if (error instanceof ReferenceError) return ALIASED;
    throw error;
  }
}

/** `line 7: `; of what is missing, the line of what should have it. */
function placeOf(
  root: ParsedNode | null,
  path: readonly PropertyKey[],
  lines: LineCounter,
): string {
  let node: unknown = root;
  let at = root?.range[0];
  for (const part of path) {
    if (!isMap(node) && !isSeq(node)) break;
    const next: unknown = node.get(part, true);
    if (typeof next !== "object" || next === null) break;
    node = next;
    const { range } = next as Partial<ParsedNode>;
    if (range) at = range[0];
  }
  return at === undefined ? "" : `line ${lines.linePos(at).line}: `;
}
