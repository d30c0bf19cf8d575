/**
 * A full edge, for measurements and screenshots of the dashboard: a store with the records of many workers, which report like
 * real ones, and of sessions with people; and one real worker that serves the dashboard.
 */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../shared/base/clock.ts";
import { newIncarnation, newPeerId, newSessionId, type WorkerId } from "../../shared/base/ids.ts";
import { writeView } from "../../shared/cluster/status-reports.ts";
import { type WorkerReport, writeReport } from "../../shared/cluster/sums.ts";
import { createLog } from "../../shared/logs/log.ts";
import { deriveKeys } from "../../shared/settings/secret.ts";
import { connectEmbeddedStore } from "../../shared/store/embedded/client.ts";
import { startStoreServer } from "../../shared/store/embedded/server.ts";
import type { MemberRecord, WorkerRecord } from "../../shared/store/member.ts";
import type { SessionRecord, Store } from "../../shared/store/store.ts";
import { freePort } from "../../test/support/ports.ts";
import { type Program, start } from "./process.ts";

export const OPERATOR = { username: "ops", password: "for this benchmark only" };

export interface Crowd {
  /** URL of the real worker, which collects garbage on SIGUSR2. */
  readonly url: string;
  readonly worker: Program;
  readonly store: Store;
  writeLines(lines: readonly string[]): void;
  close(): Promise<void>;
}

const SECRET = "a secret used only by this benchmark";
const BALANCERS = 2;
const CLIENTS = ["vscode", "intellij", "eclipse", "browser"];
const GUESTS = 2;
const HEARTBEAT_MS = 1000;
const VIEW_MS = 5000;
const TTL_MS = 15_000;

