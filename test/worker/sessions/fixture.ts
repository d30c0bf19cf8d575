/**
 * The sessions of one worker over a plain HTTP server, with a real embedded store: what the tests of this folder start.
 */

import { rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, createServer as createNetServer, type Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { onTestFinished } from "vitest";
import { type Clock, systemClock } from "../../../shared/base/clock.ts";
import { newIncarnation, type SessionId, type WorkerId } from "../../../shared/base/ids.ts";
import { type WorkerTag, workerTag } from "../../../shared/base/worker-tag.ts";
import { createLog, type Log } from "../../../shared/logs/log.ts";
import { createRing, type Ring } from "../../../shared/membership/ring.ts";
import { type Counters, createCounters } from "../../../shared/metrics/metrics.ts";
import { onlyKey } from "../../../shared/settings/keyring.ts";
import type { Slice } from "../../../shared/settings/read-settings.ts";
import { deriveKeys } from "../../../shared/settings/secret.ts";
import { connectEmbeddedStore } from "../../../shared/store/embedded/client.ts";
import { startStoreServer } from "../../../shared/store/embedded/server.ts";
import type { MemberRecord } from "../../../shared/store/member.ts";
import type { Store, UserRecord } from "../../../shared/store/store.ts";
import { createTokens, type Tokens } from "../../../worker/login/tokens.ts";
import { createAccess } from "../../../worker/policy/access.ts";
import type { Fence } from "../../../worker/sessions/fence.ts";
import type { OwnerProbe } from "../../../worker/sessions/owner-probe.ts";
import {
  createHandoverInbox,
  type HandoverInbox,
} from "../../../worker/sessions/pending-messages.ts";
import {
  createRegistry,
  type REGISTRY_SETTINGS,
  type Registry,
} from "../../../worker/sessions/registry.ts";
import {
  attachSockets,
  type SOCKET_SETTINGS,
  type Sockets,
} from "../../../worker/sessions/transport/socket.ts";
import { type JoinAnswer, joinAnswerSchema } from "../../../worker/sessions/wire/join-answer.ts";
import { createVersionCheck } from "../../../worker/sessions/wire/protocol.ts";
import { NO_ACTIVITY, NO_USAGE } from "../../support/activity.ts";
import { WORKER_DEFAULTS } from "../../support/settings.ts";
import { tempFolder } from "../../support/temp-folder.ts";
import { until } from "../../support/until.ts";
import { RawPeer, type RawPeerOptions, type WireMessage } from "./raw-peer.ts";

const RESUME_KEY = Buffer.alloc(32, "resume");

export const SECRET = "a secret for tests, and for tests only";
const KEYS = deriveKeys(SECRET);

export const HOST_USER: UserRecord = { id: "user-host", name: "Host", email: "host@example.com" };
export const GUEST_USER: UserRecord = { id: "user-guest", name: "Guest" };

export interface StoreFixture {
  /** Another client of the same store. */
  connect(): Store;
  /** Stops the store; `start` brings it back with the data of its journal. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Stops it, deletes its data, and starts it. */
  wipe(): Promise<void>;
}

/** A real embedded store, stopped when the test ends. */
export async function startStore(clock: Clock = systemClock): Promise<StoreFixture> {
  const folder = tempFolder();
  const dataDir = join(folder, "data");
  const log = silentLog();
  let server = await startStoreServer({ dataDir, clock, log });
  // Each start of the store listens on another socket; its clients get one path that stays.
  const socketPath = join(folder, "store.sock");
  const door = createNetServer((client) => pipeBoth(client, connect(server.socketPath)));
  await new Promise<void>((resolve) => door.listen(socketPath, resolve));
  const stores: Store[] = [];
  onTestFinished(async () => {
    for (const store of stores) await store.close();
    door.close();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    connect() {
      const store = connectEmbeddedStore({ socketPath, clock, log });
      stores.push(store);
      return store;
    },
    stop: () => server.close(),
    async start() {
      server = await startStoreServer({ dataDir, clock, log });
    },
    async wipe() {
      await server.close();
      rmSync(dataDir, { recursive: true });
      server = await startStoreServer({ dataDir, clock, log });
    },
  };
}

function pipeBoth(a: Socket, b: Socket): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
    from.pipe(to);
  }
}

