/**
 * What happens with a message of a peer: read, routed, sent on, counted. The hot path of a worker.
 */
import type { PeerId } from "../../shared/base/ids.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { Peer } from "./peer.ts";
import type { PendingRequests } from "./pending-requests.ts";
import { type Audience, type Receiver, route } from "./relay.ts";
import {
  forwardBroadcast,
  forwardNotification,
  forwardRequest,
  forwardResponse,
  requestFailure,
} from "./wire/outbound.ts";
import {
  idText,
  type Message,
  parseMessage,
  plainContent,
  type VersionCheck,
} from "./wire/protocol.ts";
import type { RelayIds } from "./wire/relay-id.ts";

export interface MessageRelay {
  /** Takes bytes that `sender` sent. Whatever they are, it does not throw. */
  take(sender: Peer, bytes: Buffer): void;
}

export function createMessageRelay(needs: {
  peers: ReadonlyMap<PeerId, Peer>;
  requests: PendingRequests;
  relayIds: RelayIds;
  counters: Counters;
  epoch: () => number;
  acceptsVersion: VersionCheck;
  /** The sender's first good message, and every later one: it has understood that it is in the session. */
  onHeard: (sender: Peer) => void;
  /** The sender says good-bye. */
  onLeave: (sender: Peer) => void;
  /** The host answers a join request. `false`: nobody waits for that. */
  onJoinAnswer: (pollToken: string, host: Peer, message: Message) => boolean;
}): MessageRelay {
  const { peers, requests, relayIds, counters } = needs;
  const audience: Audience = { has: (id) => peers.has(id as PeerId), ids: () => peers.keys() };

  function drop(reason: string): void {
    counters.count("worker.messages_dropped", reason);
  }

  function delivered(message: Message, count: number): void {
    counters.count("worker.messages_relayed", message.kind);
    counters.count("worker.messages_delivered", "", count);
  }

  function broadcast(
    message: Message,
    sender: Peer,
    to: readonly Receiver[],
    keyless: number,
  ): void {
    if (keyless > 0) counters.count("worker.messages_dropped", "no key", keyless);
    if (to.length === 0) return;
    const outboundFor = forwardBroadcast(message, sender.id);
    for (const { peer, key } of to) peers.get(peer)?.send(outboundFor(key));
    delivered(message, to.length);
  }

  function ask(message: Message, sender: Peer, responder: PeerId): void {
    const id = ownId(message);
    const relayedId = relayIds.forRequest(
      { requester: sender.id, id, epoch: needs.epoch() },
      responder,
    );
    if (!requests.add(relayedId, { requester: sender.id, responder, id })) {
      drop("requests");
      sender.send(requestFailure(id));
      return;
    }
    peers.get(responder)?.send(forwardRequest(message, sender.id, relayedId));
    delivered(message, 1);
  }

  function answer(message: Message, sender: Peer): void {
    const relayedId = idText(message) ?? "";
    const pollToken = sender.record.host ? relayIds.readJoin(relayedId, sender.id) : undefined;
    const failure =
      pollToken === undefined
        ? answerRequest(message, sender, relayedId)
        : needs.onJoinAnswer(pollToken, sender, message)
          ? undefined
          : "late";
    if (failure !== undefined) drop(failure);
  }

  /** Why the answer reaches nobody, or undefined when it was sent. */
  function answerRequest(message: Message, sender: Peer, relayedId: string): string | undefined {
    const request = relayIds.readRequest(relayedId, sender.id);
    if (request === undefined) return "answer";
    // One that an earlier owner of the session passed on is not known here, and may be answered all the same.
    if (!requests.take(relayedId) && request.epoch === needs.epoch()) return "late";
    const requester = peers.get(request.requester);
    if (requester === undefined) return "target";
    requester.send(forwardResponse(message, request.id));
    delivered(message, 1);
    return undefined;
  }

  function hear(message: Message, sender: Peer): void {
    const content = plainContent(message);
    if (isRecord(content) && content["method"] === "room/leave") needs.onLeave(sender);
    else drop("method");
  }

  function relay(message: Message, sender: Peer): void {
    const decision = route(message, sender.id, audience);
    switch (decision.action) {
      case "broadcast":
        broadcast(message, sender, decision.to, decision.keyless);
        break;
      case "notify":
        peers.get(decision.to)?.send(forwardNotification(message, sender.id));
        delivered(message, 1);
        break;
      case "ask":
        ask(message, sender, decision.of);
        break;
      case "fail":
        drop("target");
        sender.send(requestFailure(ownId(message)));
        break;
      case "answer":
        answer(message, sender);
        break;
      case "hear":
        hear(message, sender);
        break;
      case "drop":
        drop(decision.reason);
        break;
    }
  }

  return {
    take(sender, bytes) {
      const message = parseMessage(bytes, needs.acceptsVersion);
      if (typeof message === "string") {
        drop(message);
        return;
      }
      needs.onHeard(sender);
      relay(message, sender);
    },
  };
}

/** The id that the sender gave its message; a copy, because it outlives the bytes that it came in. */
function ownId(message: Message): Buffer {
  const { start, end } = message.id ?? { start: 0, end: 0 };
  return Buffer.from(message.bytes.subarray(start, end));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
