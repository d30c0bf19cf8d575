/**
 * Limits what one address may ask for, so that one that floods costs the others little. Who was let in before is never limited: people
 * with a room token of this edge return after a crash all at once, often from behind one address. Neither are programs of this machine:
 * they may be a proxy or a sidecar, through which everybody comes.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { isLoopback, networkOf } from "../../shared/net/networks.ts";
import { clientAddress, type TrustedProxies } from "../http1/forwarding.ts";
import type { RequestHead } from "../http1/head.ts";
import type { Route } from "../routing/session-key.ts";
import { LimitError, type LimitKind } from "./limit-error.ts";
import { TokenBuckets } from "./token-buckets.ts";

/** Each of one address and minute; 0: no limit. */
export type Limits = Readonly<Record<LimitKind, number>>;

export interface Limiter {
  /** Whether a connection from `address` may be served. */
  admits(address: string): boolean;
  /** Undefined: the request may go on. */
  check(head: RequestHead, route: Route, peerAddress: string): LimitError | undefined;
  close(): void;
}

/** Addresses that are remembered of each kind: about 10 MB. In a flood from more, the first are forgotten. */
const MAX_ADDRESSES = 100_000;
const PRUNE_MS = 30_000;

/** Undefined without any limit. */
export function createLimiter(deps: {
  readonly limits: Limits;
  /** Whether it only counts. */
  readonly isDryRun: boolean;
  readonly trusted: TrustedProxies;
  /** Whether this edge has signed it for a peer of a session, at any time. */
  readonly isRoomToken: (token: string) => boolean;
  readonly clock: Clock;
  readonly counters: Counters;
}): Limiter | undefined {
  const { limits, trusted, clock, counters } = deps;
  const buckets = new Map<LimitKind, TokenBuckets>();
  for (const [kind, perMinute] of Object.entries(limits) as [LimitKind, number][]) {
    if (perMinute > 0) buckets.set(kind, new TokenBuckets(perMinute, MAX_ADDRESSES));
  }
  if (buckets.size === 0) return undefined;
  const connections = buckets.get("connections");
  const requests = buckets.get("requests");
  counters.gauge("balancer.limited_addresses", () =>
    Math.max(...[...buckets.values()].map(({ size }) => size)),
  );
  const pruning = clock.every(PRUNE_MS, () => {
    for (const one of buckets.values()) one.prune(clock.nowMs());
  });

  /** The longest wait of those that have none left, and which. */
  function take(
    kind: LimitKind,
    of: TokenBuckets | undefined,
    network: string,
  ): LimitError | undefined {
    const waitMs = of?.take(network, clock.nowMs()) ?? 0;
    return waitMs === 0 ? undefined : new LimitError(kind, limits[kind], waitMs);
  }

  function isReturning({ values }: RequestHead, kind: Route["kind"]): boolean {
    return kind === "handshakes" && values.tokens.some((token) => deps.isRoomToken(token));
  }

  function refuse(error: LimitError): LimitError | undefined {
    counters.count("balancer.limited", error.kind);
    return deps.isDryRun ? undefined : error;
  }

  return {
    admits(address) {
      // A proxy's connections carry the requests of many.
      if (connections === undefined || trusted.has(address) || isLoopback(address)) return true;
      const error = take("connections", connections, networkOf(address));
      return error === undefined || refuse(error) === undefined;
    },
    check(head, route, peerAddress) {
      const address = trusted.has(peerAddress)
        ? clientAddress(head.fields, peerAddress, trusted)
        : peerAddress;
      if (isLoopback(address)) return undefined;
      const network = networkOf(address);
      const { kind } = route;
      const isLimited = kind !== undefined && kind !== "joins";
      const error =
        (isLimited ? take(kind, buckets.get(kind), network) : undefined) ??
        take("requests", requests, network);
      if (error === undefined || isReturning(head, kind)) return undefined;
      return refuse(error);
    },
    close: () => pruning.cancel(),
  };
}
