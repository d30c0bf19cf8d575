/**
 * What http.ts measures at each proxy. A measurement returns figures by their units, CPU time of the proxy first.
 */
import { echo, handshakes, KEYS_SCRIPT, openTunnels, UPLOAD_SCRIPT, wrk } from "./load.ts";
import { openPacedLoad, type PacedOutcome } from "./paced-load.ts";
import { measuredCoreBusyNs } from "./process.ts";
import type { Contender } from "./proxies.ts";
import { type Figures, OTHER_LOAD } from "./rounds.ts";

export interface Question {
  readonly name: string;
  /** Each round starts a new process of the proxy, without a warm-up. */
  readonly isFresh?: true;
  /** The worker is measured without a proxy as well. */
  readonly isLatency?: true;
  readonly measure: Measurement;
  /** Other load than the measured one before the first round. */
  readonly warmUp?: Measurement;
}

/** Loads the proxy for about `seconds`. */
type Measurement = (proxy: Contender, seconds: number) => Promise<Figures>;

const IDLE_TUNNELS = 2000;
/** Opened first and kept open, so that memory that is free after a proxy's start does not hide what the others take. */
const FIRST_TUNNELS = 2000;
const PACED_CONNECTIONS = 64;
/** Requests a second that every proxy reaches on one core when it is warm, while load and workers share the other core. */
const STEADY = 6000;

export const QUESTIONS: readonly Question[] = [
  {
    name: "small GET, first second after the start, 6,000/s",
    isFresh: true,
    measure: async (proxy) => cpuOnly(await paced(proxy, STEADY, 1)),
  },
  {
    name: "small GET, 1,000/s",
    isLatency: true,
    measure: (proxy, seconds) => paced(proxy, 1000, seconds),
    // At 1,000/s a program would still be warming up long after the warm-up.
    warmUp: (proxy, seconds) => paced(proxy, STEADY, seconds),
  },
  {
    name: "small GET, 6,000/s",
    isLatency: true,
    measure: (proxy, seconds) => paced(proxy, STEADY, seconds),
  },
  saturated("small GET, saturated", "request", { path: "/small", connections: 64 }),
  saturated("small GET with a key, saturated", "request", {
    path: "/small",
    connections: 64,
    script: KEYS_SCRIPT,
  }),
  saturated("small GET over TLS, saturated", "request", {
    path: "/small",
    connections: 64,
    tls: true,
  }),
  saturated("new connection", "connection", {
    path: "/small",
    connections: 16,
    fields: ["Connection: close"],
  }),
  {
    name: "new connection with a full TLS handshake",
    // wrk resumes the session of an earlier connection, which leaves out most of the handshake.
    measure: (proxy, seconds) =>
      cpuPerOperation(proxy, "connection", () => handshakes(proxy.tlsPort, seconds)),
  },
  saturated("1 MiB body", "MiB", { path: "/1m", connections: 8 }),
  saturated("1 MiB body over TLS", "MiB", { path: "/1m", connections: 8, tls: true }),
  saturated("20 MiB body", "body", { path: "/20m", connections: 4 }),
  saturated("1 MiB upload", "MiB", { path: "/upload", connections: 8, script: UPLOAD_SCRIPT }),
  webSocketEcho(100),
  webSocketEcho(1000),
  {
    name: "idle WebSocket",
    isFresh: true,
    measure: idleTunnel,
  },
];

/** The same load on each proxy, which takes as much of it as it can. */
function saturated(
  name: string,
  operation: string,
  load: Omit<Parameters<typeof wrk>[0], "port" | "seconds">,
): Question {
  return {
    name,
    measure: (proxy, seconds) =>
      cpuPerOperation(proxy, operation, () =>
        wrk({ ...load, port: load.tls === true ? proxy.tlsPort : proxy.port, seconds }),
      ),
  };
}

function webSocketEcho(connections: number): Question {
  return {
    name: `WebSocket echo, 96 bytes, ${connections.toLocaleString("en")} connections`,
    async measure(proxy, seconds) {
      const tunnels = await openTunnels(proxy.port, connections);
      const figures = await cpuPerOperation(proxy, "message and back", () =>
        echo(tunnels, seconds),
      );
      for (const tunnel of tunnels) tunnel.destroy();
      return figures;
    },
  };
}

async function cpuPerOperation(
  proxy: Contender,
  operation: string,
  load: () => Promise<number>,
): Promise<Figures> {
  const { outcome: operations, seconds, cpuUs, otherLoad } = await measureCpu(proxy, load);
  return {
    [`µs CPU per ${operation}`]: cpuUs / operations,
    "per second": operations / seconds,
    [OTHER_LOAD]: otherLoad,
  };
}

/** Small GETs at a fixed rate. */
async function paced(proxy: Contender, perSecond: number, seconds: number): Promise<Figures> {
  const load = await openPacedLoad({
    port: proxy.port,
    perSecond,
    seconds,
    connections: PACED_CONNECTIONS,
  });
  const { outcome, cpuUs, otherLoad } = await measureCpu<PacedOutcome>(proxy, load);
  return {
    "µs CPU per request": cpuUs / outcome.operations,
    "µs latency, p50": outcome.p50Us,
    "µs latency, p99": outcome.p99Us,
    "per second": outcome.operations / outcome.seconds,
    [OTHER_LOAD]: otherLoad,
  };
}

async function measureCpu<T>(
  { program }: Contender,
  load: () => Promise<T>,
): Promise<{ outcome: T; seconds: number; cpuUs: number; otherLoad: number }> {
  const busyBefore = measuredCoreBusyNs();
  const cpuBefore = program.cpuNs();
  const startMs = performance.now();
  const outcome = await load();
  const seconds = (performance.now() - startMs) / 1000;
  const cpuNs = program.cpuNs() - cpuBefore;
  const otherNs = measuredCoreBusyNs() - busyBefore - cpuNs;
  return { outcome, seconds, cpuUs: cpuNs / 1000, otherLoad: otherNs / 1e7 / seconds };
}

/** Latency in the first second is that of the starting program, and of the load's own process. */
function cpuOnly(figures: Figures): Figures {
  return Object.fromEntries(Object.entries(figures).filter(([unit]) => !unit.includes("latency")));
}

/** What each idle WebSocket adds to the private memory of a proxy that has some already. */
async function idleTunnel(proxy: Contender): Promise<Figures> {
  const first = await openTunnels(proxy.port, FIRST_TUNNELS);
  const before = proxy.program.privateBytes();
  const tunnels = await openTunnels(proxy.port, IDLE_TUNNELS);
  const after = proxy.program.privateBytes();
  for (const tunnel of [...first, ...tunnels]) tunnel.destroy();
  return { "KiB of memory": (after - before) / 1024 / IDLE_TUNNELS };
}
