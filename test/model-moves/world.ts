/**
 * One history of an edge whose sessions move: real tunnels, sessions and connections on simulated time. Everybody says numbered
 * things to the others of their session while workers are drained and killed, links break and clients are slow.
 */

import { decode } from "@msgpack/msgpack";
import type { ResumeOutcome, ResumeRequest } from "../../balancer/proxy/tunnels.ts";
import { createTunnels, type Tunnels } from "../../balancer/proxy/tunnels.ts";
import type { Upstream } from "../../balancer/upstreams/upstream.ts";
import {
  type Incarnation,
  newIncarnation,
  newPeerId,
  type PeerId,
  type SessionId,
  type WorkerId,
} from "../../shared/base/ids.ts";
import { createLease } from "../../shared/membership/lease.ts";
import { createRing } from "../../shared/membership/ring.ts";
import { createCounters } from "../../shared/metrics/metrics.ts";
import { onlyKey } from "../../shared/settings/keyring.ts";
import { readSettings } from "../../shared/settings/read-settings.ts";
import type { RoomToken } from "../../worker/login/tokens.ts";
import { createHandoverInbox } from "../../worker/sessions/pending-messages.ts";
import { createRegistry, type Registry } from "../../worker/sessions/registry.ts";
import {
  type ResumeTicket,
  readResumeTicket,
  signResumeTicket,
} from "../../worker/sessions/resume-ticket.ts";
import type { Session } from "../../worker/sessions/session.ts";
import { FanOut } from "../../worker/sessions/transport/fan-out.ts";
import { InputLimit } from "../../worker/sessions/transport/input-limit.ts";
import { eventPacketOf } from "../../worker/sessions/transport/message-frames.ts";
import { PacketReader } from "../../worker/sessions/transport/packet-reader.ts";
import {
  newStreamNumber,
  StreamConnection,
  type StreamState,
} from "../../worker/sessions/transport/stream-connection.ts";
import { createVersionCheck } from "../../worker/sessions/wire/protocol.ts";
import { withChance } from "../model/chance.ts";
import { createKernel, createProcess, type Process } from "../model/kernel.ts";
import { createNetwork } from "../model/network.ts";
import { createRandom } from "../model/random.ts";
import { createStoreHost } from "../model/store.ts";
import { KEYS, SECRET } from "../model/surroundings.ts";
import { createModelTokens, readClaims } from "../model/tokens.ts";
import { createWatch } from "../model/watch.ts";
import { chat } from "../model/wire.ts";
import { NO_ACTIVITY, NO_USAGE } from "../support/activity.ts";
import { type Frame, openClient, openStream, type WorkerEnd } from "./streams.ts";
import { useKernel } from "./turns.ts";

/** Refusals after which a balancer asks again. */
const TRANSIENT: ReadonlySet<string> = new Set(["undecided", "moving"]);
const SETTINGS = readSettings({ role: "worker", env: { CT_SECRET: SECRET } });
const INTRODUCTION = { publicKey: "", client: "model", compression: [] };
const OPEN_FENCE = { look: () => "open" as const, hold() {} };
const TALK_FROM_MS = 1500;
const FAULTS_MS = [2000, 3500] as const;
const TALK_UNTIL_MS = 4500;
/** Leases, retries and the clients' own back-off are over long before. */
const END_MS = 20_000;
/** More than balancers keep of a message, now and then. */
const LARGE_BYTES = 70_000;

/** A decision that goes wrong on purpose. */
export type Bug =
  | "repeats are not marked"
  | "a ticket counts in its own epoch"
  | "confirmed before it has left";

export interface History {
  readonly failure: string | undefined;
  readonly log: readonly string[];
  /** What has happened, to see that the histories test something. */
  readonly counts: Readonly<Record<string, number>>;
}

export async function runHistory(seed: number, bug?: Bug): Promise<History> {
  return withChance(createRandom(seed + 1), () => createWorld(seed, bug).run());
}

interface WorkerLife {
  readonly id: WorkerId;
  readonly incarnation: Incarnation;
  readonly process: Process;
  readonly registry: Registry;
  connect(token: RoomToken, end: WorkerEnd): Promise<Session | undefined>;
  resume(ticket: string, begun: Omit<StreamState, "stream">, end: WorkerEnd): Promise<Resumed>;
}

type Resumed =
  | { readonly outcome: "resumed"; readonly session: Session }
  | { readonly outcome: "refused"; readonly reason: string }
  | { readonly outcome: "elsewhere"; readonly owner: WorkerId };

