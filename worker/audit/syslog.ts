/**
 * Sends events to a syslog server: RFC 5424 messages over UDP (RFC 5426) or TLS (RFC 5425). What cannot be sent waits, up to a
 * limit; what does not fit is counted, and a message says how many events are missing.
 */
import { createSocket, type SocketOptions } from "node:dgram";
import { lookup } from "node:dns";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { connect, type TLSSocket } from "node:tls";
import type { ActivityEvent } from "../../shared/activity/event.ts";
import { type Backoff, backoffMs } from "../../shared/base/backoff.ts";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { SyslogTarget } from "../../shared/settings/syslog-target.ts";
import { Gap } from "./gap.ts";

export type Syslog = ReturnType<typeof createSyslog>;

interface SyslogDeps {
  readonly target: SyslogTarget;
  /** PEM of the authority that has signed the server's certificate; undefined: those that Node trusts. */
  readonly authority: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}

/** What brings messages to the server. */
interface Transport {
  /** Whether it takes one more. */
  isReady(): boolean;
  send(message: Buffer): void;
  /** Resolves when all that it has taken is on its way. */
  end(): Promise<void>;
  destroy(): void;
}

interface TransportEvents {
  /** It takes messages. */
  onReady(): void;
  onProblem(reason: string): void;
  /** A message that it has taken was not sent. */
  onLost(): void;
}

interface Message {
  readonly kind: string;
  readonly atMs: number;
  readonly content: object;
}

const MAX_WAITING = 10_000;
/**
 * How long a message waits for others: many at once cost less than as many alone. As long as in the file, so that both take one turn.
 */
const GATHER_MS = 100;

export function createSyslog(deps: SyslogDeps) {
  const { target, clock, log, counters } = deps;
  const waiting: Message[] = [];
  let gathering: Timer | undefined;
  const gap = new Gap();
  let problem: string | undefined;

  const transport = createTransport(deps, {
    onReady() {
      if (problem !== undefined) log.info({ server: target.label }, "syslog can be reached again");
      problem = undefined;
      send();
    },
    onProblem(reason) {
      if (problem === undefined) {
        log.error(
          { server: target.label, reason },
          "the audit log cannot be sent to syslog; it is sent later",
        );
      }
      problem = reason;
    },
    onLost: () => lose(clock.wallMs()),
  });

  function lose(atMs: number): void {
    counters.count("worker.audit.syslog_dropped");
    gap.add(atMs);
  }

  function send(): void {
    let sent = 0;
    for (const { kind, atMs, content } of waiting) {
      if (!transport.isReady()) break;
      transport.send(formatMessage(kind, atMs, content));
      sent++;
    }
    waiting.splice(0, sent);
    const content = waiting.length < MAX_WAITING ? gap.take() : undefined;
    if (content === undefined) return;
    waiting.push({ kind: "audit.gap", atMs: clock.wallMs(), content });
    send();
  }

  return {
    /** Why events do not reach it at the moment, as far as that is known. */
    get problem(): string | undefined {
      return problem;
    },
    write(event: ActivityEvent): void {
      if (waiting.length >= MAX_WAITING) {
        lose(event.atMs);
        return;
      }
      waiting.push({ kind: event.kind, atMs: event.atMs, content: event });
      gathering ??= clock.after(GATHER_MS, () => {
        gathering = undefined;
        send();
      });
    },
    /** Sends what waits, within `ms`. */
    async close(ms: number): Promise<void> {
      gathering?.cancel();
      send();
      let timer: Timer | undefined;
      const late = new Promise<void>((resolve) => {
        timer = clock.after(ms, resolve);
      });
      await Promise.race([transport.end(), late]);
      timer?.cancel();
      if (waiting.length > 0) {
        log.error({ lost: waiting.length }, "events of the audit log were not sent to syslog");
      }
      transport.destroy();
    },
  };
}

// --- messages ---

/** Facility 13, `log audit`. */
const FACILITY = 13;
const NOTICE = 5;
const WARNING = 4;
const MAX_NAME_CHARS = 32;
const MAX_HOST_CHARS = 255;
/** RFC 5426 §3.2: receivers should take 2048, and what fits into a datagram is at most this. */
const MAX_BYTES = 60_000;

const HOST = nameOf(hostname(), MAX_HOST_CHARS);

/** RFC 5424 §6. Without a byte order mark, which many receivers show as text. */
export function formatMessage(kind: string, atMs: number, content: object): Buffer {
  const severity = /refused|removed|problem|gap/.test(kind) ? WARNING : NOTICE;
  const header = [
    `<${FACILITY * 8 + severity}>1`,
    new Date(atMs).toISOString(),
    HOST,
    "codetogether-edge",
    String(process.pid),
    nameOf(kind, MAX_NAME_CHARS),
    "-",
  ].join(" ");
  const text = JSON.stringify(content);
  const isTooLong = text.length * 3 > MAX_BYTES && Buffer.byteLength(text) > MAX_BYTES;
  return Buffer.from(`${header} ${isTooLong ? JSON.stringify({ kind, isTooLong }) : text}`);
}

