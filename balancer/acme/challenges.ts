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

export class Challenges {
  readonly #store: Pick<Store, "putTicket" | "readTicket" | "dropTicket">;
  readonly #keys: PurposeKeys;
  #reads = 0;
  readonly #waiting: (() => void)[] = [];

  constructor({
    store,
    keys,
  }: {
    readonly store: Pick<Store, "putTicket" | "readTicket" | "dropTicket">;
    readonly keys: PurposeKeys;
  }) {
    this.#store = store;
    this.#keys = keys;
  }

  async put(challenges: readonly PreparedChallenge[]): Promise<void> {
    for (const challenge of challenges) {
      const { name, text } = entryOf(challenge);
      // A ticket that exists stays as it is, and a domain has one challenge after the other.
      await this.#store.dropTicket("acme", name);
      const question = seal(this.#keys, name, text);
      await this.#store.putTicket({ kind: "acme", token: name, question, ttlMs: TTL_MS });
    }
  }

  /** The body of `/.well-known/acme-challenge/TOKEN`; undefined: there is none, or the store is away. Never rejects. */
  async httpResponse(token: string): Promise<string | undefined> {
    return TOKEN.test(token) ? this.#read(httpName(token)) : undefined;
  }

  /** For a handshake with the protocol `acme-tls/1`. Never rejects. */
  async tlsCertificate(domain: string): Promise<z.infer<typeof tlsSchema> | undefined> {
    const name = domain.toLowerCase();
    const text = DOMAIN.test(name) ? await this.#read(tlsName(name)) : undefined;
    return text === undefined ? undefined : tlsSchema.safeParse(JSON.parse(text)).data;
  }

  async #read(name: string): Promise<string | undefined> {
    if (this.#waiting.length >= MAX_WAITING) return undefined;
    if (this.#reads >= MAX_READS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#reads++;
    try {
      const ticket = await this.#store.readTicket("acme", name);
      return typeof ticket?.question === "string"
        ? unseal(this.#keys, name, ticket.question)
        : undefined;
    } catch {
      return undefined;
    } finally {
      const next = this.#waiting.shift();
      // The place goes to the one that has waited longest.
      if (next === undefined) this.#reads--;
      else next();
    }
  }
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
