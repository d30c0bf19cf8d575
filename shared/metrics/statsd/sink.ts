/**
 * The way to a StatsD host, by `hot-shots`, for as long as the process lives. Nothing here is ever waited for by a request,
 * nothing piles up, and nothing throws.
 *
 * What `hot-shots` would do on its own account is turned off or done here: it does not connect again (so a client is made
 * for each connection), asks for a name's address at each datagram (so it gets an address), takes `DD_*` from the
 * environment (so every such option is set), and keeps sending to a peer that does not read (so that is looked at first).
 */
import { connect, isIP, type Socket } from "node:net";
import { StatsD } from "hot-shots";
import type { Clock, Timer } from "../../base/clock.ts";
import { describeError } from "../../base/errors.ts";
import { cut } from "../../logs/escape.ts";
import type { Log } from "../../logs/log.ts";
import type { Line } from "./batch.ts";
import { createResolver, type Resolver } from "./resolver.ts";

export interface Sink {
  /**
   * Sends a batch, as far as can be told: UDP does not say. False: nothing was sent, because there is no way now; a later
   * batch may hold what this one did.
   */
  send(lines: readonly Line[]): boolean;
  readonly health: SinkHealth;
  close(): void;
}

/** UDP does not say whether anybody listens: then `sending` is all that is known. */
export interface SinkHealth {
  readonly state: "sending" | "away";
  /** What went wrong last, and how long ago; also when it is well again. */
  readonly lastError?: { readonly reason: string; readonly agoMs: number };
}

export interface SinkNeeds {
  readonly host: string;
  readonly port: number;
  readonly protocol: "udp" | "tcp";
  /** Longest wait before a lost connection is tried again. */
  readonly maxRetryMs: number;
  /** Operators are not told that it cannot be reached. */
  readonly isOptional?: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** There is a way again after `send` has said that there was none. */
  readonly onBack: () => void;
  /** Where the host is; by default the system is asked. */
  readonly resolver?: Resolver;
}

/** Fits into a packet of any Ethernet or VPN; over TCP it is the size of a write. */
const MAX_DATAGRAM_BYTES = 1432;
/** How often it is looked whether the host has moved; UDP has no other way to notice. */
const RESOLVE_PERIOD_MS = 30_000;
const CONNECT_TIMEOUT_MS = 2000;
const FIRST_RETRY_MS = 100;
const KEEP_ALIVE_MS = 30_000;
/** Batches in a row that a peer has not taken before it is given up. */
const MAX_UNREAD = 3;
const MAX_REASON_CHARS = 200;
/** Only `flush` ends a batch. */
const NEVER_MS = 0x7fff_ffff;

export function openSink(needs: SinkNeeds): Sink {
  const report = createReport(needs);
  return needs.protocol === "udp" ? openUdp(needs, report) : openTcp(needs, report);
}

// --- UDP ---

function openUdp(needs: SinkNeeds, report: Report): Sink {
  const { host, port, clock, onBack } = needs;
  const resolver = needs.resolver ?? createResolver(host);
  let client: StatsD | undefined;
  let address: string | undefined;
  let isClosed = false;
  let wasRefused = false;
  let isLost = false;
  let failed = false;

  function look(): void {
    resolver.resolve().then(
      ([found]) => {
        isLost = false;
        if (isClosed || found === undefined || found === address) return;
        client?.close(() => {});
        address = found;
        client = createClient({ host: found, port, protocol: "udp" }, (error) => {
          failed = true;
          report.away(error);
        });
        if (!wasRefused) return;
        wasRefused = false;
        onBack();
      },
      // The last address may still be right: it stays in use.
      (error: unknown) => {
        isLost = true;
        report.away(error);
      },
    );
  }

  look();
  // An address cannot move.
  const looking = isIP(host) === 0 ? clock.every(RESOLVE_PERIOD_MS, look) : undefined;
  return {
    send(lines) {
      if (client === undefined) {
        wasRefused = true;
        look();
        return false;
      }
      // The batch before went out without an error.
      if (!failed && !isLost) report.back();
      failed = false;
      hand(client, lines);
      return true;
    },
    get health() {
      return report.health;
    },
    close() {
      isClosed = true;
      looking?.cancel();
      client?.close(() => {});
    },
  };
}

// --- TCP ---

