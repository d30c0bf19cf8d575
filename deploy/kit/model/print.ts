/**
 * Prints a tree as YAML. A tree with parts becomes a template of Helm: the parts go through the YAML printer as markers, and
 * the lines of the markers are replaced afterwards, because a template is not YAML.
 */
import { Document, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml";
import { printExpression } from "./expression.ts";
import { asFields, asItems, Fields, type Form, type Node, Part, type ScalarType } from "./node.ts";

const WIDTH = 110;
const SCALAR_MARKER = /__PART_(\d+)__/g;
/** A part between the fields of a map, or between the items of a list. */
const LINE_MARKER = /^( *)(?:- __PART_(\d+)__|__PART_(\d+)__: null)$/;
/** A list item must begin with a field of its own: `- ` cannot stand in a line of the template alone. */
const MISPLACED_MARKER = /^ *- __PART_\d+__: null$/m;

/** Ends with a newline. */
export function printYaml(node: Node): string {
  const markers: Marker[] = [];
  // Kubernetes and Helm read YAML 1.1, where `on` and `no` are booleans.
  const document = new Document(toYamlNode(node, markers), { compat: "yaml-1.1" });
  const printed = document.toString({ lineWidth: 0, indentSeq: true });
  if (MISPLACED_MARKER.test(printed)) throw new Error(`an item begins with a part:\n${printed}`);
  return printed
    .split("\n")
    .map((line) => replaceMarkers(line, markers))
    .join("\n");
}

type Marker = Exclude<Form, { is: "in-chart" }> | { readonly is: "end" };

// --- into YAML, with markers ---

function toYamlNode(node: Node, markers: Marker[]): YAMLMap | YAMLSeq | Scalar {
  if (Array.isArray(node)) {
    const list = new YAMLSeq();
    list.items.push(...node.flatMap((item: Node) => toItems(item, markers)));
    return list;
  }
  if (node instanceof Part) {
    if (node.form.is === "in-chart")
      throw new Error("only fields and items can be in the chart only");
    return new Scalar(mark(node.form, markers));
  }
  if (typeof node === "object" && node !== null) {
    const map = new YAMLMap();
    map.items.push(...toPairs(node as Fields | { readonly [key: string]: Node }, markers));
    return map;
  }
  return new Scalar(node);
}

function toItems(item: Node, markers: Marker[]): unknown[] {
  if (!(item instanceof Part)) return [toYamlNode(item, markers)];
  const { form } = item;
  if (form.is !== "when" && form.is !== "each" && form.is !== "in-chart") {
    return [new Scalar(mark(form, markers))];
  }
  const inner = (): unknown[] => asItems(form.node).flatMap((one) => toItems(one, markers));
  if (form.is === "in-chart") return inner();
  const begin = new Scalar(mark(form, markers));
  return [begin, ...inner(), new Scalar(mark({ is: "end" }, markers))];
}

function toPairs(node: Fields | { readonly [key: string]: Node }, markers: Marker[]): Pair[] {
  if (!(node instanceof Fields)) {
    return Object.entries(node).map(([key, inner]) => new Pair(key, toYamlNode(inner, markers)));
  }
  return node.parts.flatMap((part) => {
    if (!(part instanceof Part)) return toPairs(part, markers);
    const { form } = part;
    if (form.is === "in-chart") return toPairs(asFields(form.node), markers);
    const begin = new Pair(mark(form, markers), new Scalar(null));
    if (form.is !== "when") return [begin];
    const inner = toPairs(asFields(form.node), markers);
    return [begin, ...inner, new Pair(mark({ is: "end" }, markers), new Scalar(null))];
  });
}

function mark(form: Marker, markers: Marker[]): string {
  return `__PART_${markers.push(form) - 1}__`;
}

// --- and the markers into lines of a template ---

function replaceMarkers(line: string, markers: readonly Marker[]): string {
  const [, indent = "", item, field] = LINE_MARKER.exec(line) ?? [];
  const marker = markers[Number(item ?? field ?? Number.NaN)];
  if (marker !== undefined && marker.is !== "scalar") return blockLines(marker, indent).join("\n");
  return line.replace(SCALAR_MARKER, (_, index: string) => {
    const form = markers[Number(index)];
    if (form?.is !== "scalar") throw new Error(`a misplaced part: ${line}`);
    return `{{ ${PRINTED[form.type](printExpression(form.expression))} }}`;
  });
}

/** `int`, because Helm reads whole numbers as floats and prints a million as 1e+06. */
const PRINTED: Readonly<Record<ScalarType, (expression: string) => string>> = {
  text: (expression) => `${expression} | quote`,
  count: (expression) => `${expression} | int`,
  plain: (expression) => `${expression} | toJson`,
};

function blockLines(marker: Exclude<Marker, { is: "scalar" }>, indent: string): string[] {
  const depth = indent.length;
  switch (marker.is) {
    case "end":
      return [`${indent}{{- end }}`];
    case "when":
      return [`${indent}{{- if ${printExpression(marker.condition)} }}`];
    case "each":
      return [`${indent}{{- range $.Values.${marker.path} }}`];
    case "given":
      return [
        `${indent}{{- with $.Values.${marker.path} }}`,
        `${indent}${marker.key}:`,
        `${indent}  {{- toYaml . | nindent ${depth + 2} }}`,
        `${indent}{{- end }}`,
      ];
    case "spread":
      return [
        `${indent}{{- with $.Values.${marker.path} }}`,
        `${indent}{{- toYaml . | nindent ${depth} }}`,
        `${indent}{{- end }}`,
      ];
    case "note":
      return wrap(marker.text, WIDTH - depth).map((part) => `${indent}# ${part}`);
  }
}

/** Lines of at most `width` characters; longer words have a line of their own. */
export function wrap(content: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of content.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(word);
  }
  return lines;
}
