/** The request with which a certificate authority verifies a name (RFC 8555 §8.3): the balancer responds itself. */
import type { Client, Exchange } from "../downstream/exchange-contract.ts";
import { challengeResponse } from "../downstream/responses.ts";

const PATH = "/.well-known/acme-challenge/";

/** The token of a challenge; undefined: it is another request. */
export function challengeToken(target: string): string | undefined {
  return target.startsWith(PATH) ? target.slice(PATH.length) : undefined;
}

export class ChallengeExchange implements Exchange {
  readonly #client: Client;
  readonly #read: () => Promise<string | undefined>;
  #isOver = false;

  /** `read` never rejects. */
  constructor(client: Client, read: () => Promise<string | undefined>) {
    this.#client = client;
    this.#read = read;
  }

  start(): void {
    void this.#read().then((text) => {
      if (this.#isOver) return;
      this.#isOver = true;
      this.#client.respond((context) => challengeResponse(text, context));
    });
  }

  /** It is dropped. */
  onBody(): void {}

  onDrain(): void {}

  measureBacklog(done: (bytes: number) => void): void {
    done(0);
  }

  onAbort(): void {
    this.#isOver = true;
  }

  /** The store has a time limit of its own. */
  onTimeout(): void {}
}
