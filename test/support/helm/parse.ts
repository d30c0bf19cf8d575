/**
 * Parses the subset of Go's templates that the chart uses, and refuses everything else: actions with `if`, `else`, `with`,
 * `range`, `define`, `end`, comments, and pipelines of functions over fields, texts and whole numbers.
 */
export type TemplateNode =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "action"; readonly pipeline: Pipeline }
  | Block;

export interface Block {
  readonly kind: "if" | "with" | "range";
  readonly pipeline: Pipeline;
  readonly body: readonly TemplateNode[];
  readonly otherwise: readonly TemplateNode[];
}

/** Each command gets the result of the one before as its last argument. */
export type Pipeline = readonly Command[];
export type Command = readonly [Operand, ...Operand[]];
export type Operand =
  /** `.a.b`, or `$.a.b` from the root. */
  | { readonly kind: "field"; readonly fromRoot: boolean; readonly path: readonly string[] }
  | { readonly kind: "literal"; readonly value: string | number }
  | { readonly kind: "function"; readonly name: string }
  | { readonly kind: "pipeline"; readonly pipeline: Pipeline };

export interface Template {
  readonly nodes: readonly TemplateNode[];
  readonly defined: Readonly<Record<string, readonly TemplateNode[]>>;
}

export function parseTemplate(source: string): Template {
  const defined: Record<string, readonly TemplateNode[]> = {};
  const tokens = tokenize(source);
  const { nodes, end } = parseNodes(tokens, 0, defined);
  if (end < tokens.length) throw new Error(`"${tokens[end]?.content ?? ""}" without a block`);
  return { nodes, defined };
}

// --- text and actions ---

interface Token {
  readonly kind: "text" | "action";
  readonly content: string;
}

const ACTION = /\{\{(- )?((?:"(?:[^"\\]|\\.)*"|\/\*[\s\S]*?\*\/|[^"])*?)( -)?\}\}/g;

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trimNext = false;
  const pushText = (raw: string, trimEnd: boolean): void => {
    const begun = trimNext ? raw.trimStart() : raw;
    const content = trimEnd ? begun.trimEnd() : begun;
    if (content !== "") tokens.push({ kind: "text", content });
  };
  // A comment may end with `*/}}` without a space.
  for (const match of source.matchAll(ACTION)) {
    const [whole, left, content = "", right] = match;
    pushText(source.slice(at, match.index), left !== undefined);
    trimNext = right !== undefined;
    at = match.index + whole.length;
    if (!content.trim().startsWith("/*")) tokens.push({ kind: "action", content: content.trim() });
  }
  pushText(source.slice(at), false);
  const rest = tokens.find(({ kind, content }) => kind === "text" && content.includes("{{"));
  if (rest !== undefined) throw new Error(`an action that cannot be read: ${rest.content}`);
  return tokens;
}

// --- blocks ---

interface Parsed {
  readonly nodes: TemplateNode[];
  /** The index of `else` or `end`, or behind the last token. */
  readonly end: number;
}

function parseNodes(
  tokens: readonly Token[],
  begin: number,
  defined: Record<string, readonly TemplateNode[]>,
): Parsed {
  const nodes: TemplateNode[] = [];
  let at = begin;
  for (let token = tokens[at]; token !== undefined; token = tokens[at]) {
    if (token.kind === "text") {
      nodes.push({ kind: "text", text: token.content });
      at++;
      continue;
    }
    const [, word = "", rest = ""] = /^(\S+)\s*([\s\S]*)$/.exec(token.content) ?? [];
    if (word === "end" || word === "else") return { nodes, end: at };
    if (word === "if" || word === "with" || word === "range") {
      const body = parseNodes(tokens, at + 1, defined);
      const hasElse = tokens[body.end]?.content === "else";
      const otherwise = hasElse ? parseNodes(tokens, body.end + 1, defined) : undefined;
      const end = otherwise?.end ?? body.end;
      expectEnd(tokens, end, word);
      const pipeline = parsePipeline(rest);
      nodes.push({ kind: word, pipeline, body: body.nodes, otherwise: otherwise?.nodes ?? [] });
      at = end + 1;
    } else if (word === "define") {
      const body = parseNodes(tokens, at + 1, defined);
      expectEnd(tokens, body.end, word);
      defined[String(JSON.parse(rest))] = body.nodes;
      at = body.end + 1;
    } else {
      nodes.push({ kind: "action", pipeline: parsePipeline(token.content) });
      at++;
    }
  }
  return { nodes, end: at };
}

function expectEnd(tokens: readonly Token[], at: number, word: string): void {
  const content = tokens[at]?.content;
  if (content !== "end") throw new Error(`"${word}" ends with "${content ?? "nothing"}"`);
}

// --- pipelines ---

const WORD = /\s*("(?:[^"\\]|\\.)*"|[()|]|[^\s()|"]+)/y;
const FIELD = /^(\$?)(?:\.((?:[A-Za-z]\w*)(?:\.[A-Za-z]\w*)*)?)?$/;

export function parsePipeline(source: string): Pipeline {
  const words: string[] = [];
  const text = source.trim();
  WORD.lastIndex = 0;
  while (WORD.lastIndex < text.length) {
    const from = WORD.lastIndex;
    const word = WORD.exec(text)?.[1];
    if (word === undefined) throw new Error(`cannot be read: ${text.slice(from)}`);
    words.push(word);
  }
  const pipeline = parseCommands(words);
  if (words.length > 0) throw new Error(`a parenthesis too many: ${text}`);
  return pipeline;
}

/** Takes words until the end or a closing parenthesis, which stays. */
function parseCommands(words: string[]): Pipeline {
  const commands: Command[] = [];
  let operands: Operand[] = [];
  const finish = (): void => {
    const [first, ...others] = operands;
    if (first === undefined) throw new Error("an empty command");
    commands.push([first, ...others]);
    operands = [];
  };
  while (words.length > 0 && words[0] !== ")") {
    const word = words.shift() ?? "";
    if (word === "|") finish();
    else if (word === "(") {
      operands.push({ kind: "pipeline", pipeline: parseCommands(words) });
      if (words.shift() !== ")") throw new Error("a parenthesis is open");
    } else operands.push(parseWord(word));
  }
  finish();
  return commands;
}

function parseWord(word: string): Operand {
  if (word.startsWith('"')) return { kind: "literal", value: String(JSON.parse(word)) };
  if (/^-?\d+$/.test(word)) return { kind: "literal", value: Number(word) };
  const field = FIELD.exec(word);
  if (field !== null && (word.startsWith("$") || word.startsWith("."))) {
    const [, root = "", path] = field;
    return { kind: "field", fromRoot: root === "$", path: path?.split(".") ?? [] };
  }
  if (/^[a-z]\w*$/i.test(word)) return { kind: "function", name: word };
  throw new Error(`outside of the subset of templates: ${word}`);
}
