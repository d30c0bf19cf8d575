/**
 * The tree of one Kubernetes object: plain values, and parts that depend on the chart's values. `resolve` gives the object for
 * certain values; the printer makes a template of the same tree.
 */
import {
  asText,
  type Context,
  type Expression,
  evaluate,
  isTrue,
  type Value,
  value,
} from "./expression.ts";

export type Node =
  | string
  | number
  | boolean
  | null
  | Part
  | Fields
  | readonly Node[]
  | { readonly [key: string]: Node };

/** Something in a map or a list that is not written as it is. */
export class Part {
  readonly form: Form;

  constructor(form: Form) {
    this.form = form;
  }
}

export type Form =
  /** A value. The type says how a template must print it. */
  | { readonly is: "scalar"; readonly type: ScalarType; readonly expression: Expression }
  /** Fields of a map, or items of a list, on a condition. */
  | { readonly is: "when"; readonly condition: Expression; readonly node: Node }
  /** Fields or items that only the chart has. */
  | { readonly is: "in-chart"; readonly node: Node }
  /** A field with a map or a list of the chart's values; left out when that is empty. */
  | { readonly is: "given"; readonly key: string; readonly path: string }
  /** The fields or items of a map or list of the chart's values. */
  | { readonly is: "spread"; readonly path: string }
  /** An item for each item of a list of the chart's values. */
  | { readonly is: "each"; readonly path: string; readonly node: Node }
  | { readonly is: "note"; readonly text: string };

/** `plain` is a number, or a text where Kubernetes accepts both. */
export type ScalarType = "text" | "count" | "plain";

/** A map whose fields are in order, and may be parts. */
export class Fields {
  readonly parts: readonly (Part | { readonly [key: string]: Node })[];

  constructor(parts: readonly (Part | { readonly [key: string]: Node })[]) {
    this.parts = parts;
  }
}

// --- builders ---

export function fields(...parts: readonly (Part | { readonly [key: string]: Node })[]): Fields {
  return new Fields(parts);
}

export function text(expression: Expression): Part {
  return new Part({ is: "scalar", type: "text", expression });
}

export function count(expression: Expression): Part {
  return new Part({ is: "scalar", type: "count", expression });
}

export function plain(expression: Expression): Part {
  return new Part({ is: "scalar", type: "plain", expression });
}

export function inChart(node: Node): Part {
  return new Part({ is: "in-chart", node });
}

export function when(condition: Expression, node: Node): Part {
  return new Part({ is: "when", condition, node });
}

export function given(key: string, path: string): Part {
  return new Part({ is: "given", key, path });
}

export function spread(path: string): Part {
  return new Part({ is: "spread", path });
}

export function each(path: string, node: Node): Part {
  return new Part({ is: "each", path, node });
}

/** A comment above what follows. */
export function note(content: string): Part {
  return new Part({ is: "note", text: content });
}

// --- resolving ---

/** The same tree for certain values: of the parts only notes remain. */
export function resolve(node: Node, context: Context): Node {
  if (Array.isArray(node)) return resolveItems(node, context);
  if (node instanceof Fields) return new Fields(resolveFields(node, context));
  if (node instanceof Part) return resolveScalar(node.form, context);
  if (typeof node === "object" && node !== null) {
    return Object.fromEntries(Object.entries(node).map(([k, n]) => [k, resolve(n, context)]));
  }
  return node;
}

function resolveScalar(form: Form, context: Context): Node {
  if (form.is !== "scalar") throw new Error(`"${form.is}" is neither a field nor an item`);
  const content = evaluate(form.expression, context);
  return form.type === "text" ? asText(content) : (content as Node);
}

function resolveItems(items: readonly Node[], context: Context): readonly Node[] {
  return items.flatMap((item) => resolveItem(item, context));
}

function resolveItem(item: Node, context: Context): readonly Node[] {
  if (!(item instanceof Part)) return [resolve(item, context)];
  const { form } = item;
  switch (form.is) {
    case "when":
      return isTrue(evaluate(form.condition, context))
        ? resolveItems(asItems(form.node), context)
        : [];
    case "in-chart":
      return context.target === "base" ? [] : resolveItems(asItems(form.node), context);
    case "each": {
      const list = evaluate(value(form.path), context);
      if (!Array.isArray(list)) throw new Error(`${form.path} is not a list`);
      return list.map((one: Value) => resolve(form.node, { ...context, item: one }));
    }
    case "spread":
      return evaluate(value(form.path), context) as readonly Value[];
    case "note":
      return [item];
    case "scalar":
      return [resolveScalar(form, context)];
    case "given":
      throw new Error(`"${form.key}" is a field, and not an item`);
  }
}

/** One item, or several of them. */
export function asItems(node: Node): readonly Node[] {
  return Array.isArray(node) ? node : [node];
}

type FieldPart = Part | { readonly [key: string]: Node };

function resolveFields(map: Fields, context: Context): FieldPart[] {
  return map.parts.flatMap((part) => resolveField(part, context));
}

function resolveField(part: FieldPart, context: Context): FieldPart[] {
  if (!(part instanceof Part)) return [resolve(part, context) as { [key: string]: Node }];
  const { form } = part;
  switch (form.is) {
    case "when":
      return isTrue(evaluate(form.condition, context))
        ? resolveFields(asFields(form.node), context)
        : [];
    case "in-chart":
      return context.target === "base" ? [] : resolveFields(asFields(form.node), context);
    case "given": {
      const content = evaluate(value(form.path), context);
      return isTrue(content) ? [{ [form.key]: content }] : [];
    }
    case "spread":
      return [evaluate(value(form.path), context) as { [key: string]: Value }];
    case "note":
      return [part];
    case "scalar":
    case "each":
      throw new Error(`"${form.is}" is not a field`);
  }
}

export function asFields(node: Node): Fields {
  return node instanceof Fields ? node : new Fields([asMap(node)]);
}

function asMap(node: Node): { readonly [key: string]: Node } {
  const isMap = typeof node === "object" && node !== null && !Array.isArray(node);
  if (!isMap || node instanceof Part || node instanceof Fields) throw new Error("not a plain map");
  return node as { readonly [key: string]: Node };
}

/** The plain object of a resolved tree, without its notes. */
export function toPlain(node: Node): Value {
  if (Array.isArray(node)) return node.filter((item) => !(item instanceof Part)).map(toPlain);
  if (node instanceof Part) throw new Error(`"${node.form.is}" is not resolved`);
  if (node instanceof Fields) {
    const maps = node.parts.filter((part) => !(part instanceof Part));
    return Object.assign({}, ...maps.map(toPlain)) as Value;
  }
  if (typeof node === "object" && node !== null) {
    return Object.fromEntries(Object.entries(node).map(([key, inner]) => [key, toPlain(inner)]));
  }
  return node as Value;
}
