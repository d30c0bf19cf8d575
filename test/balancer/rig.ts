/**
 * A balancer's data path in this process, with workers that are raw TCP servers of the test, and raw clients: every byte
 * on both sides comes from the test.
 */

import { createServer } from "node:net";
import { request } from "undici";
import type { SavedOwner } from "../../balancer/discovery/snapshot.ts";
import type { DownstreamLimits } from "../../balancer/downstream/served-client.ts";
import { createTrustedProxies } from "../../balancer/http1/forwarding.ts";
import { DEFAULT_HTTP_LIMITS } from "../../balancer/http1/limits.ts";
import type { Limits } from "../../balancer/limits/limiter.ts";
import { createRequestLog, type RequestLog } from "../../balancer/logs/request-log.ts";
import { type DataPath, startDataPath } from "../../balancer/server/data-path.ts";
import { findDirectReads } from "../../balancer/transport/accepted-reads.ts";
import { createNetTransport } from "../../balancer/transport/net.ts";
import type { TlsCertificate, Transport } from "../../balancer/transport/transport.ts";
import type { LinkTargets } from "../../balancer/upstreams/link-target.ts";
import type { MigrateRequests } from "../../balancer/upstreams/migrate-clients.ts";
import type { Probe } from "../../balancer/upstreams/probe.ts";
import { type Clock, systemClock } from "../../shared/base/clock.ts";
import {
  type Incarnation,
  newIncarnation,
  type SessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import { type WorkerTag, workerTag } from "../../shared/base/worker-tag.ts";
import { createRing, type Ring } from "../../shared/membership/ring.ts";
import { type Counters, createCounters } from "../../shared/metrics/metrics.ts";
import { edgeProof } from "../../shared/net/edge-headers.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { SessionRecord } from "../../shared/store/store.ts";
import { atEnd } from "../support/at-end.ts";
import type { PemPair } from "../support/certificates.ts";
import { IS_LINKED } from "../support/link-mode.ts";
import { createLinkedTransport } from "../support/linked-transport.ts";
import { silentLog } from "../support/logs.ts";
import { closed, listen, serveHttp } from "../support/servers.ts";
import { BALANCER_DEFAULTS } from "../support/settings.ts";
import { connectRaw, RawSocket } from "../support/sockets.ts";
import { until } from "../support/until.ts";

export const RING_KEY = Buffer.alloc(32, 1);
export const TOKEN_KEY = Buffer.alloc(32, 3);
export const EDGE_KEY = Buffer.alloc(32, 2);

// --- membership that the test changes ---

export interface FakeView {
  workers: readonly WorkerRecord[];
  ring: Ring;
  byTag(tag: WorkerTag): WorkerRecord | undefined;
  onChange(listener: () => void): () => void;
  /** Replaces the members, as a new snapshot does. */
  set(workers: readonly WorkerRecord[]): void;
}

export function createView(workers: readonly WorkerRecord[]): FakeView {
  const listeners = new Set<() => void>();
  const view: FakeView = {
    workers,
    ring: createRing(workers, RING_KEY),
    byTag: (tag) => view.workers.find(({ id, incarnation }) => workerTag(id, incarnation) === tag),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    set(next) {
      view.workers = next;
      view.ring = createRing(next, RING_KEY);
      for (const listener of listeners) listener();
    },
  };
  return view;
}

const NO_STATUS = "http://127.0.0.1:1";

export function workerRecord(
  id: string,
  port: number,
  more: Partial<WorkerRecord> = {},
): WorkerRecord {
  return {
    kind: "worker",
    id: id as WorkerId,
    incarnation: newIncarnation() as Incarnation,
    url: `http://127.0.0.1:${port}`,
    statusUrl: NO_STATUS,
    version: "1.0.0",
    zone: "",
    weight: 1,
    state: "up",
    load: { sessions: 0, connections: 0, lagMs: 0 },
    ringFingerprint: "",
    secretFingerprint: "00000000",
    ...more,
  };
}

// --- workers ---

/** A worker of the test, and what it got on each connection. */
export interface RawWorker {
  readonly port: number;
  readonly connections: RawSocket[];
  /** The `index`-th connection, once it is there. */
  connection(index: number): Promise<RawSocket>;
  /** The same once it has got a head, which is taken out of its text. */
  withHead(index: number): Promise<RawSocket>;
  /** Refuses new connections; open ones stay. */
  stopListening(): void;
  close(): Promise<void>;
}

/** Starts a server that calls `onData` whenever a connection has got more; closed at the end. */
export async function startRawWorker(
  onData: (socket: RawSocket, server: RawWorker) => void = () => {},
  port = 0,
): Promise<RawWorker> {
  const connections: RawSocket[] = [];
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const raw = new RawSocket(socket);
    connections.push(raw);
    socket.on("data", () => onData(raw, worker));
  });
  const worker: RawWorker = {
    port: await listen(server, port),
    connections,
    connection: (index) => until(`connection ${index} of a worker`, () => connections[index]),
    async withHead(index) {
      const connection = await worker.connection(index);
      await connection.head();
      return connection;
    },
    stopListening: () => void server.close(),
    close() {
      for (const { socket } of connections) socket.destroy();
      return closed(server);
    },
  };
  return worker;
}

