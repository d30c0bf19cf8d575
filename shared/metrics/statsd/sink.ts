/**
 * A connection to a StatsD server through `hot-shots`, for the lifetime of the process. No request waits for it, nothing
 * queues up, and nothing throws.
 *
 * `hot-shots` does not reconnect, so each connection gets a client of its own; it resolves the host for every datagram, so
 * it is given an address; it reads `DD_*` from the environment, so each such option is set; and it keeps sending to a peer
 * that does not read, so the socket's buffer is checked first.
 */
import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket } from "node:net";
import { StatsD } from "hot-shots";
import { backoffMs, HALF_RANDOM } from "../../base/backoff.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import { describeError } from "../../base/errors.ts";
import { oneFlight } from "../../base/one-flight.ts";
import { cut } from "../../logs/escape.ts";
import type { Log } from "../../logs/log.ts";
import type { Line } from "./batch.ts";

export interface Sink {
  /**
   * Sends a batch; over UDP there is no confirmation. False if there is no connection: nothing was sent, and the counts
   * belong into a later batch.
   */
  send(lines: readonly Line[]): boolean;
  readonly health: SinkHealth;
  close(): void;
}

/** Over UDP `sending` does not mean that a server receives the datagrams. */
export interface SinkHealth {
  readonly state: "sending" | "away";
  /** The last error and its age; it stays after a recovery. */
  readonly lastError?: { readonly reason: string; readonly agoMs: number };
}

interface SinkOptions {
  readonly host: string;
  readonly port: number;
  readonly protocol: "udp" | "tcp";
  /** Longest wait before a lost connection is tried again. */
  readonly maxRetryMs: number;
  /** Does not log that the server cannot be reached. */
  readonly isOptional?: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** Called on the first connection after `send` returned false. */
  readonly onReconnect: () => void;
  /** Default: the system's resolver. */
  readonly resolver?: Resolver;
}

interface Resolver {
  /**
   * The host's addresses, IPv4 first, because a StatsD server that listens on one family only usually listens on IPv4.
   * Rejects with the system's error.
   */
  resolve(): Promise<readonly string[]>;
}

/** Fits into one packet on any Ethernet or VPN; over TCP it is the size of a write. */
const MAX_DATAGRAM_BYTES = 1432;
/** How often the host name is resolved again; over UDP nothing else shows that the host has moved. */
const RESOLVE_PERIOD_MS = 30_000;
const CONNECT_TIMEOUT_MS = 2000;
const FIRST_RETRY_MS = 100;
const KEEP_ALIVE_MS = 30_000;
/** Consecutive batches that the server may leave unread before the connection is closed. */
const MAX_UNREAD = 3;
const MAX_REASON_CHARS = 200;
/** Disables the flush timer of `hot-shots`: only `flush` ends a batch. */
const NEVER_MS = 0x7fff_ffff;

export function openSink(options: SinkOptions): Sink {
  const report = createReport(options);
  return options.protocol === "udp" ? openUdp(options, report) : openTcp(options, report);
}

// --- UDP ---

function openUdp(options: SinkOptions, report: Report): Sink {
  const { host, port, clock, onReconnect } = options;
  const resolver = options.resolver ?? createResolver(host);
  let client: StatsD | undefined;
  let address: string | undefined;
  let isClosed = false;
  let wasRefused = false;
  let isUnresolved = false;
  let failed = false;

  function refreshAddress(): void {
    resolver.resolve().then(
      ([resolved]) => {
        isUnresolved = false;
        if (isClosed || resolved === undefined || resolved === address) return;
        client?.close(() => {});
        address = resolved;
        client = createClient({ host: resolved, port, protocol: "udp" }, (error) => {
          failed = true;
          report.away(error);
        });
        if (!wasRefused) return;
        wasRefused = false;
        onReconnect();
      },
      // The last address stays in use, because it may still be right.
      (error: unknown) => {
        isUnresolved = true;
        report.away(error);
      },
    );
  }

  refreshAddress();
  const refresh = isIP(host) === 0 ? clock.every(RESOLVE_PERIOD_MS, refreshAddress) : undefined;
  return {
    send(lines) {
      if (client === undefined) {
        wasRefused = true;
        refreshAddress();
        return false;
      }
      // The previous batch was sent without an error.
      if (!failed && !isUnresolved) report.back();
      failed = false;
      sendLines(client, lines);
      return true;
    },
    get health() {
      return report.health;
    },
    close() {
      isClosed = true;
      refresh?.cancel();
      client?.close(() => {});
    },
  };
}

