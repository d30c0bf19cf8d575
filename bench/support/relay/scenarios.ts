/** What relay.ts measures at each pair of a proxy and a server. A measurement returns figures by their units. */
import { openPacedLoad } from "../paced-load.ts";
import { measuredCoreBusyNs } from "../process.ts";
import { type Figures, OTHER_LOAD } from "../rounds.ts";
import type { Load } from "./load.ts";
import type { Pair } from "./pairs.ts";
import type { OpenSessions } from "./parts.ts";

export interface Scenario {
  readonly name: string;
  /** The people of the load; without it there are none. */
  readonly sessions?: Pick<OpenSessions, "sessions" | "people" | "frames">;
  /** Each round starts new processes, without a warm-up. */
  readonly isFresh?: true;
  /** The proxy has another core than the server, which the load is to fill alone. */
  readonly isOnTwoCores?: true;
  readonly measure: Measurement;
  /** Other load than the measured one before the first round. */
  readonly warmUp?: Measurement;
}

/** Loads the pair for about `seconds`. */
export type Measurement = (pair: Pair, load: Load, seconds: number) => Promise<Figures>;

const DELIVERED = "delivered message";
/** Rates at which a program has warmed up after 5 s. */
const WARM = { delivered: 18_000, requests: 3000 };
const REQUEST_CONNECTIONS = 64;
const IDLE = { first: 1000, more: 2000 };
/** The knee: the first rate, and the factor from one to the next. */
const FIRST_RATE = 20_000;
const NEXT_RATE = 1.15;
const MAX_RATE = 200_000;
/** A rate is reached when this share of its messages has arrived at the load's end. */
const REACHED = 0.97;
/** Rates in a row that are not reached. */
const MAX_MISSED = 2;

const ONE_AND_NINE = { sessions: 1, people: 10, frames: "broadcast" } as const;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "1 host and 9 guests, 18,000 delivered/s",
    sessions: ONE_AND_NINE,
    measure: (pair, load, seconds) => relayed(pair, load, 18_000, seconds),
  },
  {
    name: "100 sessions of a host and 2 guests, 6,000 delivered/s",
    sessions: { sessions: 100, people: 3, frames: "broadcast" },
    measure: (pair, load, seconds) => relayed(pair, load, 6000, seconds),
  },
  {
    name: "1 host and 9 guests, 2,000 delivered/s",
    sessions: ONE_AND_NINE,
    measure: (pair, load, seconds) => relayed(pair, load, 2000, seconds),
    // At 2,000/s a program would still be warming up long after the warm-up.
    warmUp: (pair, load, seconds) => relayed(pair, load, WARM.delivered, seconds),
  },
  echo(100),
  echo(1000),
  {
    name: "small GET, 3,000/s",
    measure: (pair, _load, seconds) => requests(pair, seconds),
  },
  { name: "idle WebSocket", isFresh: true, measure: idleWebSockets },
  {
    name: "1 host and 9 guests, as many as are delivered",
    sessions: ONE_AND_NINE,
    isOnTwoCores: true,
    measure: (pair, load, seconds) => knee(pair, load, seconds, FIRST_RATE),
    warmUp: (pair, load, seconds) => relayed(pair, load, WARM.delivered, seconds),
  },
];

/** Edits of all people in turn, each to all others of its session. */
export async function relayed(
  pair: Pair,
  load: Load,
  deliveredPerSecond: number,
  seconds: number,
): Promise<Figures> {
  const run = await load.prepare({ deliveredPerSecond, seconds });
  const { outcome, ...costs } = await measureCosts(pair, run);
  const { expected, delivered, p50Us, p99Us } = outcome;
  return {
    ...cpuFigures(costs, delivered, DELIVERED),
    "µs latency, p50": p50Us,
    "µs latency, p99": p99Us,
    "% of the messages delivered": (delivered / expected) * 100,
    [OTHER_LOAD]: otherLoad(pair, costs),
  };
}

/**
 * Pairs of people, each of whom sends a notification to the other when the other's has arrived: one message in on one
 * WebSocket, and one out on another. A worker has no cheaper round trip, because it sends nothing back to its sender.
 */
