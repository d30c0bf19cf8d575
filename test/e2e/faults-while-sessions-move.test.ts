/**
 * Clients and processes that fail in the moment in which a session moves to another worker: on a real edge, one client of a
 * session at a time. The others notice nothing, and everyone is in the session afterwards.
 */
import { beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { startCluster } from "../support/cluster.ts";
import { runCommand } from "../support/command.ts";
import { type EdgeProcess, startEdge } from "../support/edge-process.ts";
import { countOf, waitingWebSockets } from "../support/status.ts";
import { openTrio, type Trio } from "../support/trio.ts";
import { until } from "../support/until.ts";
import { allAreUp, killWorker, whereSessionsAre } from "../support/worker-moves.ts";

const SLOW = { timeout: 90_000 };
const MIB = 1024 * 1024;

let edge: EdgeProcess;

beforeAll(async () => {
  edge = await startEdge({ env: { CT_WORKER_COUNT: "2" } });
});
beforeEach(() => allAreUp(edge));

async function openOnEdge(): Promise<Trio> {
  const trio = await openTrio(() => edge.httpPort);
  await trio.talk();
  await trio.faultyIsIn();
  return trio;
}

async function workerOf({ sessionId }: Trio): Promise<string> {
  const all = await whereSessionsAre(edge);
  const worker = all.find(({ sessionIds }) => sessionIds.includes(sessionId));
  if (worker === undefined) throw new Error("no worker has the session");
  return worker.id;
}

/** Drains the session's worker, which goes on running, so that its counters can be read. */
async function drain(trio: Trio): Promise<void> {
  const env = { CT_DATA_DIR: edge.dataDir };
  const id = await workerOf(trio);
  onTestFinished(async () => {
    await runCommand(["resume", id], env);
  });
  expect(await runCommand(["drain", id], env)).toMatchObject({ status: 0 });
  expect(await workerOf(trio)).not.toBe(id);
}

/** Resolves with how much a counter has risen since this was called. */
async function riseOf(name: string, tag: string): Promise<() => Promise<number>> {
  const before = await countOf(edge, name, tag);
  return async () => (await countOf(edge, name, tag)) - before;
}

const disconnects = ({ host, guest }: Trio): number =>
  host.disconnects.length + guest.disconnects.length;

/** The faulty client is back by a new connection. What it sends before it has read the end of the former one is lost. */
async function reconnected({ faulty, faultyIsIn }: Trio): Promise<void> {
  await until("it has reconnected", () => faulty.connects === 2, 30_000);
  await faultyIsIn();
}

/** Sends one large message of the faulty client, of which only a part gets through. */
function sendHalf({ faulty, host, valve }: Trio): void {
  valve.stopSendingAfter(3 * MIB);
  faulty.notify(host.id, "x".repeat(8 * MIB));
}

test(
  "a client that does not read while its session moves reconnects, and the others notice nothing",
  SLOW,
  async () => {
    const trio = await openOnEdge();
    const { host, faulty, valve } = trio;
    const slow = await riseOf("worker.resume.given", "slow");
    valve.stopReading();
    for (let sent = 0; sent < 20; sent++) host.notify(faulty.id, "x".repeat(MIB));
    await trio.talk();
    await drain(trio);
    await trio.talk();
    expect(await slow()).toBe(1);
    valve.readAgain();
    await reconnected(trio);
    expect(disconnects(trio)).toBe(0);
    expect(faulty.disconnects).toHaveLength(1);
  },
);

test(
  "a client that dies while its session moves leaves no WebSocket waiting, and the others notice nothing",
  SLOW,
  async () => {
    const trio = await openOnEdge();
    const moved = drain(trio);
    trio.valve.die();
    await moved;
    await trio.talk();
    expect(disconnects(trio)).toBe(0);
    await until(
      "no WebSocket waits",
      async () => (await waitingWebSockets(edge.readFile().statusPort)) === 0,
    );
  },
);

test(
  "a client within a long message reconnects when its session moves, and the others notice nothing",
  SLOW,
  async () => {
    const trio = await openOnEdge();
    const half = await riseOf("worker.resume.given", "half a message");
    sendHalf(trio);
    await trio.talk();
    await drain(trio);
    await trio.talk();
    expect(await half()).toBe(1);
    await reconnected(trio);
    expect(disconnects(trio)).toBe(0);
  },
);

test(
  "a client within a long message reconnects when its worker is killed, and the others notice nothing",
  SLOW,
  async () => {
    const trio = await openOnEdge();
    const unconfirmed = await riseOf("balancer.resume.closed", "unconfirmed bytes");
    sendHalf(trio);
    await trio.talk();
    const killed = killWorker(edge, await workerOf(trio));
    await trio.talk();
    await reconnected(trio);
    await allAreUp(edge, [killed]);
    expect(await unconfirmed()).toBe(1);
    expect(disconnects(trio)).toBe(0);
  },
);

test("a client that floods while its session moves costs the others nothing", SLOW, async () => {
  const trio = await openOnEdge();
  const { host, faulty } = trio;
  for (let sent = 0; sent < 4000; sent++) faulty.notify(host.id, `flood ${sent}`);
  await drain(trio);
  await trio.talk();
  await trio.faultyIsIn();
  expect(disconnects(trio)).toBe(0);
  const floods = host
    .contents("notification")
    .filter((text) => text.startsWith("flood "))
    .map((text) => Number(text.slice("flood ".length)));
  expect(floods).toEqual([...new Set(floods)].sort((a, b) => a - b));
});

test("a session survives when all workers are killed at the same moment", SLOW, async () => {
  const trio = await openOnEdge();
  const killed = edge.readFile().workers.map(({ id }) => killWorker(edge, id));
  await allAreUp(edge, killed);
  await trio.talk();
  await trio.faultyIsIn();
});

test(
  "a balancer that is stopped while WebSockets wait for a worker ends in time, and their clients come back by another one",
  SLOW,
  async () => {
    const cluster = await startCluster({ workers: 1, balancers: 2 });
    const [first, second] = cluster.balancers;
    const [worker] = cluster.workers;
    if (first === undefined || second === undefined || worker === undefined)
      throw new Error("none");
    let { port } = first;
    const trio = await openTrio(() => port);
    await trio.talk();
    await worker.kill();
    await until(
      "the WebSockets wait",
      async () => (await waitingWebSockets(first.statusPort)) === 3,
    );
    port = second.port;
    const askedMs = performance.now();
    expect((await first.stop()) - askedMs).toBeLessThan(15_000);
    await until("all have lost their connections", () => disconnects(trio) === 2);
    await cluster.addWorker();
    const isBack = () => trio.host.socket.connected && trio.guest.socket.connected;
    await until("host and guest are back", isBack, 30_000);
    await trio.talk();
    await trio.faultyIsIn();
  },
);
