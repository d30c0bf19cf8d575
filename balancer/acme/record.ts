/**
 * What the balancers of an edge share about its certificate: one text in the store, encrypted. Only the leader writes it.
 */
import { z } from "zod";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { seal, unseal } from "../../shared/settings/sealing.ts";

/** Times are the store's, in ms since the epoch. */
export interface AcmeRecord {
  /** With the authority. */
  readonly account?: Account;
  readonly certificate?: IssuedCertificate;
  /** One that was begun and is not complete: the next leader goes on with it. */
  readonly order?: OpenOrder;
  /** After attempts that failed; none after one that succeeded. */
  readonly failure?: Failure;
}

export interface Account {
  /** Of the authority's directory. */
  readonly directory: string;
  readonly url: string;
  /** PEM. */
  readonly key: string;
  /** That the authority knows; left out: none. */
  readonly email?: string;
}

export interface IssuedCertificate {
  readonly directory: string;
  readonly domains: readonly string[];
  /** PEM, with the chain. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** Later than that of the certificate before, also if the store's clock was set back. */
  readonly orderedMs: number;
  /** How many certificates before it were revoked, one after the other; left out: none. */
  readonly revokedBefore?: number;
  /** How the authority has verified the names. */
  readonly challenge: ChallengeType;
  /** What the authority says of it (RFC 9773, and its list of revoked certificates). */
  readonly renewal?: RenewalInfo;
}

export interface RenewalInfo {
  /** When this was asked. */
  readonly checkedMs: number;
  /** When to ask again. */
  readonly nextCheckMs: number;
  /** Chosen at random in the authority's window; left out where it names none. */
  readonly renewAtMs?: number;
  readonly isRevoked?: true;
}

export interface OpenOrder {
  readonly directory: string;
  readonly domains: readonly string[];
  readonly url: string;
  /** PEM, of the certificate. */
  readonly key: string;
}

export interface Failure {
  /** One after the other. */
  readonly count: number;
  readonly kind: FailureKind;
  /** For operators. */
  readonly detail: string;
  readonly failedMs: number;
  /** Not tried again before. */
  readonly retryMs: number;
  /** What was wanted: with other settings it is tried again at once. */
  readonly wanted: string;
}

export const CHALLENGE_TYPES = ["http-01", "tls-alpn-01"] as const;
export type ChallengeType = (typeof CHALLENGE_TYPES)[number];

/**
 * `unreachable`: no valid response of the authority. `untrusted`: its own certificate is not trusted. `rate-limited`: it wants
 * fewer orders. `challenge`: it could not verify a name. `refused`: any other refusal. `internal`: a failure of
 * this program or machine.
 */
export const FAILURE_KINDS = [
  "unreachable",
  "untrusted",
  "rate-limited",
  "challenge",
  "refused",
  "internal",
] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

const text = z.string().max(65_536);
const time = z.number();
const domains = z.array(z.string().max(253)).max(100);

const recordSchema = z.object({
  account: z
    .object({ directory: text, url: text, key: text, email: text.exactOptional() })
    .exactOptional(),
  certificate: z
    .object({
      directory: text,
      domains,
      cert: text,
      key: text,
      orderedMs: time,
      revokedBefore: time.exactOptional(),
      challenge: z.enum(CHALLENGE_TYPES),
      renewal: z
        .object({
          checkedMs: time,
          nextCheckMs: time,
          renewAtMs: time.exactOptional(),
          isRevoked: z.literal(true).exactOptional(),
        })
        .exactOptional(),
    })
    .exactOptional(),
  order: z.object({ directory: text, domains, url: text, key: text }).exactOptional(),
  failure: z
    .object({
      count: time,
      kind: z.enum(FAILURE_KINDS),
      detail: text,
      failedMs: time,
      retryMs: time,
      wanted: text,
    })
    .exactOptional(),
});

const PLACE = "acme record";

export function sealRecord(keys: PurposeKeys, record: AcmeRecord): string {
  return seal(keys, PLACE, JSON.stringify(record));
}

export type Unreadable = "other secret" | "damaged";

export function unsealRecord(keys: PurposeKeys, sealed: string): AcmeRecord | Unreadable {
  const found = unseal(keys, PLACE, sealed);
  if (found === undefined) return "other secret";
  try {
    return recordSchema.safeParse(JSON.parse(found)).data ?? "damaged";
  } catch {
    return "damaged";
  }
}
