/**
 * What does a routing decision cost with 100,000 sessions in the owner cache, and how much memory does each take? Limits: 2 µs
 * (median), 300 bytes per record. For comparison: a lookup in a Map of as many strings.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createRouter } from "../balancer/routing/router.ts";
import type { Route } from "../balancer/routing/session-key.ts";
import { createDeadlines } from "../balancer/transport/deadlines.ts";
import { createNetTransport } from "../balancer/transport/net.ts";
import { trafficProbe } from "../balancer/upstreams/probe.ts";
import { Upstream } from "../balancer/upstreams/upstream.ts";
import { noLinks } from "../balancer/upstreams/worker-links.ts";
import { systemClock } from "../shared/base/clock.ts";
import {
  type Incarnation,
  newSessionId,
  type SessionKey,
  type WorkerId,
} from "../shared/base/ids.ts";
import { createLog } from "../shared/logs/log.ts";
import { createRing } from "../shared/membership/ring.ts";
import { createCounters } from "../shared/metrics/metrics.ts";
import { deriveKeys } from "../shared/settings/secret.ts";
import type { WorkerRecord } from "../shared/store/member.ts";

const RECORDS = 100_000;
const WORKERS = 10;
/** Decisions timed together, because one is shorter than the clock's resolution. */
const BATCH = 1000;
const BATCHES = 2000;

export async function run(): Promise<void> {
  let lookups = 0;
  const router = open(() => lookups++);
  const keys = Array.from({ length: RECORDS }, () => newSessionId());
  const before = usedBytes();
  keys.forEach((key, i) => {
    router.learn(cutOut(key), `worker-${i % WORKERS}` as WorkerId, 1_700_000_000_000 + i);
  });
  const bytes = (usedBytes() - before) / RECORDS;

  const routes = keys.map(routeOf);
  const excluded = new Set<WorkerId>();
  const ours = measure((i) => {
    const decision = router.choose(routes[i] as Route, excluded);
    if (decision instanceof Promise) throw new Error("the router queried the store");
  });
  const map = new Map(keys.map((key) => [key as string, true]));
  const peer = measure((i) => {
    if (!map.has(keys[i] as string)) throw new Error("a key is missing");
  });
  router.close();
  process.stdout.write(
    `records  lookups in the store   bytes/record (limit 300)  µs/decision p50, p99 (limit 2)  Map.has p50, p99\n${[
      String(RECORDS).padEnd(9),
      String(lookups).padEnd(23),
      bytes.toFixed(0).padEnd(26),
      `${ours.p50.toFixed(3)}, ${ours.p99.toFixed(3)}`.padEnd(32),
      `${peer.p50.toFixed(3)}, ${peer.p99.toFixed(3)}`,
    ].join("")}\n`,
  );
}

/** The key as the parser returns it: a slice of a head, here of 1 KiB. */
function cutOut(key: SessionKey): SessionKey {
  const head = Buffer.from(`GET /socket.io/?x=${key.padEnd(1000, "x")}`, "latin1");
  return head.toString("latin1").slice(18, 42) as SessionKey;
}

/** µs per call, in batches over keys in an order that no cache can predict. */
function measure(decide: (index: number) => void): { p50: number; p99: number } {
  const times: number[] = [];
  let at = 0;
  for (let batch = 0; batch < BATCHES; batch++) {
    const startMs = performance.now();
    for (let i = 0; i < BATCH; i++) {
      at = (at + 61_803) % RECORDS;
      decide(at);
    }
    times.push(((performance.now() - startMs) * 1000) / BATCH);
  }
  times.sort((a, b) => a - b);
  return { p50: times[BATCHES / 2] ?? 0, p99: times[Math.floor(BATCHES * 0.99)] ?? 0 };
}

function open(onLookup: () => void) {
  const workers = Array.from({ length: WORKERS }, (_, i) => workerRecord(`worker-${i}`));
  const ring = createRing(workers, deriveKeys("a secret for the benchmark of the router").ring);
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
    probe: trafficProbe,
    reportBug,
  };
  return createRouter({
    view: { workers, ring, byTag: () => undefined, onChange: () => () => {} },
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

function routeOf(key: SessionKey): Route {
  return {
    tag: undefined,
    key: { rule: "claim", key },
    target: "/",
    isCreate: false,
    isSignIn: false,
    isRepeatable: false,
  };
}

function workerRecord(id: string): WorkerRecord {
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

function usedBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
