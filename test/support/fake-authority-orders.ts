/** The orders of a fake authority: what they consist of, how they change, and how clients see them (RFC 8555 §7.1). */
import { randomBytes } from "node:crypto";
import type { Issued } from "./fake-authority-certificates.ts";
import {
  type Account,
  found,
  problemBody,
  Refusal,
  thumbprint,
} from "./fake-authority-requests.ts";

export interface Attempt {
  readonly domain: string;
  readonly type: string;
  readonly token: string;
  /** What the client must respond with (RFC 8555 §8.1). */
  readonly keyAuthorization: string;
}

/** An object: the name is not verified, and why. */
export type Outcome = "valid" | "processing" | { readonly detail: string };

export type OrderStatus = "pending" | "ready" | "processing" | "valid" | "invalid";

export interface Order {
  readonly id: string;
  readonly account: Account;
  readonly domains: readonly string[];
  readonly replaces: string | undefined;
  readonly authorizations: readonly Authorization[];
  issued: Issued | undefined;
  /** Why no certificate was issued. */
  refusal: Refusal | undefined;
  /** What it shows first, before what it is. */
  late: OrderStatus[];
}

interface Authorization {
  readonly id: string;
  readonly domain: string;
  readonly challenges: readonly Challenge[];
}

interface Challenge {
  readonly id: string;
  readonly type: string;
  readonly token: string;
  status: "pending" | "processing" | "valid" | "invalid";
  error?: unknown;
}

/** Of a resource of this kind. */
type UrlOf = (
  kind: "order" | "authorization" | "challenge" | "finalize" | "certificate",
  id: string,
) => string;

export class Orders {
  readonly all: Order[] = [];
  readonly attempts: Attempt[] = [];
  readonly #urlOf: UrlOf;

  constructor(urlOf: UrlOf) {
    this.#urlOf = urlOf;
  }

  add(
    order: Pick<Order, "account" | "domains" | "replaces">,
    challengeTypes: readonly string[],
  ): Order {
    const id = `${this.all.length}`;
    const authorizations = order.domains.map((domain, index) => ({
      id: `${id}-${index}`,
      domain,
      challenges: challengeTypes.map((type) => ({
        id: `${id}-${index}-${type}`,
        type,
        token: randomBytes(16).toString("base64url"),
        status: "pending" as const,
      })),
    }));
    const added: Order = {
      ...order,
      id,
      authorizations,
      issued: undefined,
      refusal: undefined,
      late: [],
    };
    this.all.push(added);
    return added;
  }

  /** The order itself, or the one that a part belongs to. */
  get(id: string): Order {
    return found(this.all.find((one) => one.id === id.split("-")[0]));
  }

  show(order: Order): unknown {
    const { id, domains, authorizations, refusal } = order;
    const status = order.late.shift() ?? statusOf(order);
    return {
      status,
      identifiers: domains.map((value) => ({ type: "dns", value })),
      authorizations: authorizations.map((one) => this.#urlOf("authorization", one.id)),
      finalize: this.#urlOf("finalize", id),
      ...(refusal !== undefined && { error: problemBody(refusal) }),
      ...(status === "valid" && { certificate: this.#urlOf("certificate", id) }),
    };
  }

  showAuthorization(id: string): unknown {
    const authorization = found(this.get(id).authorizations.find((one) => one.id === id));
    const { domain, challenges } = authorization;
    return {
      status: stateOf(authorization),
      identifier: { type: "dns", value: domain },
      challenges: challenges.map((one) => this.#showChallenge(one)),
    };
  }

  attempt(id: string, verify: (attempt: Attempt) => Outcome): unknown {
    const { account, authorizations } = this.get(id);
    const { domain, challenges } = found(authorizations.find((one) => id.startsWith(`${one.id}-`)));
    const challenge = found(challenges.find((one) => one.id === id));
    const { type, token } = challenge;
    const keyAuthorization = `${token}.${thumbprint(account.jwk)}`;
    const attempt = { domain, type, token, keyAuthorization };
    this.attempts.push(attempt);
    const outcome = verify(attempt);
    challenge.status = typeof outcome === "string" ? outcome : "invalid";
    if (typeof outcome !== "string") {
      challenge.error = problemBody(new Refusal(403, "unauthorized", outcome.detail));
    }
    return this.#showChallenge(challenge);
  }

  #showChallenge({ id, ...shown }: Challenge): unknown {
    return { ...shown, url: this.#urlOf("challenge", id) };
  }
}

export function statusOf({ authorizations, issued, refusal }: Order): OrderStatus {
  if (refusal !== undefined) return "invalid";
  if (issued !== undefined) return "valid";
  const states = authorizations.map(stateOf);
  if (states.includes("invalid")) return "invalid";
  return states.includes("pending") ? "pending" : "ready";
}

function stateOf({ challenges }: Authorization): "pending" | "valid" | "invalid" {
  if (challenges.some(({ status }) => status === "invalid")) return "invalid";
  return challenges.some(({ status }) => status === "valid") ? "valid" : "pending";
}