// --- TCP ---

function openTcp(options: SinkOptions, report: Report): Sink {
  const { host, port, clock } = options;
  const backoff = { firstMs: FIRST_RETRY_MS, maxMs: options.maxRetryMs, jitter: HALF_RANDOM };
  const resolver = options.resolver ?? createResolver(host);
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
        // Each attempt uses the next address.
        const address = addresses[failures % addresses.length];
        if (address === undefined) onLost(new Error("the host name has no address"));
        else connectTo(address);
      },
      (error: unknown) => onLost(error),
    );
  }

  function connectTo(address: string): void {
    const opened = connect({ host: address, port });
    socket = opened;
    opened.unref();
    opened.setKeepAlive(true, KEEP_ALIVE_MS);
    // Input is discarded, but it must be read so that the end of the connection is noticed.
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
      onLost(failure);
    });
    opened.once("connect", () => {
      limit.cancel();
      failures = 0;
      unread = 0;
      client = createClient({ protocol: "stream", stream: opened }, ignore);
      report.back();
      if (!wasRefused) return;
      wasRefused = false;
      options.onReconnect();
    });
  }

  function onLost(error: unknown): void {
    if (isClosed) return;
    report.away(error);
    // Jitter, because all processes lose the connection at the same moment.
    retry = clock.after(backoffMs(backoff, failures), open);
    failures++;
  }

  open();
  return {
    send(lines) {
      if (client === undefined || socket === undefined) {
        wasRefused = true;
        return false;
      }
      if (socket.writableLength > 0) {
        // The server has not read the previous batch within a whole interval.
        unread++;
        if (unread >= MAX_UNREAD)
          socket.destroy(new Error("the server does not read what is sent"));
        return false;
      }
      unread = 0;
      sendLines(client, lines);
      return true;
    },
    get health() {
      return report.health;
    },
    close() {
      isClosed = true;
      retry?.cancel();
      // `end` sends what is buffered first.
      socket?.end();
      socket = undefined;
    },
  };
}

/**
 * Lookups are shared: a name server that does not answer blocks one of the few threads with which Node also reads files, and
 * it must not block them all.
 */
function createResolver(host: string): Resolver {
  if (isIP(host) !== 0) return { resolve: () => Promise.resolve([host]) };
  return {
    resolve: oneFlight(async () => {
      const addresses = await lookup(host, { all: true, verbatim: false });
      return addresses.map(({ address }) => address);
    }),
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
    // Otherwise these depend on DD_* variables, which are meant for other programs.
    datadog: false,
    includeDataDogTags: false,
    includeDatadogTelemetry: false,
  });
}

function sendLines(client: StatsD, lines: readonly Line[]): void {
  for (const { type, name, value, tags } of lines) {
    if (type === "gauge") client.gauge(name, value, tags ?? {});
    else client.increment(name, value, tags ?? {});
  }
  client.flush(ignore);
}

// --- log lines and health ---

type Report = ReturnType<typeof createReport>;

/** Logs one line when StatsD becomes unreachable and one when it is reachable again. */
function createReport({ host, port, protocol, isOptional, clock, log }: SinkOptions) {
  const statsd = `${protocol}://${host}:${port}`;
  let isAway = false;
  let last: { readonly reason: string; readonly atMs: number } | undefined;
  return {
    away(error: unknown): void {
      last = { reason: cut(describeError(error), MAX_REASON_CHARS), atMs: clock.nowMs() };
      if (isAway) return;
      isAway = true;
      if (isOptional === true) return;
      log.warn(
        { statsd, reason: last.reason },
        "StatsD cannot be reached; check CT_METRICS_STATSD_HOST, _PORT and _PROTOCOL",
      );
    },
    back(): void {
      if (isAway && isOptional !== true) log.info({ statsd }, "StatsD can be reached again");
      isAway = false;
    },
    get health(): SinkHealth {
      const lastError = last && {
        reason: last.reason,
        agoMs: Math.round(clock.nowMs() - last.atMs),
      };
      return {
        state: isAway ? "away" : "sending",
        ...(lastError !== undefined && { lastError }),
      };
    },
  };
}

function ignore(): void {}