function openTcp(needs: SinkNeeds, report: Report): Sink {
  const { host, port, clock } = needs;
  const resolver = needs.resolver ?? createResolver(host);
  let socket: Socket | undefined;
  let client: StatsD | undefined;
  let retry: Timer | undefined;
  let failures = 0;
  let unread = 0;
  let wasRefused = false;
  let isClosed = false;

  function open(): void {
    resolver.resolve().then(
      (addresses) => {
        if (isClosed) return;
        // Each try takes the next address.
        const address = addresses[failures % addresses.length];
        if (address === undefined) lose(new Error("the name has no address"));
        else dial(address);
      },
      (error: unknown) => lose(error),
    );
  }

  function dial(address: string): void {
    const opened = connect({ host: address, port });
    socket = opened;
    opened.unref();
    opened.setKeepAlive(true, KEEP_ALIVE_MS);
    // Nothing that it may say is of interest, but it must be read so that its end is noticed.
    opened.resume();
    const limit = clock.after(CONNECT_TIMEOUT_MS, () => {
      opened.destroy(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`));
    });
    let failure: unknown = new Error("the connection was closed");
    opened.on("error", (error) => {
      failure = error;
    });
    opened.once("close", () => {
      limit.cancel();
      if (socket !== opened) return;
      socket = undefined;
      client?.close(() => {});
      client = undefined;
      lose(failure);
    });
    opened.once("connect", () => {
      limit.cancel();
      failures = 0;
      unread = 0;
      client = createClient({ protocol: "stream", stream: opened }, ignore);
      report.back();
      if (!wasRefused) return;
      wasRefused = false;
      needs.onBack();
    });
  }

  function lose(error: unknown): void {
    if (isClosed) return;
    report.away(error);
    const delayMs = Math.min(needs.maxRetryMs, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
    failures++;
    // Jitter, because all processes lose it at the same moment.
    retry = clock.after(delayMs * (0.5 + Math.random() / 2), open);
  }

  open();
  return {
    send(lines) {
      if (client === undefined || socket === undefined) {
        wasRefused = true;
        return false;
      }
      if (socket.writableLength > 0) {
        // A whole interval was not enough for the batch before: it does not read.
        unread++;
        if (unread >= MAX_UNREAD) socket.destroy(new Error("it does not read what is sent"));
        return false;
      }
      unread = 0;
      hand(client, lines);
      return true;
    },
    get health() {
      return report.health;
    },
    close() {
      isClosed = true;
      retry?.cancel();
      // What was handed over goes out before the end.
      socket?.end();
      socket = undefined;
    },
  };
}

// --- hot-shots ---

function createClient(
  to: { host: string; port: number; protocol: "udp" } | { protocol: "stream"; stream: Socket },
  errorHandler: (error: Error) => void,
): StatsD {
  return new StatsD({
    ...to,
    maxBufferSize: MAX_DATAGRAM_BYTES,
    bufferFlushInterval: NEVER_MS,
    errorHandler,
    // Each of these would otherwise depend on DD_* variables that are meant for others.
    datadog: false,
    includeDataDogTags: false,
    includeDatadogTelemetry: false,
  });
}

function hand(client: StatsD, lines: readonly Line[]): void {
  for (const { type, name, value, tags } of lines) {
    if (type === "gauge") client.gauge(name, value, tags ?? {});
    else client.increment(name, value, tags ?? {});
  }
  client.flush(ignore);
}

// --- what operators are told ---

interface Report {
  away(error: unknown): void;
  back(): void;
  readonly health: SinkHealth;
}

/** One line when StatsD cannot be reached, and one when it can again. */
function createReport({ host, port, protocol, isOptional, clock, log }: SinkNeeds): Report {
  const statsd = `${protocol}://${host}:${port}`;
  let isAway = false;
  let last: { readonly reason: string; readonly atMs: number } | undefined;
  return {
    away(error) {
      last = { reason: cut(describeError(error), MAX_REASON_CHARS), atMs: clock.nowMs() };
      if (isAway) return;
      isAway = true;
      if (isOptional === true) return;
      log.warn(
        { statsd, reason: last.reason },
        "StatsD cannot be reached; check CT_METRICS_STATSD_HOST, _PORT and _PROTOCOL",
      );
    },
    back() {
      if (isAway && isOptional !== true) log.info({ statsd }, "StatsD can be reached again");
      isAway = false;
    },
    get health() {
      const lastError = last && {
        reason: last.reason,
        agoMs: Math.round(clock.nowMs() - last.atMs),
      };
      return {
        state: isAway ? ("away" as const) : ("sending" as const),
        ...(lastError !== undefined && { lastError }),
      };
    },
  };
}

function ignore(): void {}
