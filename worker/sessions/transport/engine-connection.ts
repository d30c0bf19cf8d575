/**
 * One engine.io connection, before and while anybody speaks socket.io over it: what it may send, and how fast.
 */
import type { Socket as EngineSocket } from "engine.io";
import type { Clock } from "../../../shared/base/clock.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import { webSocketOf } from "./connection.ts";
import { createRateLimit } from "./rate-limit.ts";

export interface EngineConnection {
  /** Rises from connection to connection. */
  readonly ordinal: number;
  /** It belongs to a peer now: larger messages may come by polling. */
  admit(): void;
  /** Resolves when it may send again; undefined when it may now. Asked before a polled request is read. */
  resumed(): Promise<void> | undefined;
}

/** Polled bodies of strangers: a CONNECT of socket.io has a few bytes. */
const STRANGER_BYTES = 64 * 1024;
/** Base64 and separators: what one message may take in a polled body. */
const POLLING_OVERHEAD = 1.4;

export function createEngineConnection(
  conn: EngineSocket,
  needs: {
    ordinal: number;
    clock: Clock;
    counters: Counters;
    maxMessageBytes: number;
    maxMessagesPerSecond: number;
  },
): EngineConnection {
  const { clock, counters } = needs;
  const rateLimit = createRateLimit({ clock, perSecond: needs.maxMessagesPerSecond });
  let pause: { readonly over: Promise<void>; readonly end: () => void } | undefined;

  function stopReading(forMs: number): void {
    if (pause === undefined) {
      let end = (): void => {};
      const over = new Promise<void>((resolve) => {
        end = resolve;
      });
      pause = { over, end };
      counters.count("worker.floods_slowed");
      webSocketOf(conn)?.pause();
    }
    clock.after(forMs, goOn);
  }

  function goOn(): void {
    const waitMs = rateLimit.debtMs();
    if (waitMs > 0) {
      clock.after(waitMs, goOn);
      return;
    }
    pause?.end();
    pause = undefined;
    webSocketOf(conn)?.resume();
  }

  conn.on("packet", ({ type, data }: { type: string; data?: unknown }) => {
    // The binary part of an event: its announcement was counted.
    if (typeof data === "object") return;
    if (type === "message" && typeof data === "string" && hasSeveralParts(data)) {
      counters.count("worker.messages_dropped", "malformed");
      conn.close(true);
      return;
    }
    const waitMs = rateLimit.spend();
    if (waitMs > 0 && pause === undefined) stopReading(waitMs);
  });
  conn.on("upgrade", () => {
    if (pause !== undefined) webSocketOf(conn)?.pause();
  });
  conn.once("close", (_reason: string, error: unknown) => {
    pause?.end();
    if (isTooLarge(error)) counters.count("worker.messages_dropped", "oversized");
  });
  limitPolling(conn, STRANGER_BYTES);

  return {
    ordinal: needs.ordinal,
    admit: () => limitPolling(conn, Math.ceil(needs.maxMessageBytes * POLLING_OVERHEAD)),
    resumed: () => pause?.over,
  };
}

/**
 * Events of the protocol have one binary part. socket.io would keep up to ten, each as large as a message may be, before
 * it looks at what they belong to.
 */
function hasSeveralParts(data: string): boolean {
  return data.startsWith("6") || (data.startsWith("5") && !data.startsWith("51-"));
}

/** engine.io keeps the limit at each polling transport; a WebSocket has its own. */
function limitPolling(conn: EngineSocket, maxBytes: number): void {
  if (conn.transport.name === "polling") Reflect.set(conn.transport, "maxHttpBufferSize", maxBytes);
}

/** What `ws` says of a frame beyond its limit. */
function isTooLarge(error: unknown): boolean {
  return error instanceof Error && error.message.includes("Max payload size exceeded");
}
