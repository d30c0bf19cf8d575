/**
 * Requests that get a response from the balancer and never reach a worker.
 */

import type { Client, Exchange } from "./downstream.ts";
import { MethodNotAllowedError } from "./responses.ts";

/**
 * Whether its method is refused for every target. TRACE sends a request back as it arrived: with the fields that proxies
 * added, and, to a script in a browser, with cookies that it may not read (RFC 9110 §9.3.8).
 */
export function isRefusedMethod(method: string): method is "TRACE" {
  return method === "TRACE";
}

/** Responds with 405. */
export class RefusedExchange implements Exchange {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  start(): void {
    this.#client.fail(new MethodNotAllowedError("TRACE"), undefined);
  }

  onBody(): void {}
  onBodyEnd(): void {}
  onDrain(): void {}
  measureBacklog(): void {}
  onAbort(): void {}
  onTimeout(): void {}
}
