/** Each fault, how it ends, and the alert that must report it. */
import { spawnSync } from "node:child_process";
import { connect, type Socket } from "node:net";
import { fetch } from "undici";
import { newIncarnation } from "../../../shared/base/ids.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";
import { CLUSTER_SECRET, launch } from "../../../test/support/cluster.ts";
import { type AlertsEdge, MAX_CONNECTIONS, type Place, type WorkerPlace } from "./edge.ts";
import type { RelayFault } from "./relay.ts";

export interface AlertFault {
  readonly name: string;
  /** Without the prefix of all alerts. */
  readonly alert: string;
  /** Begins the fault; resolves, when it has begun, with what ends it. */
  begin(edge: AlertsEdge): Promise<End>;
}

type End = () => Promise<void>;

/**
 * The faults of the benchmark `faults` (kill, stop, refuse, blackhole, slow, rolling), and those of the store, the disk and
 * clients. Two with the same alert are apart from each other, so that the first one's alert has ended.
 */
export const ALERT_FAULTS: readonly AlertFault[] = [
  { name: "rolling restart of the workers", alert: "ProcessRestarted", begin: restartAll },
  { name: "disk full at a balancer", alert: "LogLinesDropped", begin: fillDisk },
  { name: "worker killed", alert: "WorkerDown", begin: killWorker },
  { name: "clients send garbage", alert: "RequestsRefused", begin: sendGarbage },
  atWorker("worker refuses connections", "WorkerUnhealthy", "refuse"),
  { name: "Redis is full", alert: "StoreFull", begin: fillRedis },
  { name: "worker hangs (SIGSTOP)", alert: "WorkerDown", begin: stopWorker },
  { name: "certificate ends in 10 days", alert: "CertificateExpiresSoon", begin: ageCertificate },
  atWorker("worker responds 400 ms late", "ResponsesSlow", "slow"),
  { name: "another secret", alert: "MembersIgnored", begin: startStranger },
  atWorker("worker unreachable (black hole)", "WorkerUnhealthy", "swallow"),
  { name: "Redis hangs (SIGSTOP)", alert: "StoreAway", begin: stopRedis },
  { name: "worker stalls 700 ms each second", alert: "LoopStalls", begin: stallWorker },
  { name: "members with different rings", alert: "RingsDiffer", begin: plantRing },
  { name: "worker cut off from Redis", alert: "StoreCutOff", begin: cutStore },
  atWorker("no links to a worker", "LinkDown", "no links"),
  {
    name: "balancer killed",
    alert: "BalancerDown",
    begin: ({ balancers }) => kill(first(balancers)),
  },
  atWorker("worker responds with garbage", "WorkerUnhealthy", "garbage"),
  { name: "worker killed, Redis hangs", alert: "WebSocketsWait", begin: killWithoutStore },
  { name: "Redis restarts empty", alert: "StoreLostRecords", begin: emptyRedis },
  { name: "balancer near its connection limit", alert: "ConnectionsNearLimit", begin: connectMany },
  { name: "all workers killed", alert: "NoWorker", begin: killAll },
];

function atWorker(name: string, alert: string, fault: RelayFault): AlertFault {
  return {
    name,
    alert,
    async begin({ workers }) {
      const { traffic } = await busiest(workers);
      await traffic.set(fault);
      return () => traffic.set("none");
    },
  };
}

function first<T>(places: readonly T[]): T {
  const [place] = places;
  if (place === undefined) throw new Error("there is none");
  return place;
}

/** The worker with most sessions: an idle one would be missed by fewer alerts. */
async function busiest(workers: readonly WorkerPlace[]): Promise<WorkerPlace> {
  const loads = await Promise.all(
    workers.map(async (worker) => ({ worker, sessions: await sessionsOf(worker) })),
  );
  return first(loads.sort((a, b) => b.sessions - a.sessions)).worker;
}

