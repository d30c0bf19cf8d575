/**
 * A router alone, with members and a store of the test, and workers that are not probed.
 */

import { createRouter, type Router } from "../../balancer/routing/router.ts";
import type { Route } from "../../balancer/routing/session-key.ts";
import { createDeadlines } from "../../balancer/transport/deadlines.ts";
import { createNetTransport } from "../../balancer/transport/net.ts";
import { Upstream } from "../../balancer/upstreams/upstream.ts";
import { noLinks, type WorkerLinks } from "../../balancer/upstreams/worker-links.ts";
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import type { SessionId, SessionKey, WorkerId } from "../../shared/base/ids.ts";
import { type Counters, createCounters } from "../../shared/metrics/metrics.ts";
import { edgeProof } from "../../shared/net/edge-headers.ts";
import type { SessionRecord } from "../../shared/store/store.ts";
import { silentLog } from "../support/logs.ts";
import { EDGE_KEY, type FakeView, quietProbe } from "./rig.ts";

/** The route of a request that nothing leads to a worker. */
export const FREE: Route = {
  tag: undefined,
  key: undefined,
  target: "/",
  isCreate: false,
  isSignIn: false,
  isRepeatable: false,
};

/** The record of an open session without peers. */
export function sessionRecord(id: string, owner: string, epoch: number): SessionRecord {
  return {
    id: id as SessionId,
    owner: owner as WorkerId,
    incarnation: "i" as SessionRecord["incarnation"],
    epoch,
    state: "open",
    userId: "u",
    clock: 0,
    peers: [],
    revokedTokens: [],
    createdMs: 0,
  };
}

export function openRouter(needs: {
  readonly view: FakeView;
  readonly findSession: (key: SessionKey) => Promise<SessionRecord | undefined>;
  readonly counters?: Counters;
  readonly onEpoch?: (key: SessionKey, epoch: number) => void;
  readonly random?: () => number;
  readonly clock?: Clock;
  /** To each worker; none by default. */
  readonly links?: WorkerLinks;
}): Router {
  const { clock = systemClock } = needs;
  const log = silentLog();
  const deadlines = createDeadlines({ clock, reportBug: () => {} });
  const transport = createNetTransport({ reportBug: () => {} });
  return createRouter({
    view: needs.view,
    store: { findSession: needs.findSession },
    isLeased: true,
    clock,
    counters: needs.counters ?? createCounters(),
    log,
    createUpstream: (record, onHealth) =>
      new Upstream(record, {
        transport,
        clock,
        log,
        deadlines,
        connectTimeoutMs: 1000,
        maxRequestsPerWorker: 1000,
        linksTo: () => needs.links ?? noLinks("unsupported"),
        prove: ({ id, incarnation }) => edgeProof(EDGE_KEY, id, incarnation),
        probe: quietProbe,
        isLeased: true,
        reportBug: () => {},
        onHealth,
        onOtherIncarnation: () => {},
      }),
    onEpoch: needs.onEpoch ?? (() => {}),
    random: needs.random ?? Math.random,
  });
}
