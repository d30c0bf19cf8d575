/** A real router whose workers are not there, for router.ts and scale.ts: keys, workers, and the time of its decisions. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createRouter, type MembershipView, type Router } from "../../balancer/routing/router.ts";
import type { Route } from "../../balancer/routing/session-key.ts";
import { createDeadlines } from "../../balancer/transport/deadlines.ts";
import { createNetTransport } from "../../balancer/transport/net.ts";
import type { Probe } from "../../balancer/upstreams/probe.ts";
import { Upstream } from "../../balancer/upstreams/upstream.ts";
import { noLinks } from "../../balancer/upstreams/worker-links.ts";
import { systemClock } from "../../shared/base/clock.ts";
import type { Incarnation, SessionKey, WorkerId } from "../../shared/base/ids.ts";
import { createLog } from "../../shared/logs/log.ts";
import { createRing } from "../../shared/membership/ring.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { deriveKeys } from "../../shared/settings/secret.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { percentile } from "./statistics.ts";

export const RING_KEY: Buffer = deriveKeys("a secret for the benchmark of the router").ring;

/** Decisions timed together, because one is shorter than the clock's resolution. */
const BATCH = 1000;

/** The members of a list that does not change. */
export function fixedView(workers: readonly WorkerRecord[]): MembershipView {
  const ring = createRing(workers, RING_KEY);
  return { workers, ring, byTag: () => undefined, onChange: () => () => {} };
}

/** `onLookup`: called when it asks the store, which knows no session. Without `probe` workers are never asked how they are. */
export function openRouter(view: MembershipView, onLookup: () => void, probe = NO_PROBE): Router {
  const log = createLog({ name: "b", level: "error", format: "text", sink: process.stderr });
  const reportBug = (error: unknown): void => {
    throw error;
  };
  const deps = {
    transport: createNetTransport({ reportBug }),
    clock: systemClock,
    log,
    deadlines: createDeadlines({ clock: systemClock, reportBug }),
    connectTimeoutMs: 1000,
    maxRequestsPerWorker: 1000,
    prove: () => undefined,
    linksTo: () => noLinks("unsupported"),
    probe,
    reportBug,
  };
  return createRouter({
    view,
    store: {
      async findSession() {
        onLookup();
        return undefined;
      },
    },
    clock: systemClock,
    counters: createCounters(),
    log,
    createUpstream: (record, onHealth) =>
      new Upstream(record, { ...deps, isLeased: true, onHealth, onOtherIncarnation() {} }),
    isLeased: true,
    onEpoch: () => {},
    random: Math.random,
  });
}

const NO_PROBE: Probe = { ask: () => new Promise(() => {}) };

/** The key as the parser returns it: a slice of a head, here of 1 KiB. */
function cutOut(key: SessionKey): SessionKey {
  const head = Buffer.from(`GET /socket.io/?x=${key.padEnd(1000, "x")}`, "latin1");
  return head.toString("latin1").slice(18, 42) as SessionKey;
}

export function routeOf(key: SessionKey): Route {
  return {
    tag: undefined,
    key: { rule: "claim", key },
    target: "/",
    isCreate: false,
    isSignIn: false,
    isRepeatable: false,
  };
}

export function workerRecord(id: string): WorkerRecord {
  return {
    kind: "worker",
    id: id as WorkerId,
    incarnation: "0".repeat(16) as Incarnation,
    url: "http://127.0.0.1:3001",
    statusUrl: "http://127.0.0.1:4001",
    version: "",
    zone: "",
    weight: 1,
    state: "up",
    load: { sessions: 0, connections: 0, lagMs: 0 },
    ringFingerprint: "",
    secretFingerprint: "",
  };
}

/** Gives `router` an owner for each of `keys`, among `workers`. */
export function learnAll(router: Router, keys: readonly SessionKey[], workers: number): void {
  keys.forEach((key, i) => {
    router.learn(cutOut(key), `worker-${i % workers}` as WorkerId, 1_700_000_000_000 + i);
  });
}

/** µs per call, in batches over `count` indices in an order that no cache can predict. */
export function timeCalls(
  call: (index: number) => void,
  count: number,
  batches: number,
): { p50: number; p99: number } {
  const times: number[] = [];
  let at = 0;
  for (let batch = 0; batch < batches; batch++) {
    const startMs = performance.now();
    for (let i = 0; i < BATCH; i++) {
      at = (at + 61_803) % count;
      call(at);
    }
    times.push(((performance.now() - startMs) * 1000) / BATCH);
  }
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
}

/** Used bytes of the heap, without garbage. */
export function usedBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
