/** What `ct-edge verify` says about one promise. */
import type { CheckId } from "./checks.ts";

/** `unknown`: it could not be seen, and is never counted as healthy. */
export type FindingState = "held" | "broken" | "unknown";

export interface Finding {
  readonly id: CheckId;
  readonly state: FindingState;
  /** What was seen. May contain text of whatever responded, so it is escaped where it is printed. */
  readonly cause: string;
  /** What to do; empty for a promise that is held. */
  readonly cure: string;
  /** Of a promise that is held, what an operator should know nevertheless. */
  readonly warning?: string;
}

export function held(id: CheckId, cause: string, warning?: string): Finding {
  return { id, state: "held", cause, cure: "", ...(warning !== undefined && { warning }) };
}

export function broken(id: CheckId, cause: string, cure: string): Finding {
  return { id, state: "broken", cause, cure };
}

export function unknown(id: CheckId, cause: string, cure: string): Finding {
  return { id, state: "unknown", cause, cure };
}

/** A duration, as findings word it. */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
