/**
 * One engine.io connection, with or without a peer, until its WebSocket is taken over (stream-connection.ts): limits what its
 * client may send, and how fast.
 */
import type { Socket as EngineSocket } from "engine.io";
import type { Clock } from "../../../shared/base/clock.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import { countMessages, isTooLarge, limitPolling, webSocketOf } from "./engine-internals.ts";
import { InputLimit } from "./input-limit.ts";

export type EngineConnection = ReturnType<typeof createEngineConnection>;

/** Limit of polled bodies before admission: a CONNECT of socket.io has a few bytes. */
const UNADMITTED_BYTES = 64 * 1024;
/** A message grows in a polled body by base64 and separators. */
const POLLING_OVERHEAD = 1.4;

export function createEngineConnection(
  conn: EngineSocket,
  deps: {
    ordinal: number;
    clock: Clock;
    counters: Counters;
    maxMessageBytes: number;
    maxMessagesPerSecond: number;
  },
) {
  const { counters } = deps;
  const input = new InputLimit(deps);
  input.readFrom(webSocketOf(conn));

  conn.on("packet", ({ type, data }: { type: string; data?: unknown }) => {
    // The binary part of an event: the event itself was counted.
    if (typeof data === "object") return;
    if (type === "message" && typeof data === "string" && hasSeveralParts(data)) {
      counters.count("worker.messages_dropped", "malformed");
      conn.close(true);
      return;
    }
    input.spend();
  });
  conn.on("upgrade", () => input.readFrom(webSocketOf(conn)));
  conn.once("close", (_reason: string, error: unknown) => {
    if (isTooLarge(error)) counters.count("worker.messages_dropped", "oversized");
  });
  limitPolling(conn, UNADMITTED_BYTES);

  return {
    /** Rises from connection to connection: the higher is the newer. */
    ordinal: deps.ordinal,
    input,
    /** When it was opened, on the clock of this process. */
    openedMs: deps.clock.nowMs(),
    /** Messages that have come over its WebSocket. */
    messages: countMessages(conn),
    /** Its client is a peer now: polled bodies may be as large as a message. */
    admit: (): void => limitPolling(conn, Math.ceil(deps.maxMessageBytes * POLLING_OVERHEAD)),
  };
}

/**
 * Events of the protocol have one binary part. socket.io would buffer up to ten, each as large as a message may be, before
 * it checks the event.
 */
export function hasSeveralParts(data: string): boolean {
  return data.startsWith("6") || (data.startsWith("5") && !data.startsWith("51-"));
}
