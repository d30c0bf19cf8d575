/**
 * What the balancers of an edge share about its certificate: one text in the store, encrypted. Only the leader writes it.
 */
import { z } from "zod";
import { readJson } from "../../shared/base/json.ts";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { seal, unseal } from "../../shared/settings/sealing.ts";

const text = z.string().max(65_536);
/** Of the store, in ms since the epoch. */
const time = z.number();
const domains = z.array(z.string().max(253)).max(100).readonly();

export const CHALLENGE_TYPES = ["http-01", "tls-alpn-01"] as const;
export type ChallengeType = (typeof CHALLENGE_TYPES)[number];

/** With the authority. */
const accountSchema = z.object({
  /** Of the authority's directory. */
  directory: text,
  url: text,
  /** PEM. */
  key: text,
  /** That the authority knows; left out: none. */
  email: text.exactOptional(),
});
export type Account = Readonly<z.infer<typeof accountSchema>>;

/** What the authority says of a certificate (RFC 9773, and its list of revoked certificates). */
const renewalSchema = z.object({
  /** When this was asked. */
  checkedMs: time,
  /** When to ask again. */
  nextCheckMs: time,
  /** Chosen at random in the authority's window; left out where it names none. */
  renewAtMs: time.exactOptional(),
  isRevoked: z.literal(true).exactOptional(),
});

const certificateSchema = z.object({
  directory: text,
  domains,
  /** PEM, with the chain. */
  cert: text,
  /** PEM. */
  key: text,
  /** Later than that of the certificate before, also if the store's clock was set back. */
  orderedMs: time,
  /** How many certificates before it were revoked, one after the other; left out: none. */
  revokedBefore: time.exactOptional(),
  /** How the authority has verified the names. */
  challenge: z.enum(CHALLENGE_TYPES),
  renewal: renewalSchema.exactOptional(),
});
export type IssuedCertificate = Readonly<z.infer<typeof certificateSchema>>;

/** One that was begun and is not complete: the next leader goes on with it. */
const orderSchema = z.object({
  directory: text,
  domains,
  url: text,
  /** PEM, of the certificate. */
  key: text,
});
export type OpenOrder = Readonly<z.infer<typeof orderSchema>>;

/** After attempts that failed; none after one that succeeded. */
const failureSchema = z.object({
  /** One after the other. */
  count: time,
  /**
   * `unreachable`: no valid response of the authority. `untrusted`: its own certificate is not trusted. `rate-limited`: it wants
   * fewer orders. `challenge`: it could not verify a name. `refused`: any other refusal. `internal`: a failure of this program
   * or machine.
   */
  kind: z.enum(["unreachable", "untrusted", "rate-limited", "challenge", "refused", "internal"]),
  /** For operators. */
  detail: text,
  failedMs: time,
  /** Not tried again before. */
  retryMs: time,
  /** What was wanted: with other settings it is tried again at once. */
  wanted: text,
});
export type Failure = Readonly<z.infer<typeof failureSchema>>;
export type FailureKind = Failure["kind"];

const recordSchema = z.object({
  account: accountSchema.exactOptional(),
  certificate: certificateSchema.exactOptional(),
  order: orderSchema.exactOptional(),
  failure: failureSchema.exactOptional(),
});
export type AcmeRecord = Readonly<z.infer<typeof recordSchema>>;

const PLACE = "acme record";

export function sealRecord(keys: PurposeKeys, record: AcmeRecord): string {
  return seal(keys, PLACE, JSON.stringify(record));
}

export type Unreadable = "other secret" | "damaged";

export function unsealRecord(keys: PurposeKeys, sealed: string): AcmeRecord | Unreadable {
  const found = unseal(keys, PLACE, sealed);
  if (found === undefined) return "other secret";
  return readJson(recordSchema, found) ?? "damaged";
}
