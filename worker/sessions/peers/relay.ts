/**
 * The relay of messages between the peers of one session: the hot path of a worker. A message's path:
 *
 *   sender's client
 *     │  socket.io event `message`
 *   transport/connection.ts   takes the event's one binary argument
 *     │  bytes
 *   Session.#receive          counts it and checks the fence (session.ts)
 *     │
 *   Relay.receive             below
 *     ├─ parseMessage         checks it: spans in the same bytes, nothing is decoded (wire/protocol.ts)
 *     ├─ route                decides who gets it
 *     ├─ forward…             splices an OutboundMessage for each receiver (wire/outbound.ts)
 *     │
 *   Peer.send                 sends now, or queues while the receiver is away or slow (peer.ts)
 *     │  OutboundMessage
 *   Connection.send           one write for all that a turn of the event loop brings (transport/connection.ts)
 *     │
 *   receiver's client
 */
import type { PeerId } from "../../../shared/base/ids.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import type { DeliveryMark } from "../../../shared/resume/frames.ts";
import {
  forwardBroadcast,
  forwardNotification,
  forwardRequest,
  forwardResponse,
  requestFailure,
} from "../wire/outbound.ts";
import {
  idText,
  type Message,
  parseMessage,
  plainContent,
  type VersionCheck,
  type WrappedKey,
} from "../wire/protocol.ts";
import type { RelayIds } from "../wire/relay-id.ts";
import type { Peer } from "./peer.ts";
import type { PendingRequests } from "./pending-requests.ts";

export interface Relay {
  /** Handles bytes from `sender`. Never throws, whatever the bytes are. `source`: where they came from, if that is known. */
  receive(sender: Peer, bytes: Buffer, source?: DeliveryMark): void;
}

export interface RelayDeps {
  readonly peers: ReadonlyMap<PeerId, Peer>;
  readonly requests: PendingRequests;
  readonly relayIds: RelayIds;
  readonly counters: Counters;
  readonly epoch: () => number;
  readonly acceptsVersion: VersionCheck;
  /** Called for each well-formed message: its sender knows that it is in the session. */
  readonly onBroadcast: (sender: Peer) => void;
  readonly onAccepted: (sender: Peer) => void;
  /** The sender leaves for good. */
  readonly onLeave: (sender: Peer) => void;
  /** The host answers a join request. `false`: no such request waits. */
  readonly onJoinAnswer: (pollToken: string, host: Peer, message: Message) => boolean;
}

/** A message, its sender, and where it came from. */
interface Received {
  readonly message: Message;
  readonly sender: Peer;
  readonly source: DeliveryMark | undefined;
}

export function createRelay(deps: RelayDeps): Relay {
  const { peers, requests, relayIds, counters } = deps;
  const audience: Audience = { has: (id) => peers.has(id as PeerId), ids: () => peers.keys() };

  function receive(sender: Peer, bytes: Buffer, source?: DeliveryMark): void {
    const message = parseMessage(bytes, deps.acceptsVersion);
    if (typeof message === "string") {
      drop(message);
      return;
    }
    deps.onAccepted(sender);
    const decision = route(message, sender.id, audience);
    switch (decision.action) {
      case "broadcast":
        deps.onBroadcast(sender);
        broadcast({ message, sender, source }, decision.to, decision.keyless);
        break;
      case "notify":
        peers.get(decision.to)?.send(forwardNotification(message, sender.id, source));
        countDelivered(message, 1);
        break;
      case "request":
        request({ message, sender, source }, decision.to);
        break;
      case "fail":
        drop("target");
        sender.send(requestFailure(copyId(message)));
        break;
      case "respond":
        respond({ message, sender, source });
        break;
      case "control":
        control(message, sender);
        break;
      case "drop":
        drop(decision.reason);
        break;
    }
  }

  function broadcast(
    { message, sender, source }: Received,
    to: readonly Receiver[],
    keyless: number,
  ): void {
    if (keyless > 0) counters.count("worker.messages_dropped", "no key", keyless);
    if (to.length === 0) return;
    const outboundFor = forwardBroadcast(message, sender.id, source);
    for (const { peer, key } of to) peers.get(peer)?.send(outboundFor(key));
    countDelivered(message, to.length);
  }

  function request({ message, sender, source }: Received, responder: PeerId): void {
    const id = copyId(message);
    const relayedId = relayIds.forRequest(
      { requester: sender.id, id, epoch: deps.epoch() },
      responder,
    );
    if (!requests.add(relayedId, { requester: sender.id, responder, id })) {
      drop("requests");
      sender.send(requestFailure(id));
      return;
    }
    peers.get(responder)?.send(forwardRequest(message, sender.id, relayedId, source));
    countDelivered(message, 1);
  }

  function respond(received: Received): void {
    const { message, sender } = received;
    const relayedId = idText(message) ?? "";
    const pollToken = sender.record.host ? relayIds.readJoin(relayedId, sender.id) : undefined;
    const dropped =
      pollToken === undefined
        ? respondToPeer(received, relayedId)
        : deps.onJoinAnswer(pollToken, sender, message)
          ? undefined
          : "late";
    if (dropped !== undefined) drop(dropped);
  }

  /** Why the response is dropped; undefined when it was sent. */
  function respondToPeer(
    { message, sender, source }: Received,
    relayedId: string,
  ): string | undefined {
    const request = relayIds.readRequest(relayedId, sender.id);
    if (request === undefined) return "answer";
    // A request that an earlier owner of the session relayed is not pending here, and its response is still delivered.
    if (!requests.take(relayedId) && request.epoch === deps.epoch()) return "late";
    const requester = peers.get(request.requester);
    if (requester === undefined) return "target";
    requester.send(forwardResponse(message, request.id, source));
    countDelivered(message, 1);
    return undefined;
  }

  function control(message: Message, sender: Peer): void {
    const content = plainContent(message);
    if (isRecord(content) && content["method"] === "room/leave") deps.onLeave(sender);
    else drop("method");
  }

  function drop(reason: string): void {
    counters.count("worker.messages_dropped", reason);
  }

  function countDelivered(message: Message, count: number): void {
    counters.count("worker.messages_relayed", message.kind);
    counters.count("worker.messages_delivered", "", count);
  }

  return { receive };
}

