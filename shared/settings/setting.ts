/**
 * What the declaration of a setting consists of, and how its row is written. The settings themselves: settings.ts.
 */

/** The programs that read a setting. `command`: the commands of `ct-edge` that inspect a running edge. */
export type Role = "edge" | "balancer" | "worker" | "command";

/** Variables of other products that stand for a setting which is not set itself. */
export interface Aliases {
  readonly names: readonly string[];
  /** Undefined: none of them is set. */
  readonly read: (env: Readonly<Record<string, string | undefined>>) => string | undefined;
}

/** One variable that has the same meaning. */
export function alias(name: string): Aliases {
  return { names: [name], read: (env) => env[name] || undefined };
}

type Variable = `CT_${string}`;

interface Options {
  readonly aliases?: Aliases;
  /** Never shown in a log, a help text or an error. */
  readonly secret?: true;
  /** Passed by `ct-edge` to its processes in the environment: without a flag, and not shown to operators. */
  readonly internal?: true;
}

interface ItemOptions extends Options {
  readonly pattern?: RegExp;
  /** Completes "… is not allowed; use". */
  readonly allowed?: string;
}

interface TextOptions extends ItemOptions {
  /** What is wrong with a value that matches the pattern, without repeating any of it; undefined if it is valid. */
  readonly problemOf?: (value: string) => string | undefined;
}

interface Common extends Options {
  readonly env: Variable;
  /** For `--help` and the README: what it is and when to change it. */
  readonly why: string;
  readonly roles: readonly Role[];
}

export type Setting =
  | (Common & TextOptions & { readonly type: "text"; readonly default: string | undefined })
  | (Common & {
      readonly type: "number";
      readonly default: number | undefined;
      readonly min: number;
      readonly max: number;
    })
  | (Common & { readonly type: "flag"; readonly default: boolean })
  | (Common & {
      readonly type: "choice";
      readonly default: string;
      readonly choices: readonly string[];
    })
  /** Comma-separated. */
  | (Common & ItemOptions & { readonly type: "list"; readonly default: readonly string[] });

/** What a setting is when it was read; `undefined` only where it has no default. */
export type SettingValue<S extends Setting> = S extends { type: "number" }
  ? number | S["default"]
  : S extends { type: "text" }
    ? string | S["default"]
    : S["default"];

export const MAX_PORT = 65_535;

/** For `problemOf`: `parse` returns a text for what is wrong. */
export function problemIn(
  parse: (value: string) => unknown,
): (value: string) => string | undefined {
  return (value) => {
    const parsed = parse(value);
    return typeof parsed === "string" ? parsed : undefined;
  };
}

// --- a row is `READERS.number(variable, default, [min, max]).why(text)` ---

/** `ct-edge` reads what it passes on to the processes that it starts. */
export const BALANCER = rowsFor("edge", "balancer");
export const WORKER = rowsFor("edge", "worker");
export const ALL = rowsFor("edge", "balancer", "worker");
export const ALL_AND_COMMANDS = rowsFor("edge", "balancer", "worker", "command");
export const WORKER_AND_COMMANDS = rowsFor("edge", "worker", "command");
export const EDGE_ONLY = rowsFor("edge");
export const BALANCER_ONLY = rowsFor("balancer");
export const WORKER_ONLY = rowsFor("worker");
export const CHILDREN = rowsFor("balancer", "worker");

function rowsFor(...roles: readonly Role[]) {
  const row = <Rest extends object>(env: Variable, rest: Rest) => ({
    why: (why: string) => ({ env, roles, why, ...rest }),
  });
  return {
    text: <Default extends string | undefined = undefined>(
      env: Variable,
      options: TextOptions & { readonly default?: Default } = {},
    ) =>
      // Without a default `Default` is undefined.
      row(env, { ...options, type: "text" as const, default: options.default as Default }),
    number: <Default extends number | undefined>(
      env: Variable,
      standard: Default,
      [min, max]: readonly [number, number],
      options: Options = {},
    ) => row(env, { ...options, type: "number" as const, default: standard, min, max }),
    flag: (env: Variable, standard = false) =>
      row(env, { type: "flag" as const, default: standard }),
    choice: <const Choice extends string>(
      env: Variable,
      standard: NoInfer<Choice>,
      choices: readonly Choice[],
    ) => row(env, { type: "choice" as const, default: standard as Choice, choices }),
    list: (env: Variable, options: ItemOptions & { readonly default?: readonly string[] } = {}) =>
      row(env, { default: [] as readonly string[], ...options, type: "list" as const }),
  };
}
