/**
 * A simulated unmodified client: it creates or joins one session, talks, comes back when its connection ends, and gives up
 * after 30 s without one (contracts of socket.io's client and of the Open Collaboration Tools).
 */
import { decode } from "@msgpack/msgpack";
import type { Connection as Stream } from "../../balancer/transport/transport.ts";
import type { Timer } from "../../shared/base/clock.ts";
import type { PeerId, SessionId } from "../../shared/base/ids.ts";
import { balancerAddress } from "./balancer.ts";
import type { Place } from "./network.ts";
import type { Surroundings } from "./surroundings.ts";
import { readClaims } from "./tokens.ts";
import {
  chat,
  createFrameReader,
  createHeadReader,
  type Frame,
  leaving,
  writeFrame,
  writeHead,
} from "./wire.ts";

/** socket.io's client: 1 s, doubled up to 5 s, each ±50 %. */
const FIRST_BACK_OFF_MS = 1000;
const MAX_BACK_OFF_MS = 5000;
const ATTEMPT_TIMEOUT_MS = 20_000;
/** Its heartbeat: the worker's ping interval and timeout. */
const SILENCE_MS = 45_000;
/** Clients give up a connection that has been lost for this long. */
export const GIVE_UP_MS = 30_000;
const CREATE_RETRY_MS = 1000;
const CHAT_MS = [800, 3000] as const;

/** `over`: it was told that the session is over, or that it is not wanted. */
export type ClientState = "waiting" | "connecting" | "connected" | "over" | "gave up" | "gone";

export interface Client {
  readonly name: string;
  readonly room: Room;
  readonly isHost: boolean;
  readonly state: ClientState;
  readonly peerId: PeerId | undefined;
  /** Since when it is not connected; undefined while it is. */
  readonly awaySinceMs: number | undefined;
  /** Gets its room token, and connects. */
  invite(token: string): void;
  /** Says something to the others, if it is connected. */
  say(text: string): void;
  /** Its connection is cut; it comes back. */
  drop(): void;
  /** Sends the leave message, or just ends. */
  leave(how: "politely" | "silently"): void;
}

/** People who work together. */
export interface Room {
  readonly name: string;
  readonly clients: Client[];
  /** Once it was created. */
  sessionId: SessionId | undefined;
  /** Counts those who were let in. */
  clock: number;
  /** Called when the host is connected for the first time. */
  onHosted: () => void;
}

