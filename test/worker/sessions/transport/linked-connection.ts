/**
 * A connection whose WebSocket is a stream of a link in memory, and its client, byte by byte: what the client and its balancer
 * get, frame by frame.
 */
import { createServer } from "node:http";
import { onTestFinished } from "vitest";
import { WebSocketServer } from "ws";
import {
  hasHeader,
  headerLength,
  payloadLength,
} from "../../../../balancer/websocket/frame-header.ts";
import { type Clock, systemClock } from "../../../../shared/base/clock.ts";
import type { SessionId } from "../../../../shared/base/ids.ts";
import { createCounters } from "../../../../shared/metrics/metrics.ts";
import { type DeliveryMark, RESUME_FRAME } from "../../../../shared/resume/frames.ts";
import { LinkSocket } from "../../../../worker/links/link-socket.ts";
import type { FenceState, HeldWork } from "../../../../worker/sessions/fence.ts";
import { FanOut } from "../../../../worker/sessions/transport/fan-out.ts";
import { InputLimit } from "../../../../worker/sessions/transport/input-limit.ts";
import { PacketReader } from "../../../../worker/sessions/transport/packet-reader.ts";
import {
  StreamConnection,
  type StreamConnectionDeps,
} from "../../../../worker/sessions/transport/stream-connection.ts";
import type { OutboundMessage } from "../../../../worker/sessions/wire/outbound.ts";
import { clientFrame } from "../../../balancer/websocket/frames.ts";
import { upgrade } from "../../../conformance/case.ts";
import { createPair } from "../../../shared/link/memory-wire.ts";
import { until } from "../../../support/until.ts";

const SESSION = "S".repeat(24) as SessionId;

export const EVENT = '51-["message",{"_placeholder":true,"num":0}]';

export interface ConnectOptions extends Partial<Pick<StreamConnectionDeps, "begun" | "isResumed">> {
  readonly clock?: Clock;
  /** Whether its balancer can resume it. */
  readonly isMovable?: boolean;
  readonly maxPayload?: number;
}

/** A fence whose state the test sets. */
function createFence() {
  const held: HeldWork[] = [];
  const fence = {
    state: "open" as FenceState,
    look: () => fence.state,
    hold: (work: HeldWork) => void held.push(work),
    open() {
      fence.state = "open";
      for (const { run } of held.splice(0)) run();
    },
  };
  return fence;
}

export async function connect(options: ConnectOptions = {}) {
  const { clock = systemClock, isMovable = false, maxPayload = 64 * 1024 * 1024 } = options;
  const server = createServer();
  const webSockets = new WebSocketServer({ noServer: true, clientTracking: false, maxPayload });
  onTestFinished(() => webSockets.close());
  const sockets: LinkSocket[] = [];
  const pair = createPair((stream) => {
    const socket = new LinkSocket(stream, {});
    sockets.push(socket);
    server.emit("connection", socket);
  });
  const client = pair.balancer.open();
  const fence = createFence();
  const counters = createCounters();
  /** What its client has sent, and where that came from. */
  const messages: { readonly text: string; readonly source: DeliveryMark | undefined }[] = [];
  const unsent: OutboundMessage[] = [];
  let isClosed = false;
  let connection: StreamConnection | undefined;
  server.on("upgrade", (req, stream, head) => {
    webSockets.handleUpgrade(req, stream, head, (webSocket) => {
      connection = new StreamConnection({
        webSocket,
        stream,
        namespace: "/",
        ordinal: 1,
        input: new InputLimit({ clock, counters, maxMessagesPerSecond: 1000 }),
        reader: new PacketReader("/"),
        fanOut: new FanOut(fence),
        clock,
        counters,
        begun: options.begun ?? { stream: 1, messages: 0, confirmed: 0, repeated: 0 },
        isResumed: options.isResumed ?? false,
        ticketFor: isMovable ? () => ({ session: SESSION, epoch: 7, ticket: "t.t" }) : undefined,
      });
      connection.open({
        message: (bytes, source) => void messages.push({ text: bytes.toString(), source }),
        received() {},
        drained() {},
        closed(more) {
          isClosed = true;
          unsent.push(...more);
        },
      });
    });
  });
  // In each turn, because the server needs some of them.
  const settled = <T>(what: string, isTrue: () => T): Promise<NonNullable<T>> =>
    until(what, async () => {
      await pair.settle();
      return isTrue();
    }) as Promise<NonNullable<T>>;
  const has = (text: string): Promise<boolean> =>
    settled(`the client gets ${text}`, () => client.text.includes(text));
  client.stream.write([upgrade()]);
  await has("101 Switching Protocols");
  const headEnd = client.text.indexOf("\r\n\r\n") + 4;
  return {
    ...pair,
    client,
    counters,
    fence,
    messages,
    unsent,
    has,
    settled,
    isClosed: () => isClosed,
    connection: connection as unknown as StreamConnection,
    /** The worker's end of the stream. */
    socket: sockets[0] as LinkSocket,
    send: (...frames: readonly Buffer[]): void => void client.stream.write(frames),
    /** What the balancer has got, see `frameTexts`. */
    frames: () => frameTexts(Buffer.from(client.text.slice(headEnd), "latin1")),
  };
}

/** A packet of engine.io, as a client sends it. */
export function packet(text: string): Buffer {
  return clientFrame(1, Buffer.from(text));
}

/** A message of the protocol, as a client sends it: two messages of its WebSocket. */
export function event(content: string): Buffer {
  return Buffer.concat([packet(`4${EVENT}`), clientFrame(2, Buffer.from(content))]);
}

/** Frames as texts, such as `text 2`, `confirm 3` or `delivery 1/4`; the text of an event is left out. */
function frameTexts(bytes: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length && hasHeader(bytes, at); ) {
    const start = at + headerLength(bytes, at);
    const end = start + payloadLength(bytes, at);
    const text = frameText(bytes[at] ?? 0, bytes.subarray(start, end));
    if (text !== `text 4${EVENT}`) texts.push(text);
    at = end;
  }
  return texts;
}

function frameText(first: number, payload: Buffer): string {
  switch (first) {
    case 0x81:
      return `text ${payload.toString()}`;
    case 0x82:
      return `binary ${payload.toString()}`;
    case 0x88:
      return "close";
    case RESUME_FRAME.confirm:
      return `confirm ${payload.readUInt32BE()}`;
    case RESUME_FRAME.move:
      return `move ${payload.readUInt32BE()}`;
    case RESUME_FRAME.ticket:
      return "ticket";
    case RESUME_FRAME.delivery:
    case RESUME_FRAME.repeat:
      return `${first === RESUME_FRAME.repeat ? "repeat" : "delivery"} ${payload.readUInt32BE()}/${payload.readUInt32BE(4)}`;
    default:
      return `frame ${first}`;
  }
}