interface BalancerLife {
  readonly process: Process;
  readonly tunnels: Tunnels;
}

interface Room {
  sessionId: SessionId | undefined;
  readonly people: Person[];
}

interface Person {
  readonly name: string;
  readonly room: Room;
  readonly received: Map<string, number[]>;
  token: string | undefined;
  peerId: PeerId | undefined;
  connection: ReturnType<typeof openClient> | undefined;
  disconnects: number;
  said: number;
  /** Whether the binary part of a message must follow. */
  expectsMessage: boolean;
}

function createWorld(seed: number, bug: Bug | undefined) {
  const random = createRandom(seed + 2);
  const kernel = createKernel();
  useKernel(kernel);
  const watch = createWatch(kernel, { record: true });
  const network = createNetwork(kernel, random);
  const stores = createStoreHost({ kernel, network, random, watch });
  const tokens = createModelTokens({ wallMs: () => kernel.wallMs });
  const wires = { kernel, random };
  const workers = new Map<WorkerId, WorkerLife>();
  const balancers: BalancerLife[] = [];
  const rooms: Room[] = [];
  const streams = new Set<{ readonly worker: WorkerLife; readonly end: WorkerEnd; lose(): void }>();
  const counts: Record<string, number> = {};
  const usedTickets = new Set<string>();
  let failure: string | undefined;

  const count = (what: string): void => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const fail = (what: string): void => {
    failure ??= `seed ${seed}: ${what}`;
    watch.note(`!! ${what}`);
  };
  const people = (): Person[] => rooms.flatMap((room) => room.people);
  const living = (): WorkerLife[] =>
    [...workers.values()].filter(({ process }) => process.state !== "dead");
  const ring = createRing(
    ["w1", "w2", "w3"].map((id) => ({ id: id as WorkerId, weight: 1 })),
    KEYS.ring,
  );

  // --- workers ---

  function startWorker(name: string): void {
    const id = name as WorkerId;
    const process = createProcess(kernel, name);
    const { clock } = process;
    const store = stores.connect({ machine: name, process });
    const log = watch.log(name);
    const counters = createCounters();
    const self = { id, incarnation: newIncarnation() };
    const registry = createRegistry({
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
      ring: () => ring,
      fence: OPEN_FENCE,
      owners: {
        async look(owner) {
          const other = workers.get(owner);
          if (other === undefined || other.process.state !== "dead") return { seen: "answers" };
          return { seen: "refuses", evidence: "exited", incarnation: other.incarnation };
        },
      },
      handoverInbox: inbox(clock),
    });
    const lease = createLease({
      store,
      clock,
      log,
      describe: () => ({
        kind: "worker",
        ...self,
        url: `http://${id}:3001`,
        statusUrl: `http://${id}:4001`,
        version: "1.0.0",
        zone: "",
        weight: 1,
        state: "up",
        load: { ...registry.load, lagMs: 0 },
        ringFingerprint: ring.fingerprint,
        secretFingerprint: KEYS.fingerprint,
      }),
      onHeartbeat() {},
      onReplaced() {},
    });
    lease.start().catch(watch.bug);
    let ordinal = 0;

    function open(
      end: WorkerEnd,
      session: Session,
      peer: string,
      begun: StreamState,
      isResumed: boolean,
    ): StreamConnection {
      const { tokenId } = readPeer(session, peer);
      const connection = new StreamConnection({
        webSocket: end.webSocket,
        stream: end.stream,
        namespace: "/",
        ordinal: ++ordinal,
        input: new InputLimit({ clock, counters, maxMessagesPerSecond: 10_000 }),
        reader: new PacketReader("/"),
        fanOut: new FanOut(OPEN_FENCE),
        clock,
        counters,
        begun,
        isResumed,
        ticketFor(stream) {
          const { id: sessionId, epoch } = session;
          const ticket = {
            sessionId,
            epoch,
            peerId: peer as PeerId,
            tokenId,
            namespace: "/",
            stream,
          };
          return { session: sessionId, epoch, ticket: signResumeTicket(KEYS.edge, ticket) };
        },
      });
      if (bug === "confirmed before it has left") {
        connection.confirm = () => {};
        end.prependListener("message", () => {
          connection.markRelayed();
          StreamConnection.prototype.confirm.call(connection);
        });
      }
      return connection;
    }

    workers.set(id, {
      ...self,
      process,
      registry,
      async connect(token, end) {
        const claim = await registry.claimPatiently(token.sessionId, {
          forMs: 5000,
          isWanted: () => end.readyState === 1,
        });
        if (claim.outcome !== "here") return undefined;
        const admission = await claim.session.admit(token, INTRODUCTION);
        if (admission.outcome !== "admitted") return undefined;
        const { peer } = admission;
        const begun = { stream: newStreamNumber(), messages: 0, confirmed: 0, repeated: 0 };
        claim.session.attach(peer, open(end, claim.session, peer.id, begun, false));
        return claim.session;
      },
      async resume(text, state, end) {
        const ticket = readResumeTicket([KEYS.edge], text);
        if (ticket === undefined) return { outcome: "refused", reason: "ticket" };
        const claim = await registry.claimPatiently(ticket.sessionId, {
          forMs: 5000,
          isWanted: () => end.readyState === 1,
        });
        if (claim.outcome === "elsewhere") return claim;
        if (claim.outcome !== "here") return { outcome: "refused", reason: claim.outcome };
        const { session } = claim;
        if (bug === "a ticket counts in its own epoch") {
          for (const one of session.peers) one.isCut = false;
        }
        const peer = session.findResumable(judged(ticket));
        if (typeof peer === "string") return { outcome: "refused", reason: peer };
        const use = `${text} ${session.epoch}`;
        if (usedTickets.has(use)) fail(`a ticket of ${session.id} was accepted twice`);
        usedTickets.add(use);
        const repeated = bug === "repeats are not marked" ? 0 : state.repeated;
        const begun = { stream: ticket.stream, ...state, repeated };
        const connection = open(end, session, peer.id, begun, true);
        session.resume(peer, connection, { cause: "crash", ...state, forMs: 0 });
        return { outcome: "resumed", session };
      },
    });
  }

  function judged(ticket: ResumeTicket): ResumeTicket {
    return bug === "a ticket counts in its own epoch" ? { ...ticket, epoch: 0 } : ticket;
  }

  const inboxes = new Map<string, ReturnType<typeof createHandoverInbox>>();
  function inbox(clock: Process["clock"]) {
    const made = createHandoverInbox({ clock });
    inboxes.set(`w${inboxes.size + 1}`, made);
    return made;
  }

  function kill(worker: WorkerLife | undefined): void {
    if (worker === undefined || worker.process.state === "dead" || living().length < 2) return;
    watch.note(`-- ${worker.id} is killed`);
    count("kills");
    worker.process.kill();
    for (const stream of streams) {
      if (stream.worker !== worker) continue;
      streams.delete(stream);
      stream.lose();
    }
  }

  function ownerOf(room: Room): WorkerLife | undefined {
    return living().find(
      ({ registry }) => room.sessionId !== undefined && registry.live(room.sessionId) !== undefined,
    );
  }

  async function move(room: Room): Promise<void> {
    const owner = ownerOf(room);
    const others = living().filter((worker) => worker !== owner);
    const session = room.sessionId && owner?.registry.live(room.sessionId);
    if (session === undefined || others.length === 0) return;
    const to = random.pick(others);
    watch.note(`-- ${owner?.id} hands a session over to ${to.id}`);
    const hasWay = !random.oneIn(6);
    const outcome = await session.handOver(
      to.id,
      async (pending) => {
        await new Promise<void>((resolve) => kernel.after(random.between(0.2, 3), resolve));
        if (!hasWay || to.process.state === "dead") throw new Error("not delivered");
        inboxes.get(to.id)?.put(session.id, pending);
      },
      "drain",
      true,
    );
    count(`move ${outcome}`);
  }

  // --- balancers ---

  function startBalancer(name: string): void {
    const process = createProcess(kernel, name);
    const tunnels = createTunnels({
      clock: process.clock,
      random: () => random.next(),
      migrateRequests: () => Promise.reject(new Error("none")),
      sendResume: (request, outcome) => sendResume(process, request, outcome),
      counters: createCounters(),
      log: watch.log(name),
    });
    balancers.push({ process, tunnels });
  }

  function join(balancer: Process, worker: WorkerLife) {
    const { near, far, lose } = openStream(wires, balancer, worker.process);
    const entry = { worker, end: far, lose };
    streams.add(entry);
    far.once("close", () => streams.delete(entry));
    return { near, far };
  }

  function sendResume(
    balancer: Process,
    request: ResumeRequest,
    outcome: ResumeOutcome,
  ): () => void {
    let isCancelled = false;
    const { confirmed, repeated } = request;

    async function send(): Promise<void> {
      let target: WorkerLife | undefined = random.pick(living());
      for (let hops = 0; hops < 10 && !isCancelled && target !== undefined; hops++) {
        await new Promise<void>((resolve) => kernel.after(random.between(0.2, 3), resolve));
        if (target.process.state === "dead") {
          target = random.pick(living());
          continue;
        }
        const worker: WorkerLife = target;
        const { near, far } = join(balancer, worker);
        const state = { messages: confirmed, confirmed, repeated };
        // A worker that dies never answers; its link tells.
        const lost = new Promise<undefined>((resolve) => {
          near.handler = {
            onData() {},
            onEnd() {},
            onDrain() {},
            onClose: () => resolve(undefined),
          };
        });
        near.pause();
        const result = await Promise.race([worker.resume(request.ticket, state, far), lost]);
        if (isCancelled || balancer.state === "dead") return near.destroy();
        if (result === undefined) {
          target = random.pick(living());
        } else if (result.outcome === "resumed") {
          count("resumed");
          const { id, epoch } = result.session;
          const next = { worker: near, upstream: upstreamOf(worker), session: { id, epoch } };
          outcome.resumed(next, Buffer.alloc(0));
          near.resume();
          return;
        } else {
          near.destroy();
          if (result.outcome === "refused") {
            count(`refused ${result.reason}`);
            outcome.refused(result.reason, !TRANSIENT.has(result.reason));
            return;
          }
          target = workers.get(result.owner);
        }
      }
      if (!isCancelled) outcome.refused("no worker", false);
    }

    send().catch(watch.bug);
    return () => {
      isCancelled = true;
    };
  }

  // --- people ---

  function enter(person: Person): void {
    const { token } = person;
    const balancer = random.pick(balancers);
    if (token === undefined || person.connection !== undefined) return;
    const claims = readClaims(token);
    const connection = openClient(wires, balancer.process, {
      frame: (frame) => hear(person, frame),
      closed() {
        if (person.connection !== connection) return;
        person.connection = undefined;
        person.expectsMessage = false;
        person.disconnects++;
        count("disconnects");
        watch.note(`${person.name} is disconnected`);
        kernel.after(random.between(500, 1500), () => enter(person));
      },
    });
    person.connection = connection;
    const worker = ownerOf(person.room) ?? random.pick(living());
    const { near, far } = join(balancer.process, worker);
    const session = worker.connect({ ...claims, expired: false }, far);
    session
      .then((found) => {
        if (found === undefined) connection.near.destroy();
        else {
          balancer.tunnels.open({
            detach: () => ({
              connection: connection.near,
              early: Buffer.alloc(0),
              ended: false,
              onServed() {},
            }),
            forwarding: undefined as never,
            head: "",
            rest: Buffer.alloc(0),
            worker: near,
            upstream: upstreamOf(worker),
            requestId: person.name,
            session: { id: found.id, epoch: found.epoch },
            isResumable: true,
          });
        }
      })
      .catch(watch.bug);
  }

  function hear(person: Person, { opcode, payload }: Frame): void {
    if (opcode === 8) {
      const { connection } = person;
      kernel.after(1, () => connection?.lose());
      return;
    }
    if (opcode !== 1 && opcode !== 2) fail(`${person.name} gets a frame of opcode ${opcode}`);
    if ((opcode === 2) !== person.expectsMessage) fail(`${person.name} gets a part of a message`);
    if (opcode === 1) {
      person.expectsMessage = payload.toString() === `4${eventPacketOf("/")}`;
      if (payload.toString() === "9") person.connection?.lose();
      return;
    }
    person.expectsMessage = false;
    const { content } = decode(payload) as { content: unknown };
    if (!(content instanceof Uint8Array)) return;
    const [from = "", number = ""] = Buffer.from(content).toString().split(" ", 2);
    const heard = person.received.get(from) ?? [];
    person.received.set(from, heard);
    const last = heard.at(-1) ?? 0;
    if (Number(number) === last) fail(`${person.name} hears ${from} ${number} twice`);
    if (Number(number) < last) fail(`${person.name} hears ${from} ${number} after ${last}`);
    heard.push(Number(number));
    count("messages");
  }

  function say(person: Person, isLarge: boolean): void {
    if (person.connection === undefined) return;
    const others = person.room.people.filter((other) => other !== person);
    const text = `${person.name} ${++person.said} ${isLarge ? "x".repeat(LARGE_BYTES) : ""}`;
    person.connection.send(1, Buffer.from(`4${eventPacketOf("/")}`));
    person.connection.send(
      2,
      chat(
        text,
        others.flatMap(({ peerId }) => peerId ?? []),
      ),
    );
  }

  function talk(person: Person, periodMs: number): void {
    if (kernel.nowMs > TALK_UNTIL_MS) return;
    say(person, random.oneIn(60));
    kernel.after(periodMs * random.between(0.5, 1.5), () => talk(person, periodMs));
  }

  async function openRoom(index: number): Promise<void> {
    const room: Room = { sessionId: undefined, people: [] };
    rooms.push(room);
    const created = await random.pick(living()).registry.create({ id: `u${index}`, name: "u" });
    if (created.outcome !== "created") throw new Error(created.outcome);
    room.sessionId = created.sessionId;
    for (let i = 0; i < random.int(2, 4); i++) {
      const claims = {
        sessionId: created.sessionId,
        clock: i,
        peerId: newPeerId(),
        user: { id: `p${i}`, name: `p${i}` },
        host: false,
      };
      const token = i === 0 ? created.roomToken : await tokens.signRoom(claims);
      const person: Person = {
        name: `r${index}p${i}`,
        room,
        received: new Map(),
        token,
        peerId: readClaims(token).peerId,
        connection: undefined,
        disconnects: 0,
        said: 0,
        expectsMessage: false,
      };
      room.people.push(person);
      kernel.after(300 * i, () => enter(person));
    }
  }

  // --- faults ---

  function fault(): void {
    const room = random.pick(rooms);
    const kind = random.int(0, 6);
    if (kind <= 1) {
      move(room).catch(watch.bug);
    } else if (kind === 2) {
      kill(ownerOf(room));
    } else if (kind === 3) {
      move(room).catch(watch.bug);
      kernel.after(random.between(0, 25), () => kill(random.pick(living())));
    } else if (kind === 4) {
      const [stream] = [...streams].filter(() => random.oneIn(4));
      watch.note("-- a link breaks");
      if (stream !== undefined)
        for (const one of streams) if (one.worker === stream.worker) one.lose();
    } else if (kind === 5) {
      random.pick(people()).connection?.lose();
    } else {
      const [stream] = [...streams].filter(() => random.oneIn(4));
      stream?.end.slowDown(kernel.nowMs + random.between(50, 800));
    }
  }

  // --- the end ---

  function check(): void {
    for (const person of people()) {
      if (person.connection === undefined) fail(`${person.name} is not connected`);
      for (const other of person.room.people) {
        if (other === person || person.disconnects + other.disconnects > 0) continue;
        const heard = person.received.get(other.name)?.length ?? 0;
        if (heard !== other.said) {
          fail(`${person.name} has heard ${heard} of ${other.said} messages of ${other.name}`);
        }
      }
    }
    for (const { tunnels } of balancers) if (tunnels.resuming > 0) fail("a WebSocket still waits");
  }

  return {
    async run(): Promise<History> {
      for (const id of ["w1", "w2", "w3"]) startWorker(id);
      for (const id of ["b1", "b2"]) startBalancer(id);
      const until = (ms: number) => kernel.runUntil(ms, () => failure !== undefined);
      for (const i of [1, 2]) {
        kernel.after(200, () => void openRoom(i).catch(watch.bug));
      }
      const periodMs = random.pick([8, 40, 150]);
      kernel.after(TALK_FROM_MS, () => {
        for (const person of people()) talk(person, periodMs);
      });
      for (let i = 0; i < random.int(1, 3); i++) kernel.after(random.between(...FAULTS_MS), fault);
      await until(END_MS);
      if (failure === undefined) check();
      if (watch.failure !== undefined) fail(`${watch.failure.invariant}: ${watch.failure.what}`);
      for (const { process } of [...workers.values(), ...balancers]) process.kill();
      return { failure, log: watch.history, counts };
    },
  };
}

function readPeer(session: Session, id: string): { tokenId: string } {
  for (const peer of session.peers) if (peer.id === id) return peer.record;
  throw new Error("no such peer");
}

const upstreams = new WeakMap<WorkerLife, Upstream>();

/** As much of an upstream as tunnels use; that a worker is gone is told by its link here. */
function upstreamOf(worker: WorkerLife): Upstream {
  const known = upstreams.get(worker);
  if (known !== undefined) return known;
  const made = { id: worker.id, inFlight: 0, onDown: () => () => {} } as unknown as Upstream;
  upstreams.set(worker, made);
  return made;
}
