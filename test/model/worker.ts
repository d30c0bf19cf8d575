/**
 * A simulated worker: the real registry, sessions, lease, view and outage reports, assembled as in `worker/start/`, over the
 * simulated network, store and clock. In place of HTTP and socket.io it uses wire.ts; the decisions of
 * `worker/server/server.ts` and `worker/sessions/transport/socket.ts` are repeated here, in their order.
 */

import type { IncomingMessage } from "node:http";
import type { Connection as Stream } from "../../balancer/transport/transport.ts";
import {
  type Incarnation,
  newIncarnation,
  toSessionKey,
  type WorkerId,
} from "../../shared/base/ids.ts";
import { type ObservedOwner, PARK_MS } from "../../shared/membership/claim.ts";
import { createLeaderElection } from "../../shared/membership/leader-election.ts";
import { createLease } from "../../shared/membership/lease.ts";
import { createMembershipView } from "../../shared/membership/view.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import {
  EDGE_HEADER,
  EPOCH_HEADER,
  edgeProof,
  KEY_HEADER,
  SESSION_HEADER,
} from "../../shared/net/edge-headers.ts";
import { onlyKey } from "../../shared/settings/keyring.ts";
import { readSettings } from "../../shared/settings/read-settings.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { StoreAwayError } from "../../shared/store/store.ts";
import { createBalancerAuth } from "../../worker/balancers/balancer-auth.ts";
import { createOutageReports } from "../../worker/balancers/outage-reports.ts";
import {
  type HttpResponse,
  misdirectedResponse,
  wrongWorkerResponse,
} from "../../worker/http/responses.ts";
import type { RoomToken } from "../../worker/login/tokens.ts";
import { createFence } from "../../worker/sessions/fence.ts";
import { createOwnerProbes } from "../../worker/sessions/owner-probe.ts";
import type { Connection, ConnectionEvents } from "../../worker/sessions/peers/peer.ts";
import { createHandoverInbox } from "../../worker/sessions/pending-messages.ts";
import { createRegistry, type Registry } from "../../worker/sessions/registry.ts";
import type { Session } from "../../worker/sessions/session.ts";
import { startReaper } from "../../worker/sessions/session-reaper.ts";
import { joined, type OutboundMessage } from "../../worker/sessions/wire/outbound.ts";
import { createVersionCheck } from "../../worker/sessions/wire/protocol.ts";
import { NO_ACTIVITY, NO_USAGE } from "../support/activity.ts";
import type { Place } from "./network.ts";
import { KEYS, SECRET, type Surroundings } from "./surroundings.ts";
import { createModelTokens } from "./tokens.ts";
import {
  acceptOf,
  createFrameReader,
  createHeadReader,
  type Head,
  writeFrame,
  writeHead,
} from "./wire.ts";

const SETTINGS = readSettings({ role: "worker", env: { CT_SECRET: SECRET } });
/** As in worker/sessions/transport/socket.ts. */
const PING_INTERVAL_MS = 25_000;
const PING_TIMEOUT_MS = 20_000;
/** As in worker/server/server.ts. */
const HANDSHAKE_BUDGET_MS = 300;
/** As in worker/sessions/owner-probe.ts. */
const OWNER_TIMEOUT_MS = 1000;

/** One life of a worker. */
export interface WorkerIncarnation {
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  readonly place: Place;
  readonly registry: Registry;
  /** Ends it as SIGTERM does. */
  terminate(): void;
}

