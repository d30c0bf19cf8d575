/**
 * Why the browser does not keep what the page gives it. Problems are reported here and never thrown into the code that types
 * or draws.
 */
import { computed, signal } from "@preact/signals";

export type StorageProblem =
  /** Nothing can be kept: a private window, or storage is switched off. Ends with the page. */
  | "denied"
  /** The disk or the browser's quota is full. Ends when space is there again. */
  | "full"
  /** Another tab has a newer version of this page: reloading this one helps. */
  | "outdated"
  /** Some other failure; ends with the next success. */
  | "failed";

export type ProblemReport = ReturnType<typeof createProblemReport>;

/** An `initial` problem stays: the database is in memory then. */
export function createProblemReport(initial: StorageProblem | undefined) {
  const problem = signal(initial);

  function set(value: StorageProblem | undefined): void {
    if (initial === undefined) problem.value = value;
  }

  return {
    problem,
    /** Whether reloading the page may lose something. */
    isForgetful: computed(() => problem.value !== undefined),
    /** Undefined after a failure, which is reported. */
    async read<T>(operation: Promise<T>): Promise<T | undefined> {
      try {
        return await operation;
      } catch (error) {
        set(problemOf(error));
        return undefined;
      }
    },
    /** False after a failure, which is reported; a success ends an earlier problem. */
    async write(operation: Promise<void>): Promise<boolean> {
      try {
        await operation;
        set(undefined);
        return true;
      } catch (error) {
        set(problemOf(error));
        return false;
      }
    },
  };
}

export function problemOf(error: unknown): StorageProblem {
  const name = error instanceof Error ? error.name : "";
  if (name === "QuotaExceededError") return "full";
  if (name === "VersionError") return "outdated";
  return "failed";
}
