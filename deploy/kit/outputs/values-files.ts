/** values.yaml, its schema, and the table of the documentation, from the definitions of the values. */
import { stringify } from "yaml";
import type { Value } from "../model/expression.ts";
import { type Fields, fields, type Node, note } from "../model/node.ts";
import { printYaml } from "../model/print.ts";
import type { ValueDefinition } from "../values/definition.ts";
import { nest, VALUES } from "../values/values.ts";

/** Each value with its explanation above it. */
export function valuesFile(): string {
  return printYaml(toNode(nest(VALUES.map((definition) => [definition.path, definition]))));
}

interface Tree {
  readonly [key: string]: ValueDefinition | Tree;
}

function isDefinition(tree: ValueDefinition | Tree): tree is ValueDefinition {
  return typeof tree["path"] === "string" && "initial" in tree;
}

function toNode(tree: Tree): Fields {
  return fields(
    ...Object.entries(tree).flatMap(([key, inner]) =>
      isDefinition(inner)
        ? [note(inner.why), { [key]: inner.initial as Node }]
        : [{ [key]: toNode(inner) }],
    ),
  );
}

/** Helm checks values against it: misspelled names and wrong types are refused. */
export function valuesSchema(): string {
  const tree = nest(VALUES.map((definition) => [definition.path, definition]));
  const root = {
    $schema: "http://json-schema.org/draft-07/schema#",
    ...toSchema(tree, { global: { type: "object" } }),
  };
  return `${JSON.stringify(root, null, 2)}\n`;
}

function toSchema(
  tree: Tree,
  more: { readonly [key: string]: Value } = {},
): { readonly [key: string]: Value } {
  const entries = Object.entries(tree).map(([key, inner]) => [
    key,
    isDefinition(inner) ? { description: inner.why, ...(inner.type as object) } : toSchema(inner),
  ]);
  const properties = { ...(Object.fromEntries(entries) as object), ...more };
  return { type: "object", additionalProperties: false, properties };
}

export function valuesTable(): string {
  const rows = VALUES.map(({ path, initial, why }) => {
    const shown = stringify(initial, { collectionStyle: "flow", lineWidth: 0 }).trim();
    return `| \`${path}\` | \`${shown}\` | ${why} |`;
  });
  return ["| value | default | meaning |", "| --- | --- | --- |", ...rows].join("\n");
}
