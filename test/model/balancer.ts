/**
 * A simulated balancer: the real data path, view and lease, put together as `balancer/main.ts` and
 * `balancer/discovery/discovery.ts` do it, over the simulated network, store and clock.
 */

import { createTrustedProxies } from "../../balancer/http1/forwarding.ts";
import { DEFAULT_HTTP_LIMITS } from "../../balancer/http1/limits.ts";
import { createRequestLog } from "../../balancer/logs/request-log.ts";
import { startDataPath } from "../../balancer/server/data-path.ts";
import { PROBE_TIMEOUT_MS, ProbeError, ProofRefusedError } from "../../balancer/upstreams/probe.ts";
import { newIncarnation, type WorkerId } from "../../shared/base/ids.ts";
import { createLease } from "../../shared/membership/lease.ts";
import { createMembershipView } from "../../shared/membership/view.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { edgeProof, readIncarnation } from "../../shared/net/edge-headers.ts";
import { readSettings } from "../../shared/settings/read-settings.ts";
import type { Place, ProbeAnswer } from "./network.ts";
import { KEYS, SECRET, type Surroundings } from "./surroundings.ts";

const SETTINGS = readSettings({ role: "balancer", env: { CT_SECRET: SECRET } });
const TRUSTED = createTrustedProxies([]);
const FIRST_VIEW_MS = 1000;

/** Starts one that clients reach at `machine`. It lives as long as its process. */
export function startBalancer(place: Place, needs: Surroundings): void {
  const { network, stores, watch } = needs;
  const { clock } = place.process;
  const id = place.machine as WorkerId;
  const log = watch.log(place.process.name);
  const counters = createCounters();
  const store = stores.connect(place);
  const view = createMembershipView({ store, clock, log, ringKeyFor: () => KEYS.ring });
  const incarnation = newIncarnation();
  const lease = createLease({
    store,
    clock,
    log,
    describe: () => ({
      kind: "balancer",
      id,
      incarnation,
      statusUrl: `http://${id}:1081`,
      version: "1.0.0",
      ringFingerprint: view.ring.fingerprint,
      secretFingerprint: KEYS.fingerprint,
    }),
    onReplaced: () => {},
  });

  async function start(): Promise<void> {
    const firstView = new Promise<void>((resolve) => clock.after(FIRST_VIEW_MS, resolve));
    await Promise.race([view.start(), firstView]);
    await startDataPath({
      ...SETTINGS,
      maxConnections: 10_000,
      bind: id,
      transport: network.transport(place),
      reportBug: watch.bug,
      discovery: {
        view,
        sessions: store,
        tokenKeys: { accepted: [] },
        prove: (worker) => edgeProof(KEYS.edge, worker.id, worker.incarnation),
        isLeased: true,
        linkTarget: () => "unsupported",
        migrateRequests: () => Promise.reject(new Error("no balancer shuts down here")),
        onOtherIncarnation(worker, life) {
          if (store.health.state !== "up") view.hear(worker, life);
        },
        probe: {
          async ask(worker, proof = "") {
            const address = worker.url.slice("http://".length);
            const question = { proof, asker: id, store: store.health.state };
            const answer = await network.ask(place, address, question, PROBE_TIMEOUT_MS);
            if (typeof answer === "string") return judge(answer);
            const field = answer.misrouted;
            throw new ProofRefusedError(
              readIncarnation([KEYS.edge], { field, id: worker.id, refusedProof: proof }),
            );
          },
        },
      },
      clock,
      log,
      counters,
      trusted: TRUSTED,
      certificates: [],
      savedOwners: [],
      requestLog: createRequestLog({ files: undefined, trusted: TRUSTED, clock, log, counters }),
      tlsHandshakeTimeoutMs: SETTINGS.headerTimeoutMs,
      limits: { ...DEFAULT_HTTP_LIMITS, ...SETTINGS },
    });
    await lease.start();
  }

  start().catch(watch.bug);
}

/** Throws what a real probe does. */
function judge(answer: Extract<ProbeAnswer, string>): void {
  switch (answer) {
    case "healthy":
      return;
    case "unhealthy":
      throw new ProbeError(503);
    case "refused":
      throw Object.assign(new Error(answer), { code: "ECONNREFUSED" });
    case "silent":
      throw Object.assign(new Error(answer), { name: "TimeoutError" });
  }
}

/** Where clients reach it. */
export function balancerAddress(machine: string): { host: string; port: number } {
  return { host: machine, port: SETTINGS.port };
}
