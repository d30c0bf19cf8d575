/**
 * A client's connection (downstream.ts) as the listener sees it: what it is given, and what is asked of it.
 */
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { HttpLimits } from "../http1/limits.ts";
import type { RequestLog } from "../logs/request-log.ts";
import type { Deadlines } from "../transport/deadlines.ts";
import type { Listed } from "../transport/open-list.ts";
import type { ClientTimeouts } from "./client-deadline.ts";
import type { DrainState } from "./drain-state.ts";
import type { AcceptRequest } from "./exchange-contract.ts";

/** What a client may send, and its time limits. */
export interface DownstreamLimits extends HttpLimits, ClientTimeouts {}

export interface DownstreamDeps {
  readonly deadlines: Deadlines;
  readonly limits: DownstreamLimits;
  readonly counters: Counters;
  readonly requestLog: RequestLog;
  readonly nextRequestId: () => string;
  readonly acceptRequest: AcceptRequest;
  readonly drainState: Readonly<DrainState>;
}

/** A connection whose requests are served. */
export interface ServedClient extends Listed {
  /** The balancer shuts down: an idle connection ends soon, any other with its response. */
  shutDown(): void;
  /** Closes its connection at once. */
  destroy(): void;
}