export interface WorkerOptions {
  readonly store?: StoreFixture;
  readonly id?: string;
  readonly clock?: Clock;
  readonly settings?: Partial<Limits>;
  /** Protocol versions whose messages are relayed; by default 0.3. */
  readonly protocolVersions?: readonly string[];
  readonly ring?: () => Ring;
  /** Whether it may relay now; by default always. */
  readonly fence?: () => boolean;
  /** The state of another worker's port; by default each responds. */
  readonly owners?: OwnerProbe["look"];
}

type Limits = Slice<typeof REGISTRY_SETTINGS> & Slice<typeof SOCKET_SETTINGS>;

const LIMITS: Limits = { ...WORKER_DEFAULTS, maxAdmissionsPerSecond: 200 };

export interface WorkerFixture {
  readonly url: string;
  readonly port: number;
  readonly store: Store;
  readonly storeFixture: StoreFixture;
  readonly tokens: Tokens;
  readonly registry: Registry;
  /** Messages that arrived before the sessions that are handed over to it. */
  readonly handoverInbox: HandoverInbox;
  readonly sockets: Sockets;
  readonly tag: WorkerTag;
  readonly counters: Counters;
  /** TCP connections that became WebSockets and are still open. */
  readonly webSockets: ReadonlySet<Duplex>;
  /** A client that is closed when the test ends. */
  peer(roomToken: string, options?: Partial<RawPeerOptions>): RawPeer;
  /** A session whose host is connected. */
  openSession(): Promise<{ sessionId: SessionId; hostToken: string; host: RawPeer }>;
  /** Asks for a session and lets the host accept; the guest's room token. */
  invite(sessionId: SessionId, host: RawPeer, user?: UserRecord): Promise<string>;
  /** A connected guest. */
  joinSession(sessionId: SessionId, host: RawPeer, user?: UserRecord): Promise<RawPeer>;
  /** Writes its record to the store: its lease begins. */
  announce(): Promise<void>;
  /** Renews its lease. */
  heartbeat(): Promise<void>;
  /** Stops it as a process stops: connections are closed so that clients reconnect, records stay. */
  stop(): Promise<void>;
  /** Stops it as SIGKILL does, as far as clients and the store can see. */
  kill(): Promise<void>;
}

