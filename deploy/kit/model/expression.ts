/**
 * Expressions over the chart's values. Each can be evaluated here, and printed as an expression of Helm's templates: so the
 * same source gives fixed objects (kustomize) and templates.
 */
import { createHash } from "node:crypto";

export type Value =
  | string
  | number
  | boolean
  | null
  | readonly Value[]
  | { readonly [key: string]: Value };

export type Expression =
  | { readonly kind: "value"; readonly path: string }
  | { readonly kind: "item" }
  | { readonly kind: "builtin"; readonly path: Builtin }
  | { readonly kind: "literal"; readonly value: string | number }
  | { readonly kind: "call"; readonly name: FunctionName; readonly args: readonly Expression[] }
  | { readonly kind: "named"; readonly name: string; readonly expression: Expression }
  | { readonly kind: "fixed"; readonly inBase: string; readonly inChart: Expression };

export type Builtin =
  | "Release.Name"
  | "Release.Namespace"
  | "Release.Service"
  | "Chart.Name"
  | "Chart.Version"
  | "Chart.AppVersion";

/** What an expression is evaluated for. Names are fixed in the base, and depend on the release in the chart. */
export interface Context {
  readonly target: "base" | "chart";
  readonly values: Value;
  readonly builtins: Readonly<Record<Builtin, string>>;
  /** Of the list that is being repeated. */
  readonly item?: Value;
}

// --- builders ---

/** A value of the chart; its parents always exist. */
export function value(path: string): Expression {
  return { kind: "value", path };
}

export function builtin(path: Builtin): Expression {
  return { kind: "builtin", path };
}

export function literal(content: string | number): Expression {
  return { kind: "literal", value: content };
}

export function call(name: FunctionName, ...args: readonly Expression[]): Expression {
  return { kind: "call", name, args };
}

/** The item of the list that is being repeated. */
export const ITEM: Expression = { kind: "item" };

export function not(expression: Expression): Expression {
  return call("not", expression);
}

export function equals(path: string, content: string): Expression {
  return call("eq", value(path), literal(content));
}

/** Not set: 0 and false are set, which `not` would not see. */
export function isNull(path: string): Expression {
  return call("eq", call("toJson", value(path)), literal("null"));
}

// --- evaluation, with the semantics of Go's templates and of the functions that Helm adds ---

const FUNCTIONS = {
  and: (...args) => firstOrLast(args, (arg) => !isTrue(arg)),
  or: (...args) => firstOrLast(args, isTrue),
  not: (arg) => !isTrue(arg),
  eq: (left, right) => left === right,
  ne: (left, right) => left !== right,
  lt: (left, right) => Number(left) < Number(right),
  int: (arg) => Math.trunc(Number(arg ?? 0)) || 0,
  add: (...args) => args.reduce<number>((sum, arg) => sum + Number(arg), 0),
  mul: (...args) => args.reduce<number>((product, arg) => product * Number(arg), 1),
  default: (initial, arg) => (isTrue(arg) ? (arg ?? null) : (initial ?? null)),
  get: (map, key) => (isRecord(map ?? null) ? ((map as Values)[asText(key)] ?? "") : ""),
  contains: (part, whole) => asText(whole).includes(asText(part)),
  toJson: (arg) => JSON.stringify(inOrder(arg ?? null)),
  sha256sum: (arg) => createHash("sha256").update(asText(arg)).digest("hex"),
  printf: (format, ...args) => {
    const rest = [...args];
    return asText(format).replace(/%s/g, () => asText(rest.shift()));
  },
} satisfies Record<string, (...args: (Value | undefined)[]) => Value>;

function firstOrLast(
  args: readonly (Value | undefined)[],
  isFound: (arg: Value | undefined) => boolean,
): Value {
  const index = args.findIndex(isFound);
  return args.at(index) ?? null;
}

/** As Go writes JSON: the keys of maps in order. */
function inOrder(content: Value): Value {
  if (Array.isArray(content)) return content.map(inOrder);
  if (!isRecord(content)) return content;
  const entries = Object.entries(content).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, inOrder(inner)]));
}

export type FunctionName = keyof typeof FUNCTIONS;

export function evaluate(expression: Expression, context: Context): Value {
  switch (expression.kind) {
    case "value":
      return lookup(context.values, expression.path);
    case "item":
      return context.item ?? null;
    case "builtin":
      return context.builtins[expression.path];
    case "literal":
      return expression.value;
    case "named":
      return evaluate(expression.expression, context);
    case "fixed":
      if (context.target === "base") return expression.inBase;
      return evaluate(expression.inChart, context);
    case "call": {
      const apply: (...args: (Value | undefined)[]) => Value = FUNCTIONS[expression.name];
      return apply(...expression.args.map((arg) => evaluate(arg, context)));
    }
  }
}

/** A text as it is, anything else as JSON. */
export function asText(content: Value | undefined): string {
  return typeof content === "string" ? content : JSON.stringify(content ?? null);
}

/** What `if` and `with` of a template mean by true: not null, false, 0, or empty. */
export function isTrue(content: Value | undefined): boolean {
  if (content === undefined || content === null) return false;
  if (typeof content !== "object") return Boolean(content);
  return Object.keys(content).length > 0;
}

function lookup(values: Value, path: string): Value {
  let at: Value = values;
  for (const key of path.split(".")) {
    const next: Value | undefined = isRecord(at) ? at[key] : undefined;
    if (next === undefined) throw new Error(`the chart has no value ${path}`);
    at = next;
  }
  return at;
}

interface Values {
  readonly [key: string]: Value;
}

function isRecord(content: Value): content is Values {
  return typeof content === "object" && content !== null && !Array.isArray(content);
}

// --- printing ---

/** As Helm's templates have it, without braces. `$` is the root everywhere, also inside of `range` and `with`. */
export function printExpression(expression: Expression): string {
  switch (expression.kind) {
    case "value":
      return `$.Values.${expression.path}`;
    case "item":
      return ".";
    case "builtin":
      return `$.${expression.path}`;
    case "literal":
      return JSON.stringify(expression.value);
    case "named":
      return `include "${expression.name}" $`;
    case "fixed":
      return printExpression(expression.inChart);
    case "call":
      return [expression.name, ...expression.args.map(printArgument)].join(" ");
  }
}

function printArgument(expression: Expression): string {
  const text = printExpression(expression);
  return text.includes(" ") && !text.startsWith('"') ? `(${text})` : text;
}
