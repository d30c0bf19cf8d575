/** When a certificate is obtained, renewed, and when a failed attempt is made again. Pure. */
import { createHash } from "node:crypto";
import type { AcmeRecord, Failure, FailureKind, IssuedCertificate } from "./record.ts";

/** What the settings ask for. */
export interface Wanted {
  /** URL of the authority's directory. */
  readonly directory: string;
  readonly domains: readonly string[];
  readonly email: string | undefined;
  /** External account binding. */
  readonly binding: { readonly keyId: string; readonly key: string } | undefined;
  /** PEM of the authority's root. */
  readonly ca: string | undefined;
}

/** Changes with each setting. */
export function digestOf(wanted: Wanted): string {
  return createHash("sha256").update(JSON.stringify(wanted)).digest("hex").slice(0, 16);
}

/** `unfinished`: another leader has begun it. */
export type OrderReason = "none" | "names" | "authority" | "revoked" | "unfinished" | "renewal";

/** When the next order is due, and why. `atMs` may be over. */
export interface Due {
  readonly atMs: number;
  readonly reason: OrderReason;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Part of its lifetime after which a certificate is renewed, where the authority does not say. */
const RENEW_AFTER = 2 / 3;
/** At the latest when this part of it is left, whatever the authority says. */
const RENEW_LEFT = 1 / 10;
/**
 * Part of its lifetime for which a certificate is not renewed, and the most where the authority says when: by a clock that is off,
 * or a window that is over, each new certificate seems to be due. Authorities allow five equal ones in a week (Let's Encrypt).
 */
const MIN_AGE = 1 / 3;
const MAX_MIN_AGE_MS = 2 * DAY_MS;
/** At once after the first one that was revoked; an authority that calls each one revoked must not make a loop. */
const REVOKED_DELAYS_MS = [0, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS];

/** Without regard to failures. */
function dueOrder(
  { certificate, order }: Pick<AcmeRecord, "certificate" | "order">,
  wanted: Pick<Wanted, "directory" | "domains">,
  lifetimeOf: (certificate: IssuedCertificate) => Lifetime,
  nowMs: number,
): Due {
  if (certificate === undefined) return { atMs: 0, reason: "none" };
  if (!hasSameNames(certificate.domains, wanted.domains)) return { atMs: 0, reason: "names" };
  if (certificate.directory !== wanted.directory) return { atMs: 0, reason: "authority" };
  // One of the future was ordered by a clock that was off.
  const orderedMs = Math.min(certificate.orderedMs, nowMs);
  if (certificate.renewal?.isRevoked) {
    const index = Math.min(certificate.revokedBefore ?? 0, REVOKED_DELAYS_MS.length - 1);
    return { atMs: orderedMs + (REVOKED_DELAYS_MS[index] ?? 0), reason: "revoked" };
  }
  if (isFor(order, wanted)) return { atMs: 0, reason: "unfinished" };
  const { startMs, endMs } = lifetimeOf(certificate);
  const lifetimeMs = Math.max(0, endMs - startMs);
  const minAgeMs = lifetimeMs * MIN_AGE;
  const { renewAtMs } = certificate.renewal ?? {};
  const atMs =
    renewAtMs === undefined
      ? Math.max(orderedMs + minAgeMs, startMs + lifetimeMs * RENEW_AFTER)
      : Math.max(
          orderedMs + Math.min(minAgeMs, MAX_MIN_AGE_MS),
          Math.min(renewAtMs, endMs - lifetimeMs * RENEW_LEFT),
        );
  return { atMs, reason: "renewal" };
}

export interface Lifetime {
  readonly startMs: number;
  readonly endMs: number;
}

/** Whether it is of the authority and for the names that are wanted. */
export function isFor(
  one: { readonly directory: string; readonly domains: readonly string[] } | undefined,
  { directory, domains }: Pick<Wanted, "directory" | "domains">,
): boolean {
  return one?.directory === directory && hasSameNames(one.domains, domains);
}

function hasSameNames(some: readonly string[], others: readonly string[]): boolean {
  return [...some].sort().join() === [...others].sort().join();
}

/** The order that is due, when it is tried; after failures later. */
export function nextOrder(
  record: Pick<AcmeRecord, "certificate" | "order" | "failure">,
  wanted: Wanted,
  lifetimeOf: (certificate: IssuedCertificate) => Lifetime,
  nowMs: number,
): Due {
  const due = dueOrder(record, wanted, lifetimeOf, nowMs);
  const { failure } = record;
  if (failure === undefined || failure.wanted !== digestOf(wanted)) return due;
  // Whatever was due then, or wanted by an operator, is still wanted.
  return { ...due, atMs: failure.retryMs };
}

/**
 * Authorities allow five failed verifications of a name in an hour (Let's Encrypt), and an attempt may make two. An authority that
 * cannot be reached counts nothing.
 */
const RETRIES_MIN: Readonly<Record<"verified" | "other", readonly number[]>> = {
  verified: [10, 60, 120, 240, 480, 720],
  other: [1, 5, 15, 60, 180, 360],
};

/** `count`: failures one after the other, from 1. `random`: 0 to 1. */
export function retryDelayMs(
  kind: FailureKind,
  count: number,
  random: number,
  retryAfterMs = 0,
): number {
  const isCounted = kind === "challenge" || kind === "refused" || kind === "rate-limited";
  const delays = isCounted ? RETRIES_MIN.verified : RETRIES_MIN.other;
  const minutes = delays[Math.min(count, delays.length) - 1] ?? 1;
  // Later, never sooner: two edges of one domain do not stay in step.
  return Math.max(minutes * MINUTE_MS, retryAfterMs) * (1 + random / 4);
}

/** Of orders by hand: the first one after a failure is free, so that a cause that is gone need not be waited for. */
const BY_HAND_MS = 30 * MINUTE_MS;

/** Whether an operator may order now, within what authorities allow. */
export function mayOrder(failure: Failure | undefined, nowMs: number): boolean {
  if (failure === undefined) return true;
  if (failure.kind === "rate-limited") return nowMs >= failure.retryMs;
  if (failure.kind !== "challenge" && failure.kind !== "refused") return true;
  return failure.count === 1 || nowMs >= failure.failedMs + BY_HAND_MS;
}

const MAX_CHECK_MS = DAY_MS;
const DEFAULT_CHECK_MS = 6 * HOUR_MS;

/** When the authority is asked again about a certificate; never more often than every hour (RFC 9773 §4.3). */
export function nextCheckMs(nowMs: number, retryAfterMs: number | undefined): number {
  const delayMs = Math.min(MAX_CHECK_MS, Math.max(HOUR_MS, retryAfterMs ?? DEFAULT_CHECK_MS));
  return nowMs + delayMs;
}

/** A random time in the authority's window; one that is over: now. */
export function chooseRenewal(
  window: { readonly startMs: number; readonly endMs: number },
  random: number,
): number {
  return Math.round(window.startMs + (window.endMs - window.startMs) * random);
}