/** A worker that responds to each request without a body with what `response` returns for its head. */
export function startSimpleWorker(
  response: (head: string, index: number) => string,
): Promise<RawWorker> {
  let index = 0;
  return startRawWorker((socket) => {
    for (let head = socket.takeHead(); head !== undefined; head = socket.takeHead()) {
      socket.write(response(head, index++));
    }
  });
}

/**
 * Probes `statusUrl`, so that the bytes on the traffic port are the test's. A record without one leaves its worker as
 * requests find it.
 */
export const quietProbe: Probe = {
  async ask({ statusUrl }) {
    if (statusUrl === NO_STATUS) return new Promise(() => {});
    const response = await request(statusUrl, { signal: AbortSignal.timeout(1000) });
    await response.body.dump();
  },
};

/** The URL of a status port that responds 200 to everything. */
export function startLiveStatus(): Promise<string> {
  return serveHttp((_request, response) => response.end("{}"));
}

// --- the balancer ---

export interface Rig {
  readonly path: DataPath;
  readonly view: FakeView;
  readonly counters: Counters;
  readonly bugs: unknown[];
  readonly requestLog: RequestLog;
  readonly port: number;
  /** Records in the store. */
  readonly records: Map<SessionKey, SessionRecord>;
  /** Lookups in the store. */
  lookups: number;
  /** A raw connection to the HTTP port, or to another one, by IPv4 or by another address. */
  client(port?: number, host?: string): Promise<RawSocket>;
  /** Such a connection to the HTTP port, which has sent `request`. */
  send(request: string | Buffer): Promise<RawSocket>;
  /** Sends `request` on a new connection and returns all that came until its end. */
  ask(request: string): Promise<string>;
  /** Resolves when there is no client and no request any more. */
  idle(): Promise<void>;
  /** Also done at the end, where `bugs` fail the test. */
  close(): Promise<void>;
}

const NO_LIMITS: Limits = { connections: 0, handshakes: 0, requests: 0, logins: 0, creates: 0 };

export interface RigOptions {
  workers?: readonly WorkerRecord[];
  limits?: Partial<DownstreamLimits & Record<"connectTimeoutMs" | "tlsHandshakeTimeoutMs", number>>;
  maxConnections?: number;
  maxRequestsPerWorker?: number;
  certificates?: readonly TlsCertificate[];
  /** The only one, for all names. */
  certificate?: PemPair;
  /** Responses to a certificate authority; none by default. */
  challenges?: Parameters<typeof startDataPath>[0]["challenges"];
  trusted?: readonly string[];
  takesProxyHeaders?: boolean;
  /** Per minute; none by default. */
  addressLimits?: Partial<Limits>;
  isDryRun?: boolean;
  /** Default: 127.0.0.1; undefined: as if CT_BIND were not set. */
  bind?: string | undefined;
  port?: number;
  transport?: Transport;
  /** Whether all connections to workers are streams of links; `TEST_LINK=on` makes it the default without `linkTarget`. */
  isLinked?: boolean;
  clock?: Clock;
  /** Where access.log and error.log go; nowhere by default. */
  logDir?: string;
  probe?: Probe;
  /** Default: workers without migrate support. */
  migrateRequests?: MigrateRequests;
  /** Default: no links. */
  linkTarget?: LinkTargets;
  /** Default: `EDGE_KEY`. */
  edgeKey?: Buffer;
  /** Default: true, as with a store. */
  isLeased?: boolean;
  savedOwners?: readonly SavedOwner[];
  beforePortsOpen?: () => Promise<void>;
}

/** As the product reads; `TEST_READS=data` is its fallback. */
const DIRECT_READS = process.env["TEST_READS"] === "data" ? undefined : await findDirectReads();

const LOG_LIMITS = { maxBytes: 1024 * 1024, maxFiles: 3 };

function onlyOne(pair: PemPair | undefined): readonly TlsCertificate[] {
  return pair === undefined ? [] : [{ ...pair, isFor: () => true }];
}

