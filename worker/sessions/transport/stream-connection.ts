/**
 * A peer's connection over a WebSocket, after the handshake: engine.io 4 and socket.io 5 in the part that their clients use then
 * (heartbeat, the event `message` with one binary argument, disconnect). It is our own because it must do what theirs cannot:
 * go on with a WebSocket that another worker has begun, and give one away (docs/adr/0018-sessions-that-move.md).
 */
import { randomInt } from "node:crypto";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { type Clock, sleep, type Timer } from "../../../shared/base/clock.ts";
import { LinkLostError } from "../../../shared/link/stream.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import {
  confirmFrame,
  type DeliveryMark,
  isReached,
  MAX_KEPT_BYTES,
  MAX_STREAM_NUMBER,
  moveFrame,
  type Resumable,
  ticketFrame,
} from "../../../shared/resume/frames.ts";
import type { Connection, ConnectionEvents, MoveObstacle } from "../peers/peer.ts";
import type { OutboundMessage } from "../wire/outbound.ts";
import { isTooLarge, releaseRead, unfinishedBytes } from "./engine-internals.ts";
import type { FanOut, Output } from "./fan-out.ts";
import type { InputLimit } from "./input-limit.ts";
import { messageFrames, namespacePart, textFrame } from "./message-frames.ts";
import type { PacketHandler, PacketReader } from "./packet-reader.ts";
import { StreamOutput } from "./stream-output.ts";

/**
 * An engine.io packet type that does not exist. The clients of VS Code and the browser close the connection the moment
 * they read it: behind everything that they have sent, and what is sent from then on is kept for the next connection. With
 * a close frame or the end of our half they would accept messages, and drop them, until the connection has ended
 * (docs/adr/0010-closing-a-client.md).
 */
const UNKNOWN_PACKET = "9";
/** Time for that packet to be read and the connection to end. */
const CLOSE_GRACE_MS = 1000;
/** Clients rely on these values, which the handshake has told them; as in the reference server. */
export const PING_INTERVAL_MS = 25_000;
export const PING_TIMEOUT_MS = 20_000;
/** Time for the rest of a long message, and then for output to leave, before the WebSocket is moved. */
const FREEZE_MS = 250;
const FREEZE_POLL_MS = 5;

export interface StreamConnectionDeps {
  readonly webSocket: WebSocket;
  /** The socket below it. */
  readonly stream: Duplex;
  readonly namespace: string;
  readonly ordinal: number;
  readonly input: InputLimit;
  readonly reader: PacketReader;
  readonly fanOut: FanOut;
  readonly clock: Clock;
  readonly counters: Counters;
  /** Where the WebSocket stands. */
  readonly begun: StreamState;
  /** Whether another worker has begun it. */
  readonly isResumed: boolean;
  /** Time until its client needs a ping, if others have sent it some over this connection. */
  readonly firstPingMs?: number;
  /** Makes the ticket with which another worker resumes it; undefined: its balancer cannot do that. */
  readonly ticketFor: ((stream: number) => Resumable) | undefined;
}

export interface StreamState {
  /** Its number, the same on each worker that goes on with it. */
  readonly stream: number;
  /** Messages of the client that have been handled. */
  readonly messages: number;
  /** Of these, how many the balancer knows of. */
  readonly confirmed: number;
  /** Messages behind them that another worker may have relayed already. */
  readonly repeated: number;
}

/** Of a WebSocket that begins here. */
export function newStreamNumber(): number {
  return randomInt(1, MAX_STREAM_NUMBER);
}

export class StreamConnection implements Connection, Output {
  /** See `Connection`. */
  readonly ordinal: number;
  readonly #deps: StreamConnectionDeps;
  readonly #webSocket: WebSocket;
  readonly #output: StreamOutput;
  readonly #repeatedUntil: number;
  #events: ConnectionEvents | undefined;
  /** `migrating`: the migrate packet follows what is queued. `ending`: the disconnect does. */
  #state: "open" | "migrating" | "migrate-sent" | "frozen" | "ending" | "ended" = "open";
  #messages: number;
  #relayed: number;
  #confirmed: number;
  /** Given in this turn of the event loop; written at its end, at once. */
  #batch: OutboundMessage[] = [];
  #batchBytes = 0;
  #heartbeat: Timer | undefined;