/** Starts one that balancers reach at `address` (`host:port`). It lives as long as its process. */
export function startWorker(place: Place, address: string, needs: Surroundings): WorkerIncarnation {
  const { network, stores, watch } = needs;
  const { clock } = place.process;
  const self = {
    id: place.machine as WorkerId,
    incarnation: newIncarnation(),
    secretFingerprint: KEYS.fingerprint,
  };
  const log = watch.log(place.process.name);
  const counters = createCounters();
  const store = stores.connect(place);
  const view = createMembershipView({ store, clock, log, ringKeyFor: () => KEYS.ring });
  const tokens = createModelTokens(clock);
  const outageReports = createOutageReports(clock);
  const fence = createFence({
    clock,
    isStoreAwayForAll: () => outageReports.isStoreAwayForAll,
    onShut: () => registry.fence(),
  });
  const owners = createOwnerProbes({
    clock,
    worker: (other) => view.worker(other),
    membersRead: () => undefined,
    probe: askOwner,
  });
  const registry: Registry = createRegistry({
    usage: NO_USAGE,
    activity: NO_ACTIVITY,
    store,
    clock,
    log,
    counters,
    tokens,
    relayKeys: onlyKey(KEYS.relay),
    settings: SETTINGS,
    acceptsVersion: createVersionCheck(SETTINGS.protocolAccepted),
    self,
    ring: () => view.ring,
    fence,
    owners,
    handoverInbox: createHandoverInbox({ clock }),
  });
  const url = `http://${address}`;
  const balancerAuth = createBalancerAuth({
    edgeKeys: onlyKey(KEYS.edge),
    self,
    urlOf: (other) => (other === self.id ? url : view.worker(other)?.url),
  });
  const lease = createLease({
    store,
    clock,
    log,
    describe: () => ({
      kind: "worker",
      ...self,
      url,
      statusUrl: url,
      version: "1.0.0",
      zone: "",
      weight: 1,
      state: "up",
      load: { ...registry.load, lagMs: 0 },
      ringFingerprint: view.ring.fingerprint,
    }),
    onHeartbeat: (heartbeat) => {
      if (fence.noteHeartbeat(heartbeat)) void registry.confirm();
    },
    onReplaced: () => terminate(),
  });
  const life: WorkerIncarnation = {
    id: self.id,
    incarnation: self.incarnation,
    place,
    registry,
    terminate,
  };
  let ordinal = 0;

  async function start(): Promise<void> {
    const [host = "", port] = address.split(":");
    await network.transport(place).listen({
      host,
      port: Number(port),
      onConnection: serve,
      admit: () => true,
      refusal: () => "",
      onGone() {},
    });
    network.answer(place, address, ({ proof, asker, store: seen }) => {
      const request = requestOf({ [EDGE_HEADER]: proof });
      if (balancerAuth.judge(request) === "other")
        return { misrouted: balancerAuth.incarnationProof(request) };
      outageReports.note(asker, seen);
      return fence.look() === "shut" ? "unhealthy" : "healthy";
    });
    await lease.start();
    await view.start();
    await registry.recover();
    const leadership = createLeaderElection("reaper", { store, clock, log, holder: self.id });
    startReaper({ store, clock, log, self: self.id, registry, leadership });
  }

  async function askOwner(owner: WorkerRecord): Promise<ObservedOwner> {
    const question = {
      proof: edgeProof(KEYS.edge, owner.id, owner.incarnation),
      asker: self.id,
      store: store.health.state,
    };
    const address = owner.url.slice("http://".length);
    const answer = await network.ask(place, address, question, OWNER_TIMEOUT_MS);
    if (answer === "healthy") return "answers";
    return answer === "refused" ? "refuses" : "silent";
  }

  function terminate(): void {
    const stop = async (): Promise<void> => {
      await registry.close();
      await lease.close();
      place.process.kill();
    };
    stop().catch(watch.bug);
  }

  // --- requests ---

  function serve(stream: Stream): void {
    const reader = createHeadReader((head, body) => {
      const isUpgrade = head.fields["upgrade"] !== undefined;
      answer(head, body, stream).catch(watch.bug);
      return isUpgrade ? "upgraded" : "go on";
    });
    stream.handler = {
      onData: (bytes) => void reader.push(bytes),
      onEnd: () => stream.end(),
      onDrain() {},
      onClose() {},
    };
  }

  async function answer(head: Head, body: Buffer, stream: Stream): Promise<void> {
    const meant = balancerAuth.judge(requestOf(head.fields));
    if (meant === "other")
      write(stream, wrongWorkerResponse(balancerAuth.incarnationProof(requestOf(head.fields))));
    else if (head.fields["upgrade"] !== undefined) await upgrade(head, stream);
    else await create(head, body, stream);
  }

  async function create({ fields }: Head, body: Buffer, stream: Stream): Promise<void> {
    const { user } = JSON.parse(body.toString());
    const alias = toSessionKey(fields[KEY_HEADER] ?? "");
    const created = await registry.create({ id: user, name: user }, { alias });
    if (created.outcome === "quota") {
      write(stream, { status: 429, fields: {}, body: "" });
      return;
    }
    write(stream, {
      status: 200,
      fields: { [SESSION_HEADER]: created.sessionId, [EPOCH_HEADER]: String(created.epoch) },
      body: created.roomToken,
    });
  }

  async function upgrade(head: Head, stream: Stream): Promise<void> {
    const token = (await tokens.verifyRoom(head.fields["x-oct-jwt"] ?? "")) as RoomToken;
    try {
      const late = new Promise<undefined>((resolve) => {
        clock.after(HANDSHAKE_BUDGET_MS, () => resolve(undefined));
      });
      const claim = await Promise.race([registry.claim(token.sessionId), late]);
      if (claim?.outcome === "elsewhere") {
        const { owner, epoch } = claim;
        write(stream, misdirectedResponse({ sessionId: token.sessionId, owner, epoch }));
        return;
      }
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
    }
    const session = registry.live(token.sessionId);
    stream.write([switching(head, session)]);
    serveSocket(stream, token);
  }

  // --- sockets ---

  function serveSocket(stream: Stream, token: RoomToken): void {
    let isOpen = true;
    let events: ConnectionEvents | undefined;
    let unsent: OutboundMessage[] = [];
    const own = ++ordinal;

    function close(): void {
      if (!isOpen) return;
      isOpen = false;
      stream.destroy();
      events?.closed(unsent);
      unsent = [];
    }

    const reader = createFrameReader(({ kind, body }) => {
      if (!isOpen) return;
      if (kind === "connect") park().catch(watch.bug);
      else if (kind === "pong") heartbeat();
      else if (kind === "message") events?.message(Buffer.from(body));
    });
    stream.handler = {
      onData: (bytes) => reader.push(bytes),
      onEnd: close,
      onDrain() {},
      onClose: close,
    };

    let silence = clock.after(PING_INTERVAL_MS + PING_TIMEOUT_MS, close);
    function heartbeat(): void {
      silence.cancel();
      silence = clock.after(PING_INTERVAL_MS + PING_TIMEOUT_MS, close);
      clock.after(PING_INTERVAL_MS, () => {
        if (isOpen) stream.write([writeFrame("ping")]);
      });
    }
    heartbeat();

    /** As connection.ts does at the end of a turn. */
    function writeUnsent(session: Session): void {
      if (unsent.length === 0) return;
      // When it finds that it is shut, this connection is closed within the question, and what is unsent goes back.
      const state = fence.look();
      if (state === "undecided") fence.hold({ run: () => writeUnsent(session), refuse() {} });
      if (state !== "open") return;
      const messages = unsent;
      unsent = [];
      for (const message of messages) {
        watch.relayed(life, session.id, session.epoch);
        stream.write([writeFrame("message", joined(message), session.epoch)]);
      }
    }

    function connectionOf(session: Session): Connection {
      return {
        ordinal: own,
        pendingBytes: 0,
        unsentBytes: 0,
        isMigrating: false,
        isMovable: false,
        isResumed: false,
        stopInput: async () => "polling",
        freeze: async () => "polling",
        thaw() {},
        markRelayed() {},
        confirm() {},
        open(given) {
          events = given;
        },
        send(outbound) {
          if (!isOpen) return;
          unsent.push(outbound);
          writeUnsent(session);
        },
        // Parting is of no time here: the other side has read all that was written.
        migrate: close,
        close,
        end() {
          if (!isOpen) return;
          isOpen = false;
          stream.write([writeFrame("over", Buffer.from("ended"))]);
          stream.end();
        },
      };
    }

    /** Holds the CONNECT until it is clear what becomes of it. */
    async function park(): Promise<void> {
      const claim = await registry.claimPatiently(token.sessionId, {
        forMs: PARK_MS,
        isWanted: () => isOpen,
      });
      if (claim.outcome === "undecided" || claim.outcome === "elsewhere") return close();
      if (claim.outcome !== "here") return refuse(claim.outcome);
      const { session } = claim;
      const admission = await session.admit(token, INTRODUCTION);
      if (admission.outcome === "lost") return close();
      if (admission.outcome === "refused") return refuse(admission.reason);
      if (!isOpen) return;
      stream.write([writeFrame("admitted", undefined, session.epoch)]);
      session.attach(admission.peer, connectionOf(session));
    }

    function refuse(reason: string): void {
      if (!isOpen) return;
      isOpen = false;
      stream.write([writeFrame("over", Buffer.from(reason))]);
      stream.end();
    }
  }

  start().catch(watch.bug);
  return life;
}

const INTRODUCTION = { publicKey: "", client: "model", compression: [] };

/** As much of a request as proofs look at. */
function requestOf(headers: Readonly<Record<string, string>>): IncomingMessage {
  return { headers, socket: {} } as IncomingMessage;
}

function write(stream: Stream, { status, fields, body }: HttpResponse): void {
  const head = writeHead(`HTTP/1.1 ${status} Status`, {
    ...fields,
    "content-length": String(Buffer.byteLength(body)),
  });
  stream.write([head + body]);
}

function switching({ fields }: Head, session: Session | undefined): string {
  return writeHead("HTTP/1.1 101 Switching Protocols", {
    upgrade: "websocket",
    connection: "Upgrade",
    "sec-websocket-accept": acceptOf(fields["sec-websocket-key"] ?? ""),
    ...(session && { [SESSION_HEADER]: session.id, [EPOCH_HEADER]: String(session.epoch) }),
  });
}
