/**
 * One peer's connection: socket.io's event `message` with one binary argument, over whatever transport engine.io has at
 * the moment.
 */
import { Duplex } from "node:stream";
import type { Socket } from "socket.io";
import type { Fence } from "../fence.ts";
import type { Connection, ConnectionEvents } from "../peer.ts";
import type { OutboundMessage } from "../wire/outbound.ts";

/** The event as socket.io writes it: the one argument follows in a message of its own. */
const EVENT = '["message",{"_placeholder":true,"num":0}]';

/**
 * `ordinal`: see `Connection`. The fence is asked before each write: what was said before this process was stopped must
 * not be sent by it when another worker has the session. Attach it in the turn in which socket.io reports the socket, or
 * messages are lost.
 */
export function createConnection(
  socket: Socket,
  ordinal: number,
  fence: Pick<Fence, "look" | "hold">,
): Connection {
  const { conn } = socket;
  const namespace = socket.nsp.name === "/" ? "" : `${socket.nsp.name},`;
  const announcement = `51-${namespace}${EVENT}`;
  // "4": engine.io's packet type "message", which text frames carry and binary ones do not.
  const announcementFrame = textFrame(`4${announcement}`);
  let events: ConnectionEvents | undefined;
  let ended = false;
  let isLeaving = false;
  let migrateSent = false;
  let awaitsUpgrade = false;
  /** What was given in this turn of the event loop; written at its end, in one piece. */
  let turn: OutboundMessage[] = [];
  let turnBytes = 0;
  /** Given to engine.io, not yet to its transport. */
  let unsent: OutboundMessage[] = [];
  let unsentBytes = 0;
  /** Given to the transport, not yet to the system. */
  let inFlightBytes = 0;

  // engine.io hands everything over at once, and only when the batch before is through.
  conn.on("flush", () => {
    inFlightBytes = unsentBytes;
    unsentBytes = 0;
    unsent = [];
  });

  function onSent(): void {
    inFlightBytes = 0;
    if (isLeaving) sendMigrate();
    else if (!ended) events?.drained();
  }

  /** Once all that was given to it is on its way: what follows a good-bye is not read. */
  function sendMigrate(): void {
    if (ended || turn.length > 0 || unsentBytes > 0 || inFlightBytes > 0) return;
    if (conn.upgrading) {
      // What the client says meanwhile comes by the WebSocket that is not in use yet, and would be lost with it. An upgrade
      // that fails has no event.
      if (awaitsUpgrade) return;
      awaitsUpgrade = true;
      setTimeout(() => {
        awaitsUpgrade = false;
        sendMigrate();
      }, UPGRADE_STEP_MS).unref();
      return;
    }
    if (migrateSent) return;
    migrateSent = true;
    const webSocket = webSocketOf(conn);
    if (webSocket !== undefined) {
      webSocket.send(UNKNOWN_PACKET);
      // A package that overlooks it goes by the end of our half; what it sends in that moment may be lost.
      setTimeout(() => {
        if (!ended) streamOf(webSocket)?.end();
      }, CLOSE_GRACE_MS).unref();
      return;
    }
    // While engine.io says good-bye to a poll it takes what is posted, and drops it.
    conn.transport.on("packet", ({ type, data }: { type: string; data?: unknown }) => {
      if (type === "message" && conn.readyState === "closing") conn.emit("data", data);
    });
    conn.close();
  }

  function finish(): void {
    if (ended) return;
    ended = true;
    socket.offAny();
    events?.closed([...unsent, ...turn]);
    unsent = [];
    turn = [];
  }

  /**
   * Most of what a relay costs is the system call for each write, so what one turn brings for a peer is written once.
   * The end of the turn is less than a millisecond away.
   */
  function writeTurn(): void {
    if (turn.length === 0) return;
    const state = fence.look();
    if (state === "undecided") fence.hold({ run: writeTurn, refuse() {} });
    // When it shuts, all connections are closed, and what waits is put back.
    if (state !== "open") return;
    const parcels = turn;
    turn = [];
    turnBytes = 0;
    if (conn.transport.name === "websocket") {
      for (const piece of piecesOf(parcels)) {
        count(piece);
        conn.write(NOTHING, framed(announcementFrame, piece), onSent);
      }
      return;
    }
    for (const outbound of parcels) {
      conn.write(announcement);
      // Only now: engine.io may have sent the announcement alone, which is worth nothing.
      count([outbound]);
      conn.write(joined(outbound), { compress: false }, onSent);
    }
  }

  /** Right before what is counted is given to engine.io, which may hand it on at once. */
  function count(parcels: readonly OutboundMessage[]): void {
    for (const outbound of parcels) {
      unsent.push(outbound);
      unsentBytes += outbound.byteLength;
    }
  }

  socket.on("disconnect", () => {
    finish();
    // After a good-bye of socket.io the transport would stay open for nobody.
    conn.close();
  });

  return {
    ordinal,
    get pendingBytes() {
      return turnBytes + unsentBytes + inFlightBytes;
    },
    get isLeaving() {
      return isLeaving;
    },
    open(listener) {
      events = listener;
      // Not `on`: that one drops a message when a good-bye came in the same piece.
      socket.onAny((event: unknown, argument: unknown) => {
        listener.message(event === "message" && Buffer.isBuffer(argument) ? argument : NOTHING);
      });
    },
    send(outbound) {
      if (ended) return;
      if (turn.length === 0) setImmediate(writeTurn);
      turn.push(outbound);
      turnBytes += outbound.byteLength;
    },
    leave() {
      if (ended || isLeaving) return;
      isLeaving = true;
      writeTurn();
      sendMigrate();
    },
    close() {
      if (ended) return;
      const isStuck = inFlightBytes > 0;
      finish();
      closeConnection(conn);
      // A client that does not read would not see the good-bye either.
      if (isStuck) webSocketOf(conn)?.terminate();
    },
    end() {
      if (ended) return;
      ended = true;
      socket.offAny();
      writeTurn();
      socket.disconnect(true);
    },
  };
}

