/** What a balancer and its thread that talks to the certificate authority send each other. Plain data. */
import type { Account, ChallengeType, FailureKind, OpenOrder } from "./record.ts";
import type { Wanted } from "./schedule.ts";

export type CaJob = OrderJob | InspectJob;

/** Obtains a certificate. */
export interface OrderJob {
  readonly kind: "order";
  readonly wanted: Wanted;
  /** Undefined: one is created. */
  readonly account: Pick<Account, "url" | "key" | "email"> | undefined;
  /** To go on with; undefined: a new one. */
  readonly open: Pick<OpenOrder, "url" | "key"> | undefined;
  /** Which kind of challenge is tried first. */
  readonly challenge: ChallengeType;
  /** PEM of the certificate that is replaced, for the authority's limits (RFC 9773 §5). */
  readonly replaces: string | undefined;
}

/** Asks about a certificate. */
export interface InspectJob {
  readonly kind: "inspect";
  readonly wanted: Wanted;
  /** PEM, with the chain. */
  readonly cert: string;
}

/** What the thread has done, and waits until it is in the store. */
export type CaStep =
  | { readonly step: "account"; readonly url: string; readonly key: string }
  | { readonly step: "order"; readonly url: string; readonly key: string }
  | { readonly step: "challenges"; readonly challenges: readonly PreparedChallenge[] };

/** The response to a challenge. */
export type PreparedChallenge =
  | { readonly type: "http-01"; readonly token: string; readonly response: string }
  | {
      readonly type: "tls-alpn-01";
      readonly domain: string;
      /** PEM. */
      readonly cert: string;
      /** PEM. */
      readonly key: string;
    };

export type CaResult = OrderResult | InspectResult | CaFailure;

export interface OrderResult {
  readonly outcome: "issued";
  readonly cert: string;
  readonly key: string;
  readonly challenge: ChallengeType;
}

export interface InspectResult {
  readonly outcome: "inspected";
  /** When the authority wants it to be renewed, as wall time in ms. */
  readonly window: { readonly startMs: number; readonly endMs: number } | undefined;
  readonly retryAfterMs: number | undefined;
  /** False too where the authority publishes no list. */
  readonly isRevoked: boolean;
}

export interface CaFailure {
  readonly outcome: "failed";
  readonly kind: FailureKind;
  /** For operators. */
  readonly detail: string;
  /** How long the authority wants to be left alone. */
  readonly retryAfterMs: number | undefined;
}

/** From the thread. */
export type FromThread =
  | { readonly type: "step"; readonly number: number; readonly step: CaStep }
  | { readonly type: "result"; readonly result: CaResult };

/** To the thread: a step is in the store. */
export interface StepTaken {
  readonly number: number;
}
