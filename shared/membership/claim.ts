/**
 * Decides what a worker does with a client that connects for a session which the worker does not serve. Pure.
 *
 * Refusing a client costs it a step of its back-off (up to 5 s). So a client whose session is about to be taken over waits
 * here: its handshake is accepted, and its CONNECT is answered once the owner is known.
 */
import type { ResumeOutcome } from "../store/store.ts";

/** The result of probing the owner's port. `silent`: no response in time, as from a stopped or isolated process. */
export type ObservedOwner = "answers" | "refuses" | "silent";

/** `away`: the store is unavailable. */
type ClaimOutcome = ResumeOutcome["outcome"] | "away";

export type ClaimStep =
  /** This worker owns it. */
  | "serve"
  /** Another worker owns it and is alive: send the client there. */
  | "redirect"
  /** Resume again with the refused connection as evidence; if that fails, wait. */
  | "insist"
  /** Retry a little later, up to `PARK_MS`. */
  | "wait"
  /** Refuse permanently. */
  | "refuse";

/** How long a client waits for a take-over. Longer than any lease and recovery window. */
export const PARK_MS = 40_000;

/** `owner` matters only when the session is `elsewhere`. */
export function decideClaim(outcome: ClaimOutcome, owner: ObservedOwner): ClaimStep {
  switch (outcome) {
    case "owned":
      return "serve";
    case "closed":
    case "unknown":
      return "refuse";
    case "unsettled":
    case "away":
      return "wait";
    case "elsewhere":
      if (owner === "answers") return "redirect";
      return owner === "refuses" ? "insist" : "wait";
  }
}
