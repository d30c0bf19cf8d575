/**
 * Responses to the challenges of a certificate authority. The leader puts them into the store; any balancer that the authority
 * asks reads them there at that moment, so none has to be told beforehand. They are encrypted: any program that could plant one could obtain
 * a certificate for the edge's name.
 */
import { z } from "zod";
import type { PurposeKeys } from "../../shared/settings/keyring.ts";
import { seal, unseal } from "../../shared/settings/sealing.ts";
import type { Store } from "../../shared/store/store.ts";
import type { PreparedChallenge } from "./ca-protocol.ts";

/** Longer than an order takes. */
const TTL_MS = 3_600_000;
/** Strangers can ask too: this many are read at once, and so many more wait. Beyond that, nothing is known. */
const MAX_READS = 32;
const MAX_WAITING = 1000;
/** RFC 8555 §8.3: base64url. */
const TOKEN = /^[A-Za-z0-9_-]{1,200}$/;
const DOMAIN = /^[a-z0-9.-]{1,253}$/;

const tlsSchema = z.object({ cert: z.string(), key: z.string() });

export interface Challenges {
  put(challenges: readonly PreparedChallenge[]): Promise<void>;
  /** The body of `/.well-known/acme-challenge/TOKEN`; undefined: there is none, or the store is away. Never rejects. */
  httpResponse(token: string): Promise<string | undefined>;
  /** For a handshake with the protocol `acme-tls/1`. Never rejects. */
  tlsCertificate(
    domain: string,
  ): Promise<{ readonly cert: string; readonly key: string } | undefined>;
}

export function createChallenges(deps: {
  readonly store: Pick<Store, "putTicket" | "readTicket" | "dropTicket">;
  readonly keys: PurposeKeys;
}): Challenges {
  const { store, keys } = deps;
  let reads = 0;
  const waiting: (() => void)[] = [];

  async function read(name: string): Promise<string | undefined> {
    if (waiting.length >= MAX_WAITING) return undefined;
    if (reads >= MAX_READS) await new Promise<void>((resolve) => waiting.push(resolve));
    else reads++;
    try {
      const ticket = await store.readTicket("acme", name);
      return typeof ticket?.question === "string" ? unseal(keys, name, ticket.question) : undefined;
    } catch {
      return undefined;
    } finally {
      const next = waiting.shift();
      // The place goes to the one that has waited longest.
      if (next === undefined) reads--;
      else next();
    }
  }

  return {
    async put(challenges) {
      for (const challenge of challenges) {
        const { name, text } = entryOf(challenge);
        // A ticket that exists stays as it is, and a domain has one challenge after the other.
        await store.dropTicket("acme", name);
        const question = seal(keys, name, text);
        await store.putTicket({ kind: "acme", token: name, question, ttlMs: TTL_MS });
      }
    },
    async httpResponse(token) {
      return TOKEN.test(token) ? read(httpName(token)) : undefined;
    },
    async tlsCertificate(domain) {
      const name = domain.toLowerCase();
      const text = DOMAIN.test(name) ? await read(tlsName(name)) : undefined;
      return text === undefined ? undefined : tlsSchema.safeParse(JSON.parse(text)).data;
    },
  };
}

function entryOf(challenge: PreparedChallenge): { readonly name: string; readonly text: string } {
  if (challenge.type === "http-01") {
    return { name: httpName(challenge.token), text: challenge.response };
  }
  const { domain, cert, key } = challenge;
  return { name: tlsName(domain), text: JSON.stringify({ cert, key }) };
}

const httpName = (token: string): string => `http-01/${token}`;
const tlsName = (domain: string): string => `tls-alpn-01/${domain}`;
