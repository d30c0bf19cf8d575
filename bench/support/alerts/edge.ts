/**
 * The edge whose faults raise alerts: a real Redis, two balancers and three workers on ports that stay the same over
 * restarts, relays in front of the workers and before Redis, and people who work in sessions throughout.
 */
import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { generate } from "selfsigned";
import { request } from "undici";
import { launch, type Member, sees } from "../../../test/support/cluster.ts";
import { type Line, openLine } from "../../../test/support/cut.ts";
import { freePort } from "../../../test/support/ports.ts";
import { settle, startRedis, type TestRedis } from "../../../test/support/redis.ts";
import { until } from "../../../test/support/until.ts";
import { startLightCrowd } from "./light-crowd.ts";
import type { Target } from "./prometheus.ts";
import { openRelay, type Relay } from "./relay.ts";

/** A process that is started again with the same settings. */
export interface Place {
  readonly id: string;
  readonly role: "balancer" | "worker";
  readonly statusPort: number;
  /** The process that runs there now, or the last one. */
  member: Member;
  start(): Promise<void>;
}

export interface WorkerPlace extends Place {
  /** Between balancers and this worker. */
  readonly traffic: Relay;
}

export interface AlertsEdge {
  readonly redis: TestRedis;
  readonly admin: Redis;
  readonly balancers: readonly Place[];
  readonly workers: readonly WorkerPlace[];
  /** Between the last worker and Redis. */
  readonly storeOfLast: Relay;
  readonly targets: readonly Target[];
  /** Replaces the certificate of the balancers. */
  readonly writeCertificate: (days: number) => Promise<void>;
  /** Resolves when every balancer uses every worker, and everybody is connected again. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export const MAX_CONNECTIONS = 200;
const WORKERS = 3;
const SESSIONS_PER_CROWD = 6;
const TALK_MS = 1000;
/** Small requests at each balancer, beside those of the sessions. */
const REQUEST_PERIOD_MS = 100;
const SETTLE_TIMEOUT_MS = 60_000;

export async function startAlertsEdge(folder: string): Promise<AlertsEdge> {
  const redis = await startRedis({ port: true });
  const admin = redis.admin();
  await settle(admin);
  const closers: (() => Promise<void>)[] = [() => redis.close()];
  const certificate = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  const writeCertificate = async (days: number): Promise<void> => {
    const notAfterDate = new Date(Date.now() + days * 86_400_000);
    const made = await generate([{ name: "commonName", value: "localhost" }], { notAfterDate });
    writeFileSync(certificate.key, made.private);
    writeFileSync(certificate.cert, made.cert);
  };
  await writeCertificate(365);
  const storeOfLast = await openRelay(await freePort(), redis.port);
  closers.push(() => storeOfLast.close());

  const workers: WorkerPlace[] = [];
  const balancers: Place[] = [];
  const close = async (): Promise<void> => {
    await Promise.all([...workers, ...balancers].map(({ member }) => member.kill()));
    for (const closer of closers.reverse()) await closer();
  };
  try {
    for (let i = 0; i < WORKERS; i++) {
      const redisPort = i === WORKERS - 1 ? storeOfLast.port : redis.port;
      const worker = await startWorker(`worker-${i + 1}`, redisPort);
      workers.push(worker);
      closers.push(() => worker.traffic.close());
    }
    for (let i = 0; i < 2; i++) {
      balancers.push(await startBalancer(`balancer-${i + 1}`, redis.port, folder, certificate));
    }
    for (const { member } of balancers) await sees(member, WORKERS);
    const people = await startPeople(balancers);
    closers.push(() => people.close());
    return {
      redis,
      admin,
      balancers,
      workers,
      storeOfLast,
      targets: [...balancers, ...workers].map(({ id, role, statusPort }) => ({
        job: `codetogether-${role}`,
        instance: id,
        statusPort,
      })),
      writeCertificate,
      settled: () => settled(balancers),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function settled(balancers: readonly Place[]): Promise<void> {
  for (const { member } of balancers) {
    await until(
      `${member.id} uses all workers`,
      async () => {
        const { workers, store } = (await member.view()) as {
          workers: readonly { status: string; state: string }[];
          store: { state: string };
        };
        const used = workers.filter(
          ({ status, state }) => status === "healthy" && state === "up",
        ).length;
        return used === WORKERS && store.state === "up";
      },
      SETTLE_TIMEOUT_MS,
    );
  }
}

// --- processes ---

async function startWorker(id: string, redisPort: number): Promise<WorkerPlace> {
  const [port, relayPort, statusPort] = [await freePort(), await freePort(), await freePort()];
  const traffic = await openRelay(relayPort, port);
  const env = {
    CT_REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    CT_LOGIN_SIMPLE: "on",
    CT_WORKER_ID: id,
    CT_WORKER_PORT: String(port),
    CT_WORKER_URL: `http://127.0.0.1:${relayPort}`,
    CT_STATUS_PORT: String(statusPort),
  };
  return Object.assign(await placeOf("worker", id, statusPort, env), { traffic });
}

async function startBalancer(
  id: string,
  redisPort: number,
  folder: string,
  certificate: { readonly cert: string; readonly key: string },
): Promise<Place> {
  const [port, statusPort] = [await freePort(), await freePort()];
  return placeOf("balancer", id, statusPort, {
    CT_REDIS_URL: `redis://127.0.0.1:${redisPort}`,
    CT_PORT: String(port),
    CT_TLS_CERT: certificate.cert,
    CT_TLS_KEY: certificate.key,
    CT_STATUS_PORT: String(statusPort),
    CT_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
    CT_LOG_DIR: join(folder, id),
  });
}

async function placeOf(
  role: "balancer" | "worker",
  id: string,
  statusPort: number,
  env: Readonly<Record<string, string>>,
): Promise<Place> {
  const place: Place = {
    id,
    role,
    statusPort,
    member: await launch(role, { env }).ready(),
    async start() {
      place.member = await launch(role, { env }).ready();
    },
  };
  return place;
}

// --- people ---

/** Half of the people come through each balancer, and go to the other one when theirs is away. */
async function startPeople(balancers: readonly Place[]): Promise<{ close(): Promise<void> }> {
  const ports = (): number[] => balancers.map(({ member }) => member.port);
  const fronts: Line[] = [await openLine(ports), await openLine(() => ports().reverse())];
  const crowds: ChildProcess[] = [];
  for (const { port } of fronts) {
    const url = `http://127.0.0.1:${port}`;
    crowds.push(await startLightCrowd({ url, sessions: SESSIONS_PER_CROWD, periodMs: TALK_MS }));
  }
  let sent = 0;
  const requests = setInterval(() => {
    for (const port of ports()) {
      // Different keys reach all workers.
      const headers = { ctstickiness: `key-${sent++ % 50}` };
      request(`http://127.0.0.1:${port}/api/meta`, { headers }).then(
        ({ body }) => body.dump(),
        // Its balancer is away.
        () => {},
      );
    }
  }, REQUEST_PERIOD_MS);
  return {
    async close() {
      clearInterval(requests);
      for (const crowd of crowds) crowd.kill("SIGKILL");
      for (const front of fronts) await front.close();
    },
  };
}