  /** Create it in the turn in which the WebSocket is there, or messages are lost. */
  constructor(deps: StreamConnectionDeps) {
    const { webSocket, stream, namespace, begun } = deps;
    this.ordinal = deps.ordinal;
    this.#deps = deps;
    this.#webSocket = webSocket;
    const frames = messageFrames(namespace, this.isMovable);
    this.#output = new StreamOutput(stream, frames, this.#onWritten);
    this.#messages = begun.messages;
    this.#relayed = begun.confirmed;
    this.#confirmed = begun.confirmed;
    this.#repeatedUntil = begun.messages + begun.repeated;
    deps.reader.handler = this.#readPackets();
    deps.input.readFrom(webSocket);
    webSocket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    webSocket.on("error", (error) => {
      if (isTooLarge(error)) deps.counters.count("worker.messages_dropped", "oversized");
      // `ws` has sent a close frame, and waits for the client's: nothing that is written behind it would be read.
      this.#finish();
    });
    webSocket.on("close", () => this.#finish());
    // A client gives up an interval and a timeout after its last ping, which may be of a former worker and an interval old.
    this.#awaitPing(deps.isResumed ? 0 : deps.firstPingMs);
  }

  get isResumed(): boolean {
    return this.#deps.isResumed;
  }

  get isMovable(): boolean {
    return this.#deps.ticketFor !== undefined;
  }

  get pendingBytes(): number {
    return this.#batchBytes + this.#output.pendingBytes;
  }

  get unsentBytes(): number {
    return this.#batchBytes + this.#output.unsentBytes;
  }

  get isMigrating(): boolean {
    return (
      this.#state === "migrating" || this.#state === "migrate-sent" || this.#state === "frozen"
    );
  }

  open(events: ConnectionEvents): void {
    this.#events = events;
    const resumable = this.#deps.ticketFor?.(this.#deps.begun.stream);
    if (resumable !== undefined) {
      // First, because the next worker must not get what opened the connection.
      this.markRelayed();
      this.confirm();
      this.#output.writeFrame(ticketFrame(resumable));
    }
    events.received(0);
  }

  send(outbound: OutboundMessage): void {
    if (this.#state === "ended" || this.#state === "ending") return;
    if (this.#batch.length === 0) this.#deps.fanOut.add(this);
    this.#batch.push(outbound);
    this.#batchBytes += outbound.byteLength;
  }

  migrate(): void {
    if (this.#state !== "open") return;
    this.#state = "migrating";
    this.#deps.fanOut.write([this]);
    this.#onWritten();
  }

  close(): void {
    if (this.#state === "ended") return;
    if (this.#state === "frozen") {
      this.#sendMove();
      return;
    }
    const { isStuck } = this.#output;
    this.#finish();
    // A client that does not read would not see the close either.
    if (isStuck) this.#webSocket.terminate();
    else this.#webSocket.close();
  }

  end(): void {
    if (this.#state === "ended" || this.#state === "ending") return;
    this.#state = "ending";
    this.#deps.fanOut.write([this]);
    this.#onWritten();
  }

  #finish(): void {
    if (this.#state === "ended") return;
    const wasEnding = this.#state === "ending";
    this.#state = "ended";
    this.#heartbeat?.cancel();
    this.#deps.input.close();
    const unsent = [...this.#output.takeWaiting(), ...this.#batch];
    this.#batch = [];
    this.#batchBytes = 0;
    const isCut = this.#deps.stream.errored instanceof LinkLostError;
    if (!wasEnding) this.#events?.closed(unsent, isCut);
  }

  // --- reading ---

  #receive(data: Buffer, isBinary: boolean): void {
    if (this.#state === "ended") return;
    releaseRead(this.#webSocket);
    this.#messages = (this.#messages + 1) >>> 0;
    this.#events?.received(data.length);
    if (isBinary) {
      this.#deps.reader.readArgument(data);
      return;
    }
    this.#deps.input.spend();
    const text = data.toString("latin1");
    // engine.io's types of packets.
    switch (text.charAt(0)) {
      case "4":
        this.#deps.reader.read(text.slice(1));
        return;
      case "3":
        this.#awaitPing();
        return;
      // Of the upgrade from polling, which a balancer sends again to the next worker if it was not confirmed.
      case "2":
      case "5":
      case "6":
        return;
      default:
        this.close();
    }
  }

  #readPackets(): PacketHandler {
    const { counters } = this.#deps;
    return {
      message: (bytes) => this.#events?.message(bytes, this.#source()),
      disconnected: () => this.close(),
      connecting: (namespace) => {
        counters.count("worker.connects_refused", "second namespace");
        this.#webSocket.send(`44${namespace}{"message":"one namespace per connection"}`);
      },
      malformed: () => {
        counters.count("worker.messages_dropped", "malformed");
        this.close();
      },
    };
  }

  /** The message that is being handled. */
  #source(): DeliveryMark | undefined {
    if (!this.isMovable) return undefined;
    return {
      stream: this.#deps.begun.stream,
      message: this.#messages,
      isReplayed: !isReached(this.#messages - 1, this.#repeatedUntil),
    };
  }

  // --- heartbeat ---

  #awaitPing(inMs = PING_INTERVAL_MS): void {
    const { clock } = this.#deps;
    this.#heartbeat?.cancel();
    this.#heartbeat = clock.after(inMs, () => {
      const messages = this.#messages;
      if (this.#state !== "frozen") this.#webSocket.send("2");
      this.#heartbeat = clock.after(PING_TIMEOUT_MS, () => this.#checkPong(messages));
    });
  }

  /** A client that sent something else meanwhile has more time, once. */
  #checkPong(messages: number): void {
    if (messages === this.#messages) {
      this.#finish();
      this.#webSocket.terminate();
      return;
    }
    const { clock } = this.#deps;
    const later = this.#messages;
    this.#heartbeat = clock.after(PING_TIMEOUT_MS, () => this.#checkPong(later));
  }

  // --- writing ---

  writeBatch(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#output.write(batch);
    if (this.#state !== "open") this.#onWritten();
  }

  readonly #onWritten = (): void => {
    switch (this.#state) {
      case "open":
        this.#events?.drained();
        return;
      case "migrating":
        if (this.pendingBytes === 0) this.#sendMigrate();
        return;
      case "ending":
        if (this.pendingBytes === 0) this.#sendEnd();
        return;
      case "migrate-sent":
      case "frozen":
      case "ended":
        return;
    }
  };

  /** The client reads nothing after it. */
  #sendMigrate(): void {
    this.#state = "migrate-sent";
    this.#output.writeFrame(textFrame(UNKNOWN_PACKET));
    // A client that ignores the packet closes at the end of our half; what it sends in that moment may be lost.
    this.#deps.clock.after(CLOSE_GRACE_MS, () => {
      if (this.#state !== "ended") this.#deps.stream.end();
    });
  }

  #sendEnd(): void {
    this.#output.writeFrame(textFrame(`41${namespacePart(this.#deps.namespace)}`));
    this.#finish();
    this.#webSocket.close();
  }

  // --- moving ---

  async stopInput(): Promise<MoveObstacle | undefined> {
    if (!this.isMovable) return "no link";
    const isWhole = (): boolean => unfinishedBytes(this.#webSocket) <= MAX_KEPT_BYTES / 2;
    const isInTime = await this.#until(isWhole);
    if (this.#state !== "open") return "gone";
    this.#deps.input.hold();
    // The balancer keeps no more than some of a message.
    return isInTime ? undefined : "half a message";
  }

  async freeze(): Promise<MoveObstacle | undefined> {
    this.#deps.fanOut.write([this]);
    const isInTime = await this.#until(() => this.unsentBytes === 0);
    if (this.#state !== "open") return "gone";
    if (!isInTime) return "slow";
    this.#state = "frozen";
    return undefined;
  }

  /** Waits for `isDone`; false: it takes too long. */
  async #until(isDone: () => boolean): Promise<boolean> {
    const { clock } = this.#deps;
    const untilMs = clock.nowMs() + FREEZE_MS;
    while (this.#state === "open" && !isDone()) {
      if (clock.nowMs() >= untilMs) return false;
      await sleep(clock, FREEZE_POLL_MS);
    }
    return true;
  }

  thaw(): void {
    if (this.#state === "frozen") this.#state = "open";
    this.#deps.input.release();
  }

  /** An event has two parts, which belong together. */
  get #handled(): number {
    return this.#deps.reader.isInEvent ? (this.#messages - 1) >>> 0 : this.#messages;
  }

  markRelayed(): void {
    this.#relayed = this.#handled;
  }

  confirm(): void {
    const messages = this.#relayed;
    if (isReached(this.#confirmed, messages) || !this.isMovable || this.#state === "ended") return;
    this.#confirmed = messages;
    this.#output.writeFrame(confirmFrame(messages));
  }

  /** The balancer makes the session's owner go on with the WebSocket. */
  #sendMove(): void {
    this.confirm();
    this.#output.writeFrame(moveFrame(this.#handled));
    this.#finish();
    this.#deps.stream.end();
    this.#deps.clock.after(CLOSE_GRACE_MS, () => this.#webSocket.terminate());
  }
}
