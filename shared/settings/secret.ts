/**
 * Keys derived from the one secret, `CT_SECRET`: one per purpose, so that none can be used in place of another (HKDF-SHA256,
 * RFC 5869).
 */
import { createHmac, hkdfSync } from "node:crypto";

/** Shortest secret that is accepted, in bytes; HS256 requires as many (RFC 7518 §3.2). */
export const MIN_SECRET_BYTES = 32;

export type EdgeKeys = ReturnType<typeof deriveKeys>;

/** Keys of one edge. The same secret gives the same keys in every process. 32 bytes each. */
export function deriveKeys(secret: string) {
  return {
    /** Signs user and room tokens (HS256). */
    token: derive(secret, "token"),
    /** Authenticates a balancer to the worker that it addresses (`x-ct-edge`). */
    edge: derive(secret, "edge"),
    /** Hashes session keys before they reach the ring, so that an attacker cannot aim keys at one worker. */
    ring: derive(secret, "ring"),
    /** Authenticates the ids of relayed requests. */
    relay: derive(secret, "relay"),
    /** Encrypts what identity providers give for asking them again. */
    signIn: derive(secret, "sign-in"),
    /** Signs the lines of the audit log, and what is recorded about them in the store. */
    audit: derive(secret, "audit"),
    /** Encrypts the account and the certificates of the public ports (CT_ACME_DOMAINS). */
    acme: derive(secret, "acme"),
    /** Hashes identities, so that people can be counted without their names in the store. */
    people: derive(secret, "people"),
    /** Distinguishes secrets without revealing them: 8 hexadecimal digits, safe to log. */
    fingerprint: derive(secret, "fingerprint").toString("hex").slice(0, 8),
  };
}

/** The ring key of a balancer without a secret (with a fixed list of workers): public, but the same everywhere. */
export const PUBLIC_RING_KEY: Buffer = derive("no secret was set", "ring");

/** HMAC-SHA256 of `text`, as base64url without padding (43 characters). */
export function sign(key: Buffer, text: string): string {
  return createHmac("sha256", key).update(text).digest("base64url");
}

function derive(secret: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "codetogether-edge", purpose, 32));
}