export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const view = createView(options.workers ?? []);
  const counters = createCounters();
  const bugs: unknown[] = [];
  const records = new Map<SessionKey, SessionRecord>();
  const clients: RawSocket[] = [];
  const limits = {
    ...DEFAULT_HTTP_LIMITS,
    ...BALANCER_DEFAULTS,
    headerTimeoutMs: 5000,
    bodyTimeoutMs: 5000,
    keepaliveTimeoutMs: 5000,
    upstreamTimeoutMs: 5000,
    tlsHandshakeTimeoutMs: 5000,
    ...options.limits,
  };
  const clock = options.clock ?? systemClock;
  const log = silentLog();
  const trusted = createTrustedProxies(options.trusted ?? []);
  const requestLog = createRequestLog({
    files:
      options.logDir === undefined ? undefined : { folder: options.logDir, limits: LOG_LIMITS },
    trusted,
    clock,
    log,
    counters,
  });
  const reportBug = (error: unknown): void => void bugs.push(error);
  const net = options.transport ?? createNetTransport({ reportBug, directReads: DIRECT_READS });
  const linked =
    (options.isLinked ?? (IS_LINKED && options.linkTarget === undefined))
      ? createLinkedTransport(net, reportBug)
      : undefined;
  const path = await startDataPath({
    transport: linked ?? net,
    reportBug,
    discovery: {
      view,
      sessions: {
        async findSession(key) {
          rig.lookups++;
          return records.get(key);
        },
      },
      tokenKeys: { accepted: [TOKEN_KEY] },
      prove: ({ id, incarnation }) => edgeProof(options.edgeKey ?? EDGE_KEY, id, incarnation),
      probe: options.probe ?? quietProbe,
      migrateRequests:
        options.migrateRequests ?? (() => Promise.reject(new Error("the worker cannot migrate"))),
      linkTarget: options.linkTarget ?? (() => "unsupported"),
      onOtherIncarnation() {},
      isLeased: options.isLeased ?? true,
    },
    savedOwners: options.savedOwners ?? [],
    ...(options.beforePortsOpen && { beforePortsOpen: options.beforePortsOpen }),
    clock,
    log,
    counters,
    requestLog,
    trusted,
    takesProxyHeaders: options.takesProxyHeaders ?? false,
    addressLimits: {
      isDryRun: options.isDryRun ?? false,
      limits: { ...NO_LIMITS, ...options.addressLimits },
    },
    certificates: options.certificates ?? onlyOne(options.certificate),
    challenges: options.challenges,
    bind: "bind" in options ? options.bind : "127.0.0.1",
    port: options.port ?? 0,
    tlsPort: 0,
    maxConnections: options.maxConnections ?? 1000,
    maxRequestsPerWorker: options.maxRequestsPerWorker ?? 1000,
    connectTimeoutMs: limits.connectTimeoutMs,
    tlsHandshakeTimeoutMs: limits.tlsHandshakeTimeoutMs,
    limits,
  });
  let isClosed = false;
  const rig: Rig = {
    path,
    view,
    counters,
    bugs,
    requestLog,
    records,
    lookups: 0,
    port: path.listener.httpPort,
    async client(port = rig.port, host = "127.0.0.1") {
      const client = await connectRaw({ port, host, allowHalfOpen: true });
      clients.push(client);
      return client;
    },
    async send(request) {
      const client = await rig.client();
      client.write(request);
      return client;
    },
    async ask(request) {
      const client = await rig.send(request);
      await client.end();
      client.socket.destroy();
      return client.text;
    },
    async idle() {
      await until("all connections have ended", () => path.listener.connections === 0);
      await until("all requests have ended", () =>
        path.router.upstreams.every(({ inFlight }) => inFlight === 0),
      );
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      for (const client of clients) client.socket.destroy();
      path.close();
      linked?.close();
      requestLog.close();
    },
  };
  atEnd(async () => {
    await rig.close();
    if (bugs.length > 0) throw new AggregateError(bugs, "exceptions came out of handlers");
  });
  return rig;
}

/** A rig with one worker, `w1`. */
export interface Single {
  readonly worker: RawWorker;
  readonly record: WorkerRecord;
  readonly rig: Rig;
}

async function startSingle(worker: RawWorker, options: RigOptions): Promise<Single> {
  const record = workerRecord("w1", worker.port);
  return { worker, record, rig: await startRig({ ...options, workers: [record] }) };
}

/** The worker is that of `startRawWorker`. */
export async function startRawRig(
  onData?: (socket: RawSocket, worker: RawWorker) => void,
  options: RigOptions = {},
): Promise<Single> {
  return startSingle(await startRawWorker(onData), options);
}

/** The worker is that of `startSimpleWorker`. */
export async function startSimpleRig(
  response: (head: string, index: number) => string,
  options: RigOptions = {},
): Promise<Single> {
  return startSingle(await startSimpleWorker(response), options);
}

/** A rig whose worker has got the head of `request` and has not responded yet. */
export async function startExchange(
  request: string,
): Promise<Single & { readonly client: RawSocket; readonly upstream: RawSocket }> {
  const single = await startRawRig();
  const client = await single.rig.send(request);
  return { ...single, client, upstream: await single.worker.withHead(0) };
}

/** A key that the ring leads to `worker` first. */
export function keyFor(rig: Rig, worker: string): SessionKey {
  for (let i = 0; ; i++) {
    const key = `key-${i}` as SessionKey;
    if (rig.view.ring.first(key) === worker) return key;
  }
}

/** Resolves when `read` returns the same number twice, between two polls. */
export async function standsStill(what: string, read: () => number): Promise<void> {
  let before = -1;
  await until(what, () => {
    const now = read();
    const isStill = now === before;
    before = now;
    return isStill;
  });
}

/** The status of the first response in `text`. */
export function statusOf(text: string): number {
  return Number(/^HTTP\/1\.1 (\d\d\d)/.exec(text)?.[1]);
}

/** A complete response with this body. */
export function ok(body: string, fields = ""): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
}