export async function startCrowd(size: {
  readonly workers: number;
  readonly sessions: number;
  readonly core?: string;
}): Promise<Crowd> {
  const folder = mkdtempSync(join(tmpdir(), "edge-crowd-"));
  const logDir = join(folder, "logs");
  mkdirSync(logDir);
  const log = createLog({ name: "crowd", level: "error", format: "text", sink: process.stderr });
  const server = await startStoreServer({ dataDir: join(folder, "data"), clock: systemClock, log });
  const store = connectEmbeddedStore({ socketPath: server.socketPath, clock: systemClock, log });
  await store.timeMs();
  const crowd = await fillStore(store, size);
  const port = await freePort();
  const worker = await start({
    command: [
      process.execPath,
      "--expose-gc",
      "--import",
      "data:text/javascript,process.on('SIGUSR2',()=>{globalThis.gc();globalThis.gc()})",
      new URL("../../dist/worker/main.js", import.meta.url).pathname,
    ],
    core: size.core,
    port,
    env: {
      CT_STORE_SOCKET: server.socketPath,
      CT_SECRET: SECRET,
      CT_WORKER_ID: "worker-real",
      CT_WORKER_PORT: String(port),
      CT_STATUS_PORT: "0",
      CT_LOG_DIR: logDir,
      CT_DASHBOARD_USER: OPERATOR.username,
      CT_DASHBOARD_PASSWORD: OPERATOR.password,
    },
  });
  return {
    url: `http://127.0.0.1:${port}`,
    worker,
    store,
    writeLines: (lines) =>
      appendFileSync(join(logDir, "server.log"), lines.map((line) => `${line}\n`).join("")),
    async close() {
      await worker.end();
      crowd.stop();
      await store.close();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Writes workers and their sessions; until `stop` they send heartbeats and changing reports. */
async function fillStore(
  store: Store,
  size: { readonly workers: number; readonly sessions: number },
): Promise<{ stop(): void }> {
  const workers = Array.from({ length: size.workers }, (_, i) => workerOf(i, size));
  const balancers = Array.from({ length: BALANCERS }, (_, i) => balancerOf(i));
  const members = [...workers, ...balancers];
  for (const member of members) await store.announce(member);
  const sessions: SessionRecord[] = [];
  for (let i = 0; i < size.sessions; i++) {
    const owner = workers[i % workers.length];
    if (owner !== undefined) sessions.push(await putSession(store, owner, i));
  }
  let round = 0;
  const publish = (): void => {
    round++;
    for (const [i, { id }] of balancers.entries()) {
      const view = writeView({
        role: "balancer",
        uptimeMs: 86_400_000 * (i + 3) + round * VIEW_MS,
        rssBytes: (80 + i * 3) * 2 ** 20,
        connections: Math.round((size.sessions * (GUESTS + 1)) / BALANCERS) + i,
        tunnels: Math.round((size.sessions * (GUESTS + 1)) / BALANCERS) - i,
        workers: workers.map((worker) => ({ id: worker.id, status: "healthy" as const })),
        certificates: [{ names: "DNS:edge.example.com", expiresInMs: 61 * 86_400_000 }],
      });
      void store.put({ kind: "view", key: id, text: view, ttlMs: TTL_MS });
    }
    for (const [i, member] of workers.entries()) {
      void store.put({
        kind: "usage",
        key: member.id,
        text: writeReport(usageOf(member)),
        ttlMs: TTL_MS,
      });
      const own = sessions.filter(({ owner }) => owner === member.id);
      const view = writeView({
        role: "worker",
        uptimeMs: 86_400_000 * (i + 1) + round * VIEW_MS,
        rssBytes: (90 + ((i * 7 + round) % 60)) * 2 ** 20,
        restarts: i % 9 === 4 ? 1 : 0,
        // One session in five is idle, the others are active.
        sessions: own.map(({ id, peers }, at) => ({
          id,
          bytes: (at + 1) * 40_000 + (at % 5 === 0 ? 0 : round * 1000),
          idleMs: at % 5 === 0 ? round * VIEW_MS : (at * 137) % 4000,
          connected: peers.slice(at % 11 === 3 ? 1 : 0).map((peer) => peer.id),
        })),
      });
      void store.put({ kind: "view", key: member.id, text: view, ttlMs: TTL_MS });
    }
  };
  publish();
  const heartbeat = setInterval(() => {
    for (const member of members) void store.renew(member);
  }, HEARTBEAT_MS);
  const views = setInterval(publish, VIEW_MS);
  return {
    stop() {
      clearInterval(heartbeat);
      clearInterval(views);
    },
  };
}

function workerOf(
  i: number,
  { workers, sessions }: { readonly workers: number; readonly sessions: number },
): WorkerRecord {
  const own = Math.ceil((sessions - i) / workers);
  return {
    kind: "worker",
    id: `worker-${String(i + 1).padStart(2, "0")}` as WorkerId,
    incarnation: newIncarnation(),
    url: `http://10.0.0.${i + 1}:3001`,
    statusUrl: `http://10.0.0.${i + 1}:4001`,
    version: "0.1.0",
    zone: "",
    weight: 1,
    state: i % 17 === 5 ? "suspended" : "up",
    load: { sessions: own, connections: own * (GUESTS + 1), lagMs: 0.3 + (i % 7) / 10 },
    ringFingerprint: "",
    secretFingerprint: deriveKeys(SECRET).fingerprint,
  };
}

function balancerOf(i: number): MemberRecord {
  return {
    kind: "balancer",
    id: `balancer-${i + 1}` as WorkerId,
    incarnation: newIncarnation(),
    statusUrl: `http://10.0.1.${i + 1}:1081`,
    version: "0.1.0",
    ringFingerprint: "",
    secretFingerprint: deriveKeys(SECRET).fingerprint,
  };
}

function usageOf({ incarnation, id, load }: WorkerRecord): WorkerReport {
  const { sessions, connections, lagMs } = load;
  const users = Array.from({ length: connections }, (_, i) =>
    `${id}${i}`.slice(-11).padStart(11, "x"),
  );
  return { incarnation, users: new Set(users), recent: new Set(), sessions, connections, lagMs };
}

async function putSession(store: Store, owner: MemberRecord, i: number): Promise<SessionRecord> {
  const sessionId = newSessionId();
  const created = await store.createSession({
    sessionId,
    owner: owner.id,
    incarnation: owner.incarnation,
    userId: `user-${i}`,
    maxPerUser: 10,
  });
  if (created.outcome !== "created") throw new Error(`not created: ${created.outcome}`);
  const holder = { sessionId, owner: owner.id, epoch: created.record.epoch };
  await store.changeSession(holder, { kind: "open" });
  for (let seat = 0; seat <= GUESTS; seat++) {
    await store.changeSession(holder, {
      kind: "put-peer",
      peer: {
        id: newPeerId(),
        host: seat === 0,
        user: { id: `user-${i}-${seat}`, name: `Person ${i}.${seat}` },
        publicKey: "",
        client: CLIENTS[(i + seat) % CLIENTS.length] ?? "",
        compression: [],
        tokenId: `token-${i}-${seat}`,
        settled: true,
      },
    });
  }
  const record = await store.findSession(sessionId);
  if (record === undefined) throw new Error("the session was not stored");
  return record;
}