export function startClient(
  place: Place,
  who: { readonly room: Room; readonly isHost: boolean },
  needs: Surroundings & { readonly balancers: () => readonly string[] },
): Client {
  const { network, watch, random } = needs;
  const { room, isHost } = who;
  const { process } = place;
  const { clock } = process;
  const transport = network.transport(place);
  let state: ClientState = isHost ? "connecting" : "waiting";
  let token: string | undefined;
  let peerId: PeerId | undefined;
  let stream: Stream | undefined;
  let awaySinceMs: number | undefined = clock.nowMs();
  let failures = 0;
  let said = 0;
  let givingUp: Timer | undefined;

  function change(next: ClientState, why: string): void {
    if (isOver()) return;
    if (next !== state) watch.note(`${client.name} ${next}${why === "" ? "" : `: ${why}`}`);
    state = next;
    if (isOver()) watch.ended(client, why);
  }

  function isOver(): boolean {
    return state === "over" || state === "gave up" || state === "gone";
  }

  /** A connection to a balancer that accepts one, as behind a name with several addresses. */
  function dial(onOpen: (stream: Stream) => void, onFail: () => void): void {
    const open = needs.balancers().filter((name) => {
      const { host, port } = balancerAddress(name);
      return network.listensAt(`${host}:${port}`);
    });
    if (open.length === 0) {
      clock.after(1, onFail);
      return;
    }
    transport.dial(balancerAddress(random.pick(open)), { onOpen, onFail });
  }

  // --- creating ---

  function create(): void {
    if (isOver() || token !== undefined) return;
    let isDone = false;
    const again = (): void => {
      if (isDone) return;
      isDone = true;
      clock.after(CREATE_RETRY_MS, create);
    };
    clock.after(ATTEMPT_TIMEOUT_MS, again);
    dial((opened) => {
      const reader = createHeadReader(({ start }, body) => {
        opened.end();
        if (isDone) return "go on";
        if (start[1] !== "200") again();
        else {
          isDone = true;
          const hostToken = body.toString();
          room.sessionId = readClaims(hostToken).sessionId;
          client.invite(hostToken);
        }
        return "go on";
      });
      opened.handler = {
        onData: (bytes) => void reader.push(bytes),
        onEnd: again,
        onDrain() {},
        onClose: again,
      };
      const body = JSON.stringify({ user: room.name });
      const head = writeHead("POST /api/session/create HTTP/1.1", {
        host: "edge",
        "content-length": String(body.length),
      });
      opened.write([head + body]);
    }, again);
  }

  // --- connecting ---

  function attempt(): void {
    if (isOver() || token === undefined) return;
    const known = token;
    let isDone = false;
    const fail = (): void => {
      if (isDone) return;
      isDone = true;
      retry();
    };
    const limit = clock.after(ATTEMPT_TIMEOUT_MS, () => {
      fail();
      pending?.reset();
    });
    let pending: Stream | undefined;
    dial((opened) => {
      if (isDone) return opened.reset();
      pending = opened;
      const reader = createHeadReader(({ start }) => {
        if (isDone) return "go on";
        if (start[1] !== "101") {
          limit.cancel();
          opened.end();
          fail();
          return "go on";
        }
        isDone = true;
        limit.cancel();
        return "upgraded";
      });
      opened.handler = {
        onData(bytes) {
          const rest = reader.push(bytes);
          if (rest !== undefined) useSocket(opened, rest);
        },
        onEnd: fail,
        onDrain() {},
        onClose: fail,
      };
      opened.write([
        writeHead("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1", {
          host: "edge",
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": "bW9kZWxtb2RlbG1vZGVsbQ==",
          "x-oct-jwt": known,
        }),
      ]);
    }, fail);
  }

  function retry(): void {
    if (isOver()) return;
    const delayMs = Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** failures);
    failures++;
    clock.after(delayMs * random.between(0.5, 1.5), attempt);
  }

  function useSocket(opened: Stream, rest: Buffer): void {
    stream = opened;
    const lost = (): void => {
      silence.cancel();
      if (stream !== opened) return;
      stream = undefined;
      opened.destroy();
      away();
      retry();
    };
    const onSilence = (): void => lost();
    let silence = clock.after(SILENCE_MS, onSilence);
    const reader = createFrameReader((frame) => {
      if (stream !== opened || isOver()) return;
      silence.cancel();
      silence = clock.after(SILENCE_MS, onSilence);
      hear(frame, opened);
    });
    opened.handler = {
      onData: (bytes) => reader.push(bytes),
      onEnd: lost,
      onDrain() {},
      onClose: lost,
    };
    opened.write([writeFrame("connect")]);
    if (rest.length > 0) reader.push(rest);
  }

  function hear({ kind, epoch, body }: Frame, from: Stream): void {
    switch (kind) {
      case "admitted":
        arrive(epoch);
        break;
      case "ping":
        from.write([writeFrame("pong")]);
        break;
      case "message":
        watch.delivered(client, epoch, textOf(body));
        break;
      case "over":
        change("over", body.toString());
        stream = undefined;
        break;
      case "connect":
      case "pong":
        // Only a client says these.
        break;
    }
  }

  function arrive(epoch: number): void {
    failures = 0;
    givingUp?.cancel();
    awaySinceMs = undefined;
    change("connected", `epoch ${epoch}`);
    if (isHost) room.onHosted();
  }

  function away(): void {
    if (awaySinceMs === undefined) {
      awaySinceMs = clock.nowMs();
      giveUpLater();
    }
    change("connecting", "");
  }

  function giveUpLater(): void {
    givingUp?.cancel();
    givingUp = clock.after(GIVE_UP_MS, () => {
      change("gave up", "");
      stream?.destroy();
    });
  }

  // --- talking ---

  function talk(): void {
    if (isOver()) return;
    client.say(`${client.name}#${++said}`);
    clock.after(random.between(...CHAT_MS), talk);
  }

  const client: Client = {
    name: place.machine,
    room,
    isHost,
    get state() {
      return state;
    },
    get peerId() {
      return peerId;
    },
    get awaySinceMs() {
      return awaySinceMs;
    },
    invite(given) {
      if (isOver()) return;
      token = given;
      peerId = readClaims(given).peerId;
      awaySinceMs = clock.nowMs();
      change("connecting", "");
      giveUpLater();
      attempt();
    },
    say(text) {
      if (state !== "connected" || stream === undefined) return;
      const others = room.clients.flatMap(({ peerId: id }) =>
        id === undefined || id === peerId ? [] : [id],
      );
      stream.write([writeFrame("message", chat(text, others))]);
    },
    drop() {
      const dropped = stream;
      if (dropped === undefined || isOver()) return;
      // The next end of it finds it replaced.
      stream = undefined;
      dropped.reset();
      away();
      retry();
    },
    leave(how) {
      if (how === "politely") stream?.write([writeFrame("message", leaving())]);
      stream?.end();
      change("gone", how);
      stream = undefined;
    },
  };

  if (isHost) create();
  clock.after(random.between(...CHAT_MS), talk);
  return client;
}

/** What was said, or the worker's own word. */
function textOf(message: Buffer): string | undefined {
  const { content } = decode(message) as { content: unknown };
  return content instanceof Uint8Array ? Buffer.from(content).toString() : undefined;
}
