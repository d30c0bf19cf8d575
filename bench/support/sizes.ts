/**
 * How large a run of a benchmark is. Each has two forms: the long one, `npm run bench -- NAME`, and the short one, which
 * `npm run bench` runs with all others within ten minutes. An environment variable overrides both.
 */

export type Form = "long" | "short";

/** run.ts sets the variable. */
export const FORM: Form = process.env["BENCH_FORM"] === "short" ? "short" : "long";

/** A number, such as rounds, seconds or sessions. */
export function size(variable: string, forms: Readonly<Record<Form, number>>): number {
  const text = process.env[variable];
  if (text === undefined) return forms[FORM];
  const value = Number(text);
  if (text === "" || !(value >= 0)) throw new Error(`${variable}=${text} is not a number`);
  return value;
}

/**
 * Which of the named parts of a benchmark run. The long form has all, the short one those in `short` (default: all), and the
 * variable those whose names contain one of its words, which are separated by `|`.
 */
export function selector(
  variable: string,
  { short }: { readonly short?: readonly string[] } = {},
): (name: string) => boolean {
  const words = process.env[variable]?.toLowerCase().split("|");
  if (words !== undefined) return (name) => words.some((word) => name.toLowerCase().includes(word));
  return (name) => FORM === "long" || short === undefined || short.includes(name);
}

/** Whether variables select parts: their results would replace those of all. */
export function isPart(...variables: readonly string[]): boolean {
  return variables.some((variable) => process.env[variable] !== undefined);
}