/** Printable ASCII. */
function nameOf(text: string, maxChars: number): string {
  return text.replaceAll(/[^\x21-\x7e]/g, "").slice(0, maxChars) || "-";
}

// --- transports ---

function createTransport(deps: SyslogDeps, events: TransportEvents): Transport {
  return deps.target.protocol === "udp" ? overUdp(deps, events) : overTls(deps, events);
}

/** Nothing reports whether messages arrive. */
function overUdp(
  { target: { host, port }, clock }: SyslogDeps,
  events: TransportEvents,
): Transport {
  const type = host.includes(":") ? "udp6" : "udp4";
  const socket = createSocket({ type, lookup: createLookup(host, clock) }).unref();
  let sending = 0;
  let onSent: () => void = () => {};
  socket.on("error", (error) => events.onProblem(describeError(error)));
  return {
    // A name that cannot be resolved fails late: what waits for it is bounded too.
    isReady: () => sending < MAX_SENDING,
    send(message) {
      sending++;
      socket.send(message, port, host, (error) => {
        sending--;
        if (error === null || error === undefined) events.onReady();
        else {
          events.onLost();
          events.onProblem(describeError(error));
        }
        if (sending === 0) onSent();
      });
    },
    end: () =>
      new Promise((resolve) => {
        onSent = resolve;
        if (sending === 0) resolve();
      }),
    destroy: () => socket.close(),
  };
}

const MAX_SENDING = 100;
const LOOKUP_MS = 60_000;

type Lookup = NonNullable<SocketOptions["lookup"]>;

/** Otherwise Node looks up the name for every datagram, and waits a turn also for an address. */
function createLookup(host: string, clock: Clock): Lookup {
  const family = isIP(host);
  let found =
    family === 0 ? undefined : { address: host, family, untilMs: Number.POSITIVE_INFINITY };
  return (name, options, callback) => {
    if (name === host && found !== undefined && clock.nowMs() < found.untilMs) {
      callback(null, found.address, found.family);
      return;
    }
    lookup(name, options, (error, address, addressFamily) => {
      if (error === null && name === host) {
        found = { address, family: addressFamily, untilMs: clock.nowMs() + LOOKUP_MS };
      }
      callback(error, address, addressFamily);
    });
  };
}

/** What the server has not read; more waits here. */
const MAX_UNSENT_BYTES = 1024 * 1024;
const CONNECT_MS = 10_000;
/** A server that reads nothing for this long is connected to again. */
const STALLED_MS = 60_000;
const RETRY: Backoff = { firstMs: 500, maxMs: 30_000, jitter: [1, 1] };

function overTls({ target, authority, clock }: SyslogDeps, events: TransportEvents): Transport {
  const { host, port } = target;
  let socket: TLSSocket | undefined;
  let isConnected = false;
  let failures = 0;
  let timer: Timer | undefined;
  let isEnding = false;

  /** A certificate that is none throws. */
  function open(): void {
    try {
      use(connect({ host, port, servername: host, ...(authority && { ca: authority }) }));
    } catch (error) {
      events.onProblem(describeError(error));
      timer = clock.after(RETRY.maxMs, open);
    }
  }

  function use(opened: TLSSocket): void {
    socket = opened;
    opened.setKeepAlive(true, STALLED_MS);
    timer = clock.after(CONNECT_MS, () => opened.destroy(new Error("no answer within 10 s")));
    opened.on("secureConnect", () => {
      timer?.cancel();
      isConnected = true;
      failures = 0;
      events.onReady();
    });
    opened.on("drain", () => events.onReady());
    // Nothing is expected from the server; without a reader its end would not be noticed.
    opened.resume();
    let reason = "the server has closed the connection";
    opened.on("error", (error) => {
      reason = describeError(error);
    });
    opened.setTimeout(STALLED_MS, () => {
      if (opened.writableLength > 0) opened.destroy(new Error("the server reads nothing"));
    });
    opened.on("close", () => {
      timer?.cancel();
      isConnected = false;
      if (isEnding) return;
      events.onProblem(reason);
      timer = clock.after(backoffMs(RETRY, failures++), open);
    });
  }

  open();
  return {
    isReady: () => isConnected && (socket?.writableLength ?? 0) <= MAX_UNSENT_BYTES,
    send(message) {
      const used = socket;
      if (used === undefined) return;
      // Those of one turn in few records.
      used.cork();
      // RFC 5425 §4.3: the length in bytes, then the message.
      used.write(Buffer.concat([Buffer.from(`${message.length} `), message]));
      process.nextTick(() => used.uncork());
    },
    end() {
      isEnding = true;
      return new Promise((resolve) => {
        if (isConnected && socket !== undefined) socket.end(resolve);
        else resolve();
      });
    },
    destroy() {
      isEnding = true;
      timer?.cancel();
      socket?.destroy();
    },
  };
}
