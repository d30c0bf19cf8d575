/** A value of the chart, as it is defined once: for values.yaml, its schema, the documentation, and the objects. */
import type { Value } from "../model/expression.ts";

export interface ValueDefinition {
  /** With dots: `worker.replicas`. */
  readonly path: string;
  readonly initial: Value;
  readonly type: ValueType;
  /** For operators: one or a few sentences. */
  readonly why: string;
}

/** JSON Schema of what the value may be. */
export type ValueType = { readonly [keyword: string]: Value };

export const TEXT = { type: "string" } satisfies ValueType;
export const FLAG = { type: "boolean" } satisfies ValueType;
export const TEXTS = { type: "array", items: TEXT } satisfies ValueType;
/** Labels, annotations, settings: no numbers, because Helm would print large ones as 1e+06. */
export const TEXT_MAP = { type: "object", additionalProperties: TEXT } satisfies ValueType;
/** Passed on to Kubernetes, which checks it. */
export const OBJECT = { type: "object" } satisfies ValueType;
export const OBJECTS = { type: "array", items: OBJECT } satisfies ValueType;
export const COUNT_OR_PERCENT = { type: ["integer", "string", "null"] } satisfies ValueType;

export function count(minimum: number): ValueType {
  return { type: "integer", minimum };
}

export function oneOf(...names: readonly string[]): ValueType {
  return { type: "string", enum: names };
}

export function define(
  path: string,
  type: ValueType,
  initial: Value,
  why: string,
): ValueDefinition {
  return { path, type, initial, why };
}
