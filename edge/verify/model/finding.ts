/** What `ct-edge verify` says about one promise. */
import type { CheckId } from "./checks.ts";

/** `unknown`: it could not be seen, and is never counted as healthy. */
export type FindingState = "held" | "broken" | "unknown";

export interface Verdict {
  readonly state: FindingState;
  /** What was seen. May contain text of whatever responded, so it is escaped where it is printed. */
  readonly cause: string;
  /** What to do; empty for a promise that is held. */
  readonly cure: string;
  /** Of a promise that is held, what an operator should know nevertheless. */
  readonly warning?: string;
}

export type Verdicts = Readonly<Partial<Record<CheckId, Verdict>>>;

export interface Finding extends Verdict {
  readonly id: CheckId;
}

export function held(cause: string, warning?: string): Verdict {
  return { state: "held", cause, cure: "", ...(warning !== undefined && { warning }) };
}

export function broken(cause: string, cure: string): Verdict {
  return { state: "broken", cause, cure };
}

export function unknown(cause: string, cure: string): Verdict {
  return { state: "unknown", cause, cure };
}

export function forAll(ids: readonly CheckId[], verdict: Verdict): Verdicts {
  return Object.fromEntries(ids.map((id) => [id, verdict]));
}

/** A duration, as findings word it. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
