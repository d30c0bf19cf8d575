/**
 * Warms up the balancer before its ports open. V8 compiles a function when it has run many times; until then a request takes
 * several times as much CPU, and the clients of a busy edge wait. So requests are sent through data paths on the loopback
 * address. These have their own counters, logs, workers and clients: nothing of them shows in those of the balancer.
 */
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { PUBLIC_RING_KEY } from "../../shared/settings/secret.ts";
import { createStaticDiscovery } from "../discovery/static-discovery.ts";
import type { DownstreamLimits } from "../downstream/served-client.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import { createRequestLog } from "../logs/request-log.ts";
import type { BugReport, Transport } from "../transport/transport.ts";
import { trafficProbe } from "../upstreams/probe.ts";
import { type DataPath, startDataPath } from "./data-path.ts";
import { LOOPBACK, sendTraffic, startWarmUpWorker, type WarmUpWorker } from "./warm-up-traffic.ts";

/** Each takes 0.15 to 0.3 ms of CPU; more save little. Measured with Node 20 and 24: docs/adr/0014-warm-up.md. */
const REQUESTS = 5000;
/**
 * Code that was compiled for the functions of a single data path is discarded when a second one runs, so there are two before
 * the real one.
 */
const DATA_PATHS = 2;

const CONNECT_TIMEOUT_MS = 1000;
const MAX_CONNECTIONS = 100;

export interface WarmUpDeps {
  readonly transport: Transport;
  readonly reportBug: BugReport;
  /** As in the real data path: whether workers have leases. */
  readonly isLeased: boolean;
  readonly trusted: TrustedProxies;
  readonly limits: DownstreamLimits;
  /** CT_WARM_UP_MS; 0: no warm-up. */
  readonly timeMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Sends `REQUESTS` requests, or fewer in `timeMs`. Never rejects: without a warm-up, only the first requests are slower. All
 * its ports and connections are closed, or being closed, when it resolves.
 */
export async function warmUp(deps: WarmUpDeps): Promise<void> {
  const { transport, timeMs, clock, log } = deps;
  if (timeMs === 0) return;
  const beganMs = clock.nowMs();
  const closers: { close(): void }[] = [];
  try {
    // Two, so that there is a choice to make.
    const workers: WarmUpWorker[] = [];
    for (let i = 0; i < 2; i++) {
      const worker = await startWarmUpWorker(transport);
      closers.push(worker);
      workers.push(worker);
    }
    const dataPaths: DataPath[] = [];
    for (let i = 0; i < DATA_PATHS; i++) {
      const dataPath = await startWarmUpDataPath(workers, deps);
      closers.push(dataPath);
      dataPaths.push(dataPath);
    }
    const budget = { requests: REQUESTS, timeMs };
    const addresses = dataPaths.map(({ listener }) => ({
      host: LOOPBACK,
      port: listener.httpPort,
    }));
    // The sockets of probes are not like those of the data path; compiled code must know both.
    const probe = (): void => {
      for (const { router } of dataPaths)
        for (const upstream of router.upstreams) upstream.probeSoon();
    };
    const requests = await sendTraffic(addresses, { transport, clock, budget, probe });
    log.debug({ requests, tookMs: Math.round(clock.nowMs() - beganMs) }, "warmed up");
  } catch (err) {
    log.info({ err }, "could not warm up; the first requests take longer than later ones");
  } finally {
    // The data paths first: their workers have not failed.
    for (const one of closers.reverse()) one.close();
  }
}

async function startWarmUpDataPath(
  workers: readonly WarmUpWorker[],
  { transport, reportBug, isLeased, trusted, limits, clock }: WarmUpDeps,
): Promise<DataPath> {
  const counters = createCounters();
  const requestLog = createRequestLog({
    files: undefined,
    // Lines are formatted because there is a stream for them.
    streams: { access: NO_STREAM, error: undefined },
    trusted,
    clock,
    log: NO_LOG,
    counters,
  });
  const list = workers.map(({ port }) => `${LOOPBACK}:${port}`);
  const dataPath = await startDataPath({
    transport,
    reportBug,
    discovery: {
      view: createStaticDiscovery(list, PUBLIC_RING_KEY),
      sessions: { findSession: async () => undefined },
      prove: () => "warm-up",
      tokenKeys: { accepted: [] },
      probe: trafficProbe,
      migrateRequests: async () => {},
      linkTarget: () => "unsupported",
      onOtherIncarnation() {},
      isLeased,
    },
    savedOwners: [],
    clock,
    log: NO_LOG,
    counters,
    requestLog,
    trusted,
    certificates: [],
    bind: LOOPBACK,
    port: 0,
    tlsPort: 0,
    maxConnections: MAX_CONNECTIONS,
    maxRequestsPerWorker: MAX_CONNECTIONS,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    tlsHandshakeTimeoutMs: CONNECT_TIMEOUT_MS,
    limits,
  });
  return {
    ...dataPath,
    close() {
      dataPath.close();
      requestLog.close();
    },
  };
}

const NO_STREAM = { write() {}, hasRoom: () => true, async close() {} };
const NO_LOG: Log = { debug() {}, info() {}, warn() {}, error() {} };
