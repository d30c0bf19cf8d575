/**
 * One engine.io connection, with or without a peer: limits what its client may send, and how fast.
 */
import type { Socket as EngineSocket } from "engine.io";
import type { Clock } from "../../../shared/base/clock.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import { isTooLarge, limitPolling, webSocketOf } from "./engine-internals.ts";
import { createRateLimit } from "./rate-limit.ts";

export interface EngineConnection {
  /** Rises from connection to connection: the higher is the newer. */
  readonly ordinal: number;
  /** Its client is a peer now: polled bodies may be as large as a message. */
  admit(): void;
  /** Resolves when its client may send again; undefined when it may now. Await it before a polled body is read. */
  resumed(): Promise<void> | undefined;
}

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
): EngineConnection {
  const { clock, counters } = deps;
  const rateLimit = createRateLimit({ clock, perSecond: deps.maxMessagesPerSecond });
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
    clock.after(forMs, resumeReading);
  }

  function resumeReading(): void {
    const waitMs = rateLimit.waitMs();
    if (waitMs > 0) {
      clock.after(waitMs, resumeReading);
      return;
    }
    pause?.end();
    pause = undefined;
    webSocketOf(conn)?.resume();
  }

  conn.on("packet", ({ type, data }: { type: string; data?: unknown }) => {
    // The binary part of an event: the event itself was counted.
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
  limitPolling(conn, UNADMITTED_BYTES);

  return {
    ordinal: deps.ordinal,
    admit: () => limitPolling(conn, Math.ceil(deps.maxMessageBytes * POLLING_OVERHEAD)),
    resumed: () => pause?.over,
  };
}

/**
 * Events of the protocol have one binary part. socket.io would buffer up to ten, each as large as a message may be, before
 * it checks the event.
 */
function hasSeveralParts(data: string): boolean {
  return data.startsWith("6") || (data.startsWith("5") && !data.startsWith("51-"));
}
