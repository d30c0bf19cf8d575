/** Evaluates parsed templates as Helm does. What differs in Go and is easily overlooked is refused, with the reason. */
import { createHash } from "node:crypto";
import { stringify } from "yaml";
import {
  type Command,
  type Operand,
  type Pipeline,
  parseTemplate,
  type TemplateNode,
} from "./parse.ts";

/** `undefined` is a key that a map does not have. */
export type Data = unknown;

export interface Templates {
  /** The output of one template for `root`, which has Values, Release and Chart. */
  readonly render: (name: string, root: Data) => string;
}

/** `fail` was called: Helm stops with this message. */
export class RenderFailure extends Error {}

export function loadTemplates(sources: Readonly<Record<string, string>>): Templates {
  const parsed = Object.entries(sources).map(([name, source]) => {
    try {
      return [name, parseTemplate(source)] as const;
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
    }
  });
  const named: Record<string, readonly TemplateNode[]> = Object.assign(
    {},
    ...parsed.map(([, { defined }]) => defined),
  );
  const byName = new Map(parsed.map(([name, { nodes }]) => [name, nodes]));
  return {
    render: (name, root) => {
      const nodes = byName.get(name);
      if (nodes === undefined) throw new Error(`there is no template ${name}`);
      return evaluateNodes(nodes, { root, dot: root, named });
    },
  };
}

interface Scope {
  readonly root: Data;
  readonly dot: Data;
  readonly named: Readonly<Record<string, readonly TemplateNode[]>>;
}

function evaluateNodes(nodes: readonly TemplateNode[], scope: Scope): string {
  return nodes.map((node) => evaluateNode(node, scope)).join("");
}

function evaluateNode(node: TemplateNode, scope: Scope): string {
  switch (node.kind) {
    case "text":
      return node.text;
    case "action":
      return print(evaluatePipeline(node.pipeline, scope));
    case "if": {
      const isChosen = isTrue(evaluatePipeline(node.pipeline, scope));
      return evaluateNodes(isChosen ? node.body : node.otherwise, scope);
    }
    case "with": {
      const dot = evaluatePipeline(node.pipeline, scope);
      if (!isTrue(dot)) return evaluateNodes(node.otherwise, scope);
      return evaluateNodes(node.body, { ...scope, dot });
    }
    case "range": {
      const list = evaluatePipeline(node.pipeline, scope);
      if (!Array.isArray(list)) throw new Error("range is for lists only");
      if (list.length === 0) return evaluateNodes(node.otherwise, scope);
      return list.map((dot) => evaluateNodes(node.body, { ...scope, dot })).join("");
    }
  }
}

/** Whole numbers of values are floats in Helm, which prints a million as 1e+06. */
function print(data: Data): string {
  if (typeof data === "string") return data;
  if (data instanceof Int) return String(data.value);
  throw new Error(`printed without quote, int or toJson: ${JSON.stringify(data)}`);
}

