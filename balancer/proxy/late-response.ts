/** Responses of the balancer itself that are not ready at once. */
import type { Client, Exchange } from "../downstream/exchange-contract.ts";
import { challengeResponse } from "../downstream/responses.ts";

/** `begin` returns what stops it, which may be called after its end. The request's body is dropped. */
export function lateResponse(begin: () => () => void): Exchange {
  let stop = (): void => {};
  return {
    start() {
      stop = begin();
    },
    onBody() {},
    onDrain() {},
    measureBacklog: (done) => done(0),
    onAbort: () => stop(),
    onTimeout() {},
  };
}

// --- requests with which a certificate authority verifies a name (RFC 8555 §8.3) ---

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