function echo(connections: number): Scenario {
  return {
    name: `WebSocket echo, ${connections.toLocaleString("en")} connections`,
    sessions: { sessions: connections / 2, people: 2, frames: "notification" },
    async measure(pair, load, seconds) {
      const { outcome, ...costs } = await measureCosts(pair, () => load.echo(seconds));
      return {
        ...cpuFigures(costs, outcome.delivered, "message"),
        "per second": outcome.inTime / outcome.seconds,
        [OTHER_LOAD]: otherLoad(pair, costs),
      };
    },
  };
}

async function requests(pair: Pair, seconds: number): Promise<Figures> {
  const run = await openPacedLoad({
    port: pair.port,
    path: "/api/meta",
    perSecond: WARM.requests,
    seconds,
    connections: REQUEST_CONNECTIONS,
  });
  const { outcome, ...costs } = await measureCosts(pair, run);
  return {
    ...cpuFigures(costs, outcome.operations, "request"),
    "µs latency, p50": outcome.p50Us,
    "µs latency, p99": outcome.p99Us,
    [OTHER_LOAD]: otherLoad(pair, costs),
  };
}

/** What each of many adds to the private memory of both processes, which have some already. */
async function idleWebSockets({ port, proxy, server }: Pair, load: Load): Promise<Figures> {
  await load.openIdle(port, IDLE.first);
  const before = { proxy: proxy.privateBytes(), server: server.privateBytes() };
  await load.openIdle(port, IDLE.more);
  const kib = (bytes: number): number => bytes / 1024 / IDLE.more;
  const ofProxy = kib(proxy.privateBytes() - before.proxy);
  const ofServer = kib(server.privateBytes() - before.server);
  return {
    "KiB of memory, both": ofProxy + ofServer,
    "KiB of memory, proxy": ofProxy,
    "KiB of memory, server": ofServer,
  };
}

/** Raises the rate until messages arrive late. Once may be the fault of other programs on the machine. */
export async function knee(
  pair: Pair,
  load: Load,
  seconds: number,
  firstRate: number,
): Promise<Figures> {
  let best: Figures = {};
  let missed = 0;
  for (let rate = firstRate; rate < MAX_RATE && missed < MAX_MISSED; rate *= NEXT_RATE) {
    const run = await load.prepare({ deliveredPerSecond: rate, seconds });
    const { outcome, ...costs } = await measureCosts(pair, run);
    const perSecond = outcome.inTime / outcome.seconds;
    if (perSecond > (best["delivered per second"] ?? 0)) {
      best = {
        "delivered per second": perSecond,
        "delivered per second of the server's CPU time": (outcome.delivered / costs.serverUs) * 1e6,
        ...cpuFigures(costs, outcome.delivered, DELIVERED),
        "% of a core, server": costs.serverUs / 1e4 / costs.seconds,
        "% of a core, proxy": costs.proxyUs / 1e4 / costs.seconds,
        "µs latency, p99": outcome.p99Us,
        [OTHER_LOAD]: otherLoad(pair, costs),
      };
    }
    missed = outcome.inTime < outcome.expected * REACHED ? missed + 1 : 0;
  }
  return best;
}

// --- costs ---

interface Costs {
  readonly seconds: number;
  readonly proxyUs: number;
  readonly serverUs: number;
  /** Of the measured core. */
  readonly busyUs: number;
}

export async function measureCosts<T>(
  { proxy, server }: Pair,
  load: () => Promise<T>,
): Promise<Costs & { outcome: T }> {
  const read = () => ({
    atMs: performance.now(),
    busyNs: measuredCoreBusyNs(),
    proxyNs: proxy.cpuNs(),
    serverNs: server.cpuNs(),
  });
  const before = read();
  const outcome = await load();
  const after = read();
  return {
    outcome,
    seconds: (after.atMs - before.atMs) / 1000,
    proxyUs: (after.proxyNs - before.proxyNs) / 1000,
    serverUs: (after.serverNs - before.serverNs) / 1000,
    busyUs: (after.busyNs - before.busyNs) / 1000,
  };
}

function cpuFigures({ proxyUs, serverUs }: Costs, operations: number, operation: string): Figures {
  return {
    [`µs CPU per ${operation}, both`]: (proxyUs + serverUs) / operations,
    [`µs CPU per ${operation}, proxy`]: proxyUs / operations,
    [`µs CPU per ${operation}, server`]: serverUs / operations,
  };
}

function otherLoad({ placement }: Pair, costs: Costs): number {
  const { busyUs, proxyUs, serverUs, seconds } = costs;
  return (busyUs - serverUs - (placement === "one" ? proxyUs : 0)) / 1e4 / seconds;
}
