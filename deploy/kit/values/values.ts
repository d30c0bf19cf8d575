/** All values of the chart, and their defaults as one object. */
import type { Value } from "../model/expression.ts";
import type { ValueDefinition } from "./definition.ts";
import { GENERAL_VALUES } from "./general.ts";
import { PROGRAM_VALUES } from "./program.ts";
import { SURROUNDINGS_VALUES } from "./surroundings.ts";

export const VALUES: readonly ValueDefinition[] = [
  ...GENERAL_VALUES,
  ...PROGRAM_VALUES,
  ...SURROUNDINGS_VALUES,
];

export interface Values {
  readonly [key: string]: Value;
}

/** The defaults, with these values in place of some; `chosen` has paths with dots. */
export function valuesWith(chosen: Readonly<Record<string, Value>> = {}): Values {
  const known = new Set(VALUES.map(({ path }) => path));
  const unknown = Object.keys(chosen).filter((path) => !known.has(path));
  if (unknown.length > 0) throw new Error(`the chart has no value ${unknown.join(", ")}`);
  return nest(VALUES.map(({ path, initial }) => [path, merge(initial, chosen[path] ?? initial)]));
}

/** As Helm: the keys of maps are merged, everything else is replaced. */
function merge(initial: Value, chosen: Value): Value {
  if (!isMap(initial) || !isMap(chosen)) return chosen;
  const merged = Object.entries(chosen).map(([key, inner]) => [
    key,
    merge(initial[key] ?? inner, inner),
  ]);
  return { ...initial, ...(Object.fromEntries(merged) as Values) };
}

function isMap(content: Value): content is Values {
  return typeof content === "object" && content !== null && !Array.isArray(content);
}

/** `a.b` becomes `b` in a map `a`, in the order of the first use. */
export function nest<T>(entries: readonly (readonly [path: string, content: T])[]): {
  [key: string]: T;
} {
  const root: Record<string, unknown> = {};
  for (const [path, content] of entries) {
    const keys = path.split(".");
    const last = keys.pop() ?? path;
    let at = root;
    for (const key of keys) {
      at[key] ??= {};
      at = at[key] as Record<string, unknown>;
    }
    at[last] = content;
  }
  return root as { [key: string]: T };
}