/** The id that the sender gave its message; a copy, because it outlives the bytes that it came in. */
function copyId(message: Message): Buffer {
  const { start, end } = message.id ?? { start: 0, end: 0 };
  return Buffer.from(message.bytes.subarray(start, end));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

// --- the decision, without effects ---

export type Route =
  /** To each receiver with its own key. `keyless`: peers without a key in the message; they get nothing. */
  | { readonly action: "broadcast"; readonly to: readonly Receiver[]; readonly keyless: number }
  | { readonly action: "notify"; readonly to: PeerId }
  | { readonly action: "request"; readonly to: PeerId }
  /** A request that cannot be delivered: its sender gets an error response. */
  | { readonly action: "fail" }
  /** A response; its id names the requester. */
  | { readonly action: "respond" }
  /** For the worker itself. */
  | { readonly action: "control" }
  | { readonly action: "drop"; readonly reason: DropReason };

export interface Receiver {
  readonly peer: PeerId;
  readonly key: WrappedKey;
}

/**
 * `plain`: not encrypted, so a worker could read and forge it: refused between peers. `target`: no such peer in the
 * session.
 */
export type DropReason = "plain" | "target";

/** The peers of the session. */
export interface Audience {
  has(id: string): boolean;
  ids(): Iterable<PeerId>;
}

/** Where `message` of `sender` goes. A sender never gets its own broadcast. Pure. */
export function route(message: Message, sender: PeerId, audience: Audience): Route {
  switch (message.kind) {
    case "response":
    case "response-error":
      return { action: "respond" };
    case "request":
      if (!message.encrypted) return { action: "drop", reason: "plain" };
      return isPeer(message.target, audience)
        ? { action: "request", to: message.target }
        : { action: "fail" };
    case "notification":
      if (message.target === "") return { action: "control" };
      if (!message.encrypted) return { action: "drop", reason: "plain" };
      return isPeer(message.target, audience)
        ? { action: "notify", to: message.target }
        : { action: "drop", reason: "target" };
    case "broadcast":
      if (!message.encrypted) return { action: "drop", reason: "plain" };
      return routeBroadcast(message, sender, audience);
  }
}

function routeBroadcast(message: Message, sender: PeerId, audience: Audience): Route {
  const keys = new Map<string, WrappedKey>();
  for (const key of message.metadata.keys) {
    // Of several keys for one peer the first counts, as in a search from the front.
    if (!keys.has(key.target)) keys.set(key.target, key);
  }
  const to: Receiver[] = [];
  let keyless = 0;
  for (const peer of audience.ids()) {
    if (peer === sender) continue;
    const key = keys.get(peer);
    if (key === undefined) keyless++;
    else to.push({ peer, key });
  }
  return { action: "broadcast", to, keyless };
}

function isPeer(target: string | undefined, audience: Audience): target is PeerId {
  return target !== undefined && audience.has(target);
}