/** The result of `int`. */
class Int {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

function evaluatePipeline(pipeline: Pipeline, scope: Scope): Data {
  let result: Data;
  for (const [index, command] of pipeline.entries()) {
    result = evaluateCommand(command, scope, index === 0 ? [] : [result]);
  }
  return result;
}

function evaluateCommand([first, ...rest]: Command, scope: Scope, piped: readonly Data[]): Data {
  if (first.kind !== "function") {
    if (rest.length + piped.length > 0) throw new Error("only functions have arguments");
    return evaluateOperand(first, scope);
  }
  // Go evaluates only the arguments that decide.
  const args = [
    ...rest.map((operand) => () => evaluateOperand(operand, scope)),
    ...piped.map((data) => () => data),
  ];
  if (first.name === "and" || first.name === "or") return decide(first.name, args);
  const values = args.map((arg) => arg());
  if (first.name === "include") return include(values, scope);
  const apply = FUNCTIONS[first.name];
  if (apply === undefined) throw new Error(`outside of the subset of functions: ${first.name}`);
  return apply(...values);
}

function decide(name: "and" | "or", args: readonly (() => Data)[]): Data {
  let result: Data;
  for (const arg of args) {
    result = arg();
    if (isTrue(result) === (name === "or")) break;
  }
  return result;
}

function include([name, dot]: readonly Data[], scope: Scope): string {
  const nodes = scope.named[String(name)];
  if (nodes === undefined) throw new Error(`there is no named template ${String(name)}`);
  return evaluateNodes(nodes, { ...scope, root: dot, dot });
}

function evaluateOperand(operand: Operand, scope: Scope): Data {
  switch (operand.kind) {
    case "literal":
      return typeof operand.value === "number" ? new Int(operand.value) : operand.value;
    case "pipeline":
      return evaluatePipeline(operand.pipeline, scope);
    case "function":
      return evaluateCommand([operand], scope, []);
    case "field": {
      let at: Data = operand.fromRoot ? scope.root : scope.dot;
      for (const key of operand.path) {
        if (typeof at !== "object" || at === null) {
          throw new Error(`nil pointer: ${operand.path.join(".")} has no ${key}`);
        }
        at = (at as Record<string, Data>)[key];
      }
      return at;
    }
  }
}

// --- the functions that the chart uses, of Go, Sprig and Helm ---

const FUNCTIONS: Readonly<Record<string, (...args: readonly Data[]) => Data>> = {
  not: (data) => !isTrue(data),
  eq: (left, right) => compare(left, right),
  ne: (left, right) => !compare(left, right),
  lt: (left, right) => whole(left) < whole(right),
  int: (data) => new Int(whole(data)),
  add: (...args) => new Int(args.reduce<number>((sum, arg) => sum + whole(arg), 0)),
  mul: (...args) => new Int(args.reduce<number>((product, arg) => product * whole(arg), 1)),
  default: (initial, data) => (isTrue(data) ? data : initial),
  quote: (data) => JSON.stringify(print(data)),
  printf: (format, ...args) => {
    const rest = [...args];
    const text = String(format).replace(/%(.)/g, (_, verb: string) => {
      const arg = rest.shift();
      if (verb !== "s" || typeof arg !== "string") throw new Error(`printf %${verb} of no text`);
      return arg;
    });
    if (rest.length > 0) throw new Error("printf has too many arguments");
    return text;
  },
  get: (map, key) => (map as Record<string, Data> | undefined)?.[String(key)] ?? "",
  contains: (part, data) => print(data).includes(print(part)),
  toJson: (data) => toJson(data),
  sha256sum: (data) => createHash("sha256").update(String(data)).digest("hex"),
  toYaml: (data) =>
    stringify(data, { lineWidth: 0, indentSeq: false, compat: "yaml-1.1" }).trimEnd(),
  nindent: (width, data) => {
    const indent = " ".repeat(whole(width));
    return `\n${print(data)
      .split("\n")
      .map((line) => (line === "" ? line : indent + line))
      .join("\n")}`;
  },
  fail: (message) => {
    throw new RenderFailure(String(message));
  },
};

function isTrue(data: Data): boolean {
  if (data === undefined || data === null) return false;
  if (data instanceof Int) return data.value !== 0;
  if (typeof data !== "object") return Boolean(data);
  return Object.keys(data).length > 0;
}

/** Go refuses to compare different types. */
function compare(left: Data, right: Data): boolean {
  if (left instanceof Int && right instanceof Int) return left.value === right.value;
  if (typeof left !== typeof right || typeof left === "object") {
    throw new Error(`incompatible types: ${toJson(left)} and ${toJson(right)}`);
  }
  return left === right;
}

function whole(data: Data): number {
  if (data instanceof Int) return data.value;
  const number = Number(data ?? 0);
  return Number.isFinite(number) ? Math.trunc(number) : 0;
}

/** As Go: keys in order. */
function toJson(data: Data): string {
  return JSON.stringify(data instanceof Int ? data.value : (data ?? null), (_, inner: Data) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
