/** The request with which a certificate authority verifies a name (RFC 8555 §8.3): the balancer responds itself. */
import type { Client, Exchange } from "../downstream/exchange-contract.ts";
import { challengeResponse } from "../downstream/responses.ts";
import { lateResponse } from "./late-response.ts";

const PATH = "/.well-known/acme-challenge/";

/** The token of a challenge; undefined: it is another request. */
export function challengeToken(target: string): string | undefined {
  return target.startsWith(PATH) ? target.slice(PATH.length) : undefined;
}

/** `read` never rejects, and has a time limit of its own. */
export function respondToChallenge(
  client: Client,
  read: () => Promise<string | undefined>,
): Exchange {
  return lateResponse(() => {
    let isGone = false;
    void read().then((text) => {
      if (!isGone) client.respond((context) => challengeResponse(text, context));
    });
    return () => {
      isGone = true;
    };
  });
}
