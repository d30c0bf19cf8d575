/**
 * What the declaration of a setting consists of. The settings themselves: settings.ts.
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

interface Common {
  readonly env: `CT_${string}`;
  readonly aliases?: Aliases;
  /** For `--help` and the README: what it is and when to change it. */
  readonly why: string;
  readonly roles: readonly Role[];
  /** Never shown in a log, a help text or an error. */
  readonly secret?: true;
  /** Passed by `ct-edge` to its processes in the environment: without a flag, and not shown to operators. */
  readonly internal?: true;
}

export type Setting = Common &
  (
    | {
        readonly type: "text";
        readonly default: string | undefined;
        readonly pattern?: RegExp;
        /** Completes "… is not allowed; use". */
        readonly allowed?: string;
        /** What is wrong with a value that matches the pattern, without repeating any of it; undefined if it is valid. */
        readonly problemOf?: (value: string) => string | undefined;
      }
    | {
        readonly type: "number";
        readonly default: number | undefined;
        readonly min: number;
        readonly max: number;
        readonly unit?: "ms" | "bytes";
      }
    | { readonly type: "flag"; readonly default: boolean }
    | { readonly type: "choice"; readonly default: string; readonly choices: readonly string[] }
    /** Comma-separated. */
    | {
        readonly type: "list";
        readonly default: readonly string[];
        readonly pattern?: RegExp;
        readonly allowed?: string;
      }
  );

export const ALL_PROCESSES: readonly Role[] = ["edge", "balancer", "worker"];
export const MAX_PORT = 65_535;