/**
 * engine.io's client of VS Code and the browser takes a packet of a type that engine.io does not have for the end of the
 * connection, in the very moment in which it reads it: it closes it behind all that it has sent, keeps what is said from
 * then on, and comes back. At a close frame or the end of our half it would take messages, and drop them, until the
 * connection has ended (docs/adr/0010-the-good-bye.md).
 */
const UNKNOWN_PACKET = "9";
/** Time for the packet to be read and the connection to end. */
const CLOSE_GRACE_MS = 1000;
/** How often is looked whether an upgrade to a WebSocket is over. */
const UPGRADE_STEP_MS = 10;

/**
 * Closes an engine.io connection so that its client comes back; what was not sent is discarded, because it went back to the
 * peer. Not in the middle of an upgrade: a client whose WebSocket is closed after the probe was answered and before it has
 * stopped polling does neither of the two any more (engine.io-client 6.6, `_probe`), until its heartbeat fails after 45 s. An
 * upgrade that does not come about ends by itself.
 */
export function closeConnection(conn: Socket["conn"]): void {
  if (!conn.upgrading) {
    conn.close(true);
    return;
  }
  // The end of the upgrade would send it. engine.io keeps it where its types do not say.
  const unsent: unknown = Reflect.get(conn, "writeBuffer");
  if (Array.isArray(unsent)) unsent.length = 0;
  setTimeout(closeConnection, UPGRADE_STEP_MS, conn).unref();
}

/** What is not a message of the protocol: dropped and counted like any other malformed one. */
const NOTHING: Buffer = Buffer.alloc(0);

function joined({ head, content }: OutboundMessage): Buffer {
  return content === undefined ? head : Buffer.concat([head, content]);
}

// --- WebSocket ---

/** What is used of the `ws` package's object behind a transport. */
export interface WebSocketControl {
  /** Stops reading, so that the sender is slowed down by TCP. */
  pause(): void;
  resume(): void;
  /** Sends a text frame. */
  send(text: string): void;
  /** Closes at once, without waiting for what is still to be sent. */
  terminate(): void;
}

/** The WebSocket of a connection; undefined while it polls. engine.io keeps it where its types do not say. */
export function webSocketOf(conn: Socket["conn"]): WebSocketControl | undefined {
  if (conn.transport.name !== "websocket") return undefined;
  const socket: unknown = Reflect.get(conn.transport, "socket");
  return isWebSocket(socket) ? socket : undefined;
}

/** The stream below a WebSocket of the `ws` package, which keeps it where its types do not say. */
function streamOf(webSocket: WebSocketControl): Duplex | undefined {
  const stream: unknown = Reflect.get(webSocket, "_socket");
  return stream instanceof Duplex ? stream : undefined;
}

function isWebSocket(value: unknown): value is WebSocketControl {
  return (
    typeof value === "object" &&
    value !== null &&
    "pause" in value &&
    "resume" in value &&
    "send" in value &&
    "terminate" in value
  );
}

/** Parcels that are written together: a shared content is the last of its piece. */
function piecesOf(parcels: readonly OutboundMessage[]): OutboundMessage[][] {
  const pieces: OutboundMessage[][] = [];
  let piece: OutboundMessage[] = [];
  for (const outbound of parcels) {
    piece.push(outbound);
    if (outbound.content === undefined) continue;
    pieces.push(piece);
    piece = [];
  }
  if (piece.length > 0) pieces.push(piece);
  return pieces;
}

/**
 * The events of a piece as frames: engine.io would write each event's two messages by themselves. The option is the one
 * by which socket.io's adapter gives engine.io the frames of a broadcast; it takes one or two buffers.
 */
function framed(
  announcementFrame: Buffer,
  piece: readonly OutboundMessage[],
): { compress: boolean } {
  const parts: Buffer[] = [];
  for (const { head, byteLength } of piece) {
    parts.push(announcementFrame, frameHeader(0x82, byteLength), head);
  }
  const first = Buffer.concat(parts);
  const content = piece.at(-1)?.content;
  const wsPreEncodedFrame = content === undefined ? [first] : [first, content];
  return { compress: false, wsPreEncodedFrame } as { compress: boolean };
}

function textFrame(text: string): Buffer {
  const payload = Buffer.from(text, "utf8");
  return Buffer.concat([frameHeader(0x81, payload.length), payload]);
}

/** Head of an unfragmented, unmasked frame (RFC 6455 §5.2). */
function frameHeader(finAndOpcode: number, length: number): Buffer {
  if (length < 126) return Buffer.from([finAndOpcode, length]);
  if (length < 65_536) return Buffer.from([finAndOpcode, 126, length >> 8, length & 0xff]);
  const header = Buffer.alloc(10);
  header[0] = finAndOpcode;
  header[1] = 127;
  header.writeUIntBE(length, 4, 6);
  return header;
}