/** A worker's sessions, listening. With `port`, it replaces one that was stopped. */
export async function startWorker(
  options: WorkerOptions & { port?: number } = {},
): Promise<WorkerFixture> {
  const clock = options.clock ?? systemClock;
  const storeFixture = options.store ?? (await startStore());
  const store = storeFixture.connect();
  const counters = createCounters();
  const log = silentLog();
  const settings = { ...LIMITS, ...options.settings };
  const self = { id: (options.id ?? "worker-1") as WorkerId, incarnation: newIncarnation() };
  const tokens = createTokens({ keys: onlyKey(KEYS.token), clock, store });
  const ring = createRing([{ id: self.id, weight: 1 }], KEYS.ring);
  const fence: Pick<Fence, "look" | "hold"> = {
    look: () => ((options.fence?.() ?? true) ? "open" : "shut"),
    hold() {},
  };
  const handoverInbox = createHandoverInbox({ clock });
  const registry = createRegistry({
    usage: NO_USAGE,
    activity: NO_ACTIVITY,
    acceptsVersion: createVersionCheck(options.protocolVersions ?? ["0.3"]),
    store,
    clock,
    log,
    counters,
    tokens,
    relayKeys: onlyKey(KEYS.relay),
    settings,
    self,
    ring: options.ring ?? (() => ring),
    fence,
    handoverInbox,
    owners: { look: options.owners ?? (async () => ({ seen: "answers" })) },
  });
  const tag = workerTag(self.id, self.incarnation);
  const sockets = attachSockets({
    activity: NO_ACTIVITY,
    registry,
    tokens,
    counters,
    log,
    clock,
    fence,
    access: createAccess({ policy: undefined, store, clock }),
    settings,
    tag,
    resumeKeys: onlyKey(RESUME_KEY),
  });
  const record = memberRecord(self);
  await store.announce(record);
  const http = createServer((req, res) => sockets.handleRequest(req, res));
  const webSockets = new Set<Duplex>();
  http.on("upgrade", (req, socket, head) => {
    webSockets.add(socket);
    socket.on("close", () => webSockets.delete(socket));
    sockets.handleUpgrade(req, socket, head);
  });
  const port = await listen(http, options.port ?? 0);
  const url = `http://127.0.0.1:${port}`;
  let stopped = false;

  async function stop(): Promise<void> {
    if (stopped) return;
    stopped = true;
    await registry.close();
    await sockets.close();
    await closeServer(http);
  }

  async function kill(): Promise<void> {
    stopped = true;
    http.closeAllConnections();
    await sockets.close();
    await closeServer(http);
    await registry.close();
  }

  onTestFinished(stop);
  const worker: WorkerFixture = {
    url,
    port,
    store,
    storeFixture,
    tokens,
    registry,
    handoverInbox,
    sockets,
    tag,
    counters,
    webSockets,
    peer: (roomToken, more) => rawPeer({ url, roomToken, ...more }),
    async openSession() {
      const created = await registry.create(HOST_USER);
      if (created.outcome !== "created") throw new Error(created.outcome);
      const host = await worker.peer(created.roomToken).ready();
      return { sessionId: created.sessionId, hostToken: created.roomToken, host };
    },
    async invite(sessionId, host, user = GUEST_USER) {
      const asked = host.received.filter(isJoinRequest).length;
      const pollToken = await requestJoin(registry, sessionId, user);
      const request = await until(
        "the host is asked",
        () => host.received.filter(isJoinRequest)[asked],
      );
      host.decide(request, true);
      const answer = await joinAnswer(store, pollToken);
      if (!answer.accepted) throw new Error(answer.code);
      return answer.roomToken;
    },
    async joinSession(sessionId, host, user) {
      return worker.peer(await worker.invite(sessionId, host, user)).ready();
    },
    announce: () => store.announce(record),
    async heartbeat() {
      if ((await store.renew(record)) === "expired") await store.announce(record);
    },
    stop,
    kill,
  };
  return worker;
}

/** A client that is closed when the test ends. */
export function rawPeer(options: RawPeerOptions): RawPeer {
  const peer = new RawPeer(options);
  onTestFinished(() => peer.close());
  return peer;
}

export async function requestJoin(
  registry: Registry,
  sessionId: SessionId,
  user: UserRecord = GUEST_USER,
): Promise<string> {
  const asked = await registry.live(sessionId)?.requestJoin(user);
  if (asked?.outcome !== "asked") throw new Error(asked?.outcome ?? "not here");
  return asked.pollToken;
}

/** The answer in a join ticket, as soon as there is one. */
export function joinAnswer(store: Store, pollToken: string): Promise<JoinAnswer> {
  return until("the join request is answered", async () => {
    const ticket = await store.readTicket("join", pollToken);
    return ticket?.state === "answered" ? joinAnswerSchema.parse(ticket.answer) : undefined;
  });
}

export function isJoinRequest(message: WireMessage): boolean {
  return (message.content as { method?: string } | undefined)?.method === "peer/join";
}

export function silentLog(): Log {
  return createLog({ name: "test", level: "error", format: "text", sink: { write: report } });
}

function report(line: string): void {
  process.stderr.write(line);
}

function memberRecord(self: {
  id: WorkerId;
  incarnation: MemberRecord["incarnation"];
}): MemberRecord {
  return {
    kind: "worker",
    ...self,
    url: "http://127.0.0.1:1",
    statusUrl: "http://127.0.0.1:1",
    version: "0.0.0",
    zone: "",
    weight: 1,
    state: "up",
    load: { sessions: 0, connections: 0, lagMs: 0 },
    ringFingerprint: "",
    secretFingerprint: "00000000",
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