async function sessionsOf({ statusPort }: Place): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${statusPort}/metrics`)).text();
  return Number(/^codetogether_worker_sessions_active (\d+)$/m.exec(page)?.[1] ?? 0);
}

// --- processes ---

async function kill(place: Place): Promise<End> {
  await place.member.kill();
  return () => place.start();
}

async function killWorker({ workers }: AlertsEdge): Promise<End> {
  return kill(await busiest(workers));
}

async function killAll({ workers }: AlertsEdge): Promise<End> {
  const ends = await Promise.all(workers.map(kill));
  return async () => void (await Promise.all(ends.map((end) => end())));
}

async function restartAll({ workers }: AlertsEdge): Promise<End> {
  for (const place of workers) {
    await place.member.stop();
    await place.start();
  }
  return async () => {};
}

async function stopWorker({ workers }: AlertsEdge): Promise<End> {
  const { child } = (await busiest(workers)).member;
  child.kill("SIGSTOP");
  return async () => void child.kill("SIGCONT");
}

async function stallWorker({ workers }: AlertsEdge): Promise<End> {
  const { child } = (await busiest(workers)).member;
  const stalls = setInterval(() => {
    child.kill("SIGSTOP");
    setTimeout(() => child.kill("SIGCONT"), 700);
  }, 1000);
  return async () => {
    clearInterval(stalls);
    child.kill("SIGCONT");
  };
}

async function startStranger({ redis }: AlertsEdge): Promise<End> {
  const run = launch("worker", {
    env: {
      CT_REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      CT_LOGIN_SIMPLE: "on",
      CT_WORKER_ID: "stranger",
      CT_SECRET: "another secret, which the others do not know",
    },
  });
  await run.ready();
  return () => run.kill();
}

/** Files of the balancer cannot grow, as on a full disk: Node ignores SIGXFSZ, and writes fail. */
async function fillDisk({ balancers }: AlertsEdge): Promise<End> {
  const { pid } = first(balancers).member.child;
  const limit = (bytes: string): void => {
    spawnSync("prlimit", ["--pid", String(pid), `--fsize=${bytes}:unlimited`]);
  };
  limit("0");
  return async () => limit("unlimited");
}

async function ageCertificate({ writeCertificate }: AlertsEdge): Promise<End> {
  await writeCertificate(10);
  return () => writeCertificate(365);
}

// --- the store ---

async function stopRedis({ redis }: AlertsEdge): Promise<End> {
  redis.pause();
  return async () => redis.resume();
}

/** No other worker can take the sessions over. */
async function killWithoutStore(edge: AlertsEdge): Promise<End> {
  const endStop = await stopRedis(edge);
  const endKill = await killWorker(edge);
  return async () => {
    await endStop();
    await endKill();
  };
}

async function emptyRedis({ redis }: AlertsEdge): Promise<End> {
  await redis.kill();
  await redis.start();
  return async () => {};
}

async function fillRedis({ admin }: AlertsEdge): Promise<End> {
  await admin.config("SET", "maxmemory", "1");
  return async () => void (await admin.config("SET", "maxmemory", "0"));
}

async function cutStore({ storeOfLast }: AlertsEdge): Promise<End> {
  await storeOfLast.set("swallow");
  return () => storeOfLast.set("none");
}

/** A balancer's record with a ring that no other member has, renewed like a heartbeat. */
async function plantRing({ admin }: AlertsEdge): Promise<End> {
  const id = "balancer-other";
  const incarnation = newIncarnation();
  const record = {
    kind: "balancer",
    id,
    incarnation,
    statusUrl: "http://127.0.0.1:1081",
    version: "0.0.0",
    ringFingerprint: "fedcba9876543210",
    secretFingerprint: deriveKeys(CLUSTER_SECRET).fingerprint,
  };
  const renew = async (): Promise<void> => {
    const [seconds = "0"] = (await admin.time()).map(String);
    await admin
      .multi()
      .set(`{ct}:member:${id}`, incarnation + JSON.stringify(record), "PX", 5000)
      .zadd("{ct}:members", Number(seconds) * 1000, id)
      .exec();
  };
  await renew();
  const heartbeats = setInterval(() => void renew(), 500);
  return async () => {
    clearInterval(heartbeats);
    await admin.multi().del(`{ct}:member:${id}`).zrem("{ct}:members", id).exec();
  };
}

// --- clients ---

async function sendGarbage({ balancers }: AlertsEdge): Promise<End> {
  const { port } = first(balancers).member;
  const sending = setInterval(() => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.end("\u0016\u0003\u0001 no HTTP\r\n\r\n");
    socket.resume();
  }, 50);
  return async () => clearInterval(sending);
}

/** Connections that send nothing; the balancer closes each after a while, and another one is opened. */
async function connectMany({ balancers }: AlertsEdge): Promise<End> {
  const { port } = first(balancers).member;
  const sockets = new Set<Socket>();
  const fill = setInterval(() => {
    while (sockets.size < MAX_CONNECTIONS) {
      const socket = connect({ port, host: "127.0.0.1" });
      sockets.add(socket);
      socket.on("error", () => {});
      socket.resume();
      socket.once("close", () => sockets.delete(socket));
    }
  }, 200);
  return async () => {
    clearInterval(fill);
    for (const socket of sockets) socket.destroy();
  };
}
