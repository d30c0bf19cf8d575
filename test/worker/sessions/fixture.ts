/**
 * The sessions of one worker over a plain HTTP server, with a real embedded store: what the tests of this folder start.
 */

import { createServer, type Server } from "node:http";
import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "../../../shared/base/clock.ts";
import type { SessionId } from "../../../shared/base/ids.ts";
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import type { Ring } from "../../../shared/membership/ring.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import type { Slice } from "../../../shared/settings/read-settings.ts";
import type { SessionRecord, Store, UserRecord } from "../../../shared/store/store.ts";
import type { Tokens } from "../../../worker/login/tokens.ts";
import type { OwnerProbe } from "../../../worker/sessions/owner-probe.ts";
import {
  createHandoverInbox,
  type HandoverInbox,
} from "../../../worker/sessions/pending-messages.ts";
import type { REGISTRY_SETTINGS, Registry } from "../../../worker/sessions/registry.ts";
import type { SOCKET_SETTINGS, Sockets } from "../../../worker/sessions/transport/socket.ts";
import { type JoinAnswer, joinAnswerSchema } from "../../../worker/sessions/wire/join-answer.ts";
import { worker as workerRecord } from "../../contract/store.ts";
import { atEnd } from "../../support/at-end.ts";
import type { StoreFixture } from "../../support/embedded-store.ts";
import { closed, listen } from "../../support/servers.ts";
import { WORKER_DEFAULTS } from "../../support/settings.ts";
import { until } from "../../support/until.ts";
import { createWorkerParts } from "../worker-parts.ts";
import { RawPeer, type RawPeerOptions, type WireMessage } from "./raw-peer.ts";

const RESUME_KEY = Buffer.alloc(32, "resume");

export const HOST_USER: UserRecord = { id: "user-host", name: "Host", email: "host@example.com" };
export const GUEST_USER: UserRecord = { id: "user-guest", name: "Guest" };

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
  /** A session whose host may connect with its room token. */
  create(): Promise<{ sessionId: SessionId; roomToken: string }>;
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
  const handoverInbox = createHandoverInbox({ clock: options.clock ?? systemClock });
  const { fence, owners, settings } = options;
  const { storeFixture, store, counters, self, tokens, registry, tag, sockets } =
    await createWorkerParts({
      ...options,
      handoverInbox,
      resumeKey: RESUME_KEY,
      settings: { ...LIMITS, ...settings },
      fence: { look: () => ((fence?.() ?? true) ? "open" : "shut"), hold() {} },
      owners: owners && { look: owners },
    });
  const record = workerRecord(self.id, self.incarnation);
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

  atEnd(stop);
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
    async create() {
      const created = await registry.create(HOST_USER);
      if (created.outcome !== "created") throw new Error(created.outcome);
      return created;
    },
    async openSession() {
      const { sessionId, roomToken } = await worker.create();
      return { sessionId, hostToken: roomToken, host: await worker.peer(roomToken).ready() };
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

/** A worker with a session whose host is connected. */
export async function startWithHost(options?: Parameters<typeof startWorker>[0]) {
  const worker = await startWorker(options);
  return { worker, ...(await worker.openSession()) };
}

/** The same with a guest, who has joined with `token`. */
export async function startWithGuest(options?: Parameters<typeof startWorker>[0]) {
  const started = await startWithHost(options);
  const token = await started.worker.invite(started.sessionId, started.host);
  return { ...started, token, guest: await started.worker.peer(token).ready() };
}

/** A client that is closed when the test ends. */
export function rawPeer(options: RawPeerOptions): RawPeer {
  const peer = new RawPeer(options);
  atEnd(() => peer.close());
  return peer;
}

/** The session as it is in the store. */
export async function recordOf(worker: WorkerFixture, id: SessionId): Promise<SessionRecord> {
  const record = await worker.store.findSession(id);
  if (record === undefined) throw new Error("no record");
  return record;
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

async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await closed(server);
}
