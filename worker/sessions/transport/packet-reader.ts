/**
 * Reads socket.io's packets of one client after its CONNECT, whatever carries them: the event `message` with one binary argument,
 * which comes in a packet of its own, and the end. A client that changes from polling to a WebSocket may do so between the two.
 */
import { eventPacketOf, namespacePart } from "./message-frames.ts";

export interface PacketHandler {
  /** `bytes`: of the argument; none for an event that is not one of the protocol. */
  message(bytes: Buffer): void;
  /** The client leaves for good. */
  disconnected(): void;
  /** It wants to enter another namespace. `namespace`: as packets name it. */
  connecting(namespace: string): void;
  /** Not what a client of ours sends. */
  malformed(): void;
}

/** In place of what is not a message of the protocol: dropped and counted like any other malformed one. */
const NOTHING: Buffer = Buffer.alloc(0);
const CONNECT = /^0(\/[^,]{0,2048},)?/;

export class PacketReader {
  handler: PacketHandler | undefined;
  readonly #event: string;
  readonly #disconnect: string;
  /** As packets name it. */
  readonly #namespace: string;
  /** Whether the argument of an event follows. */
  #expects: "text" | "message" | "nothing" = "text";

  constructor(namespace: string) {
    this.#event = eventPacketOf(namespace);
    this.#namespace = namespacePart(namespace);
    this.#disconnect = `1${this.#namespace}`;
  }

  /** Whether the next packet begins with an event's argument. */
  get isInEvent(): boolean {
    return this.#expects !== "text";
  }

  readArgument(bytes: Buffer): void {
    const expected = this.#expects;
    this.#expects = "text";
    if (expected === "text") this.handler?.malformed();
    else this.handler?.message(expected === "message" ? bytes : NOTHING);
  }

  read(packet: string): void {
    if (this.#expects !== "text") this.handler?.malformed();
    // As all clients that we know write it.
    else if (packet === this.#event) this.#expects = "message";
    else this.#readOther(packet);
  }

  /** A balancer sends the one of its own namespace to the next worker again if it was not confirmed. */
  #readConnect(namespace: string): void {
    if (namespace !== this.#namespace) this.handler?.connecting(namespace);
  }

  #readOther(packet: string): void {
    switch (packet.charAt(0)) {
      case "5":
        if (!packet.startsWith("51-")) this.handler?.malformed();
        else this.#expects = isMessageEvent(packet) ? "message" : "nothing";
        return;
      case "6":
        this.handler?.malformed();
        return;
      case "2":
        this.handler?.message(NOTHING);
        return;
      case "1":
        if (packet === this.#disconnect) this.handler?.disconnected();
        return;
      case "0":
        this.#readConnect(CONNECT.exec(packet)?.[1] ?? "");
        return;
      default:
    }
  }
}

/** Whether it announces the event `message` with one binary argument, in any way of writing that. */
function isMessageEvent(packet: string): boolean {
  try {
    const event: unknown = JSON.parse(packet.slice(packet.indexOf("[")));
    return (
      Array.isArray(event) &&
      event[0] === "message" &&
      typeof event[1] === "object" &&
      event[1] !== null &&
      Reflect.get(event[1], "_placeholder") === true
    );
  } catch {
    return false;
  }
}
