/**
 * Requests for the health of the edge itself, which no worker sees.
 */

import type { Router } from "../routing/router.ts";
import type { Client, Exchange } from "./downstream.ts";
import type { DrainState } from "./drain-state.ts";
import { healthResponse } from "./responses.ts";

interface HealthNeeds {
  readonly directory: Pick<Router, "usable">;
  readonly drainState: Pick<DrainState, "isAnnounced">;
}

/** Whether the request is for the health check of the public ports; a query is ignored. */
export function isHealthTarget(target: string): boolean {
  return target.startsWith("/ct-health") && HEALTH_TARGET.test(target);
}

const HEALTH_TARGET = /^\/ct-health\/?(?:\?|$)/;

/** Answered here: whether this balancer has a worker to send anybody to, and goes on doing so. */
export class HealthExchange implements Exchange {
  readonly #client: Client;
  readonly #needs: HealthNeeds;

  constructor(client: Client, needs: HealthNeeds) {
    this.#client = client;
    this.#needs = needs;
  }

  start(): void {
    const { directory, drainState } = this.#needs;
    const status = directory.usable > 0 ? "ok" : "no worker";
    this.#client.answer((context) =>
      healthResponse(drainState.isAnnounced ? "leaving" : status, context),
    );
  }

  onBody(): void {}
  onBodyEnd(): void {}
  onDrain(): void {}
  measureBacklog(): void {}
  onAbort(): void {}
  onTimeout(): void {}
}
