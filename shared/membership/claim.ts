/**
 * What a worker does with somebody who comes for a session that it does not serve. Pure.
 *
 * To send a client away costs it a step of its back-off (up to 5 s), so one whose session is about to be taken over waits
 * here: its handshake is accepted, and its CONNECT is answered when it is clear who has the session.
 */
import type { ResumeOutcome } from "../store/store.ts";

/** What came of asking the owner's own port. `silent`: no answer in time, as from a stopped or cut-off process. */
export type ObservedOwner = "answers" | "refuses" | "silent";

/** `away`: the store did not answer. */
export type ClaimOutcome = ResumeOutcome["outcome"] | "away";

export type ClaimStep =
  /** This worker has it. */
  | "serve"
  /** Another one has it and lives: the client is sent there. */
  | "redirect"
  /** Ask the store again, with the owner's refusal as evidence; when that does not help, wait. */
  | "insist"
  /** Ask again a little later, up to `PARK_MS`. */
  | "wait"
  /** For good. */
  | "refuse";

/** Somebody who comes waits so long for a take-over to be decided. Longer than any lease and recovery window. */
export const PARK_MS = 40_000;

/** `owner` is only looked at when the session is `elsewhere`. */
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
