/**
 * The change feed: subscribes to what the scripts publish, on a separate connection, so that a flood of hints does not delay
 * replies. A failure loses hints only, so it has no health and reconnects silently.
 */
import type { Clock, Timer } from "../../../base/clock.ts";
import { isSessionId } from "../../../base/ids.ts";
import { createListeners } from "../../../base/listeners.ts";
import type { Log } from "../../../logs/log.ts";
import { TICKET_KINDS } from "../../schemas.ts";
import type { Change, TicketKind } from "../../store.ts";
import { CHANNEL } from "../scripts/load-scripts.ts";
import { NotRedisError } from "./faults.ts";
import { createLink } from "./link.ts";
import type { RedisTarget } from "./target.ts";

/** A connection that only receives does not notice that its peer is gone. */
const CHECK_PERIOD_MS = 15_000;

export function openFeed(deps: {
  readonly target: RedisTarget;
  readonly ca: string | undefined;
  readonly prefix: string;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
}) {
  const { clock, log } = deps;
  const channel = deps.prefix + CHANNEL;
  const listeners = createListeners<[Change]>((err) =>
    log.error({ err }, "store change listener failed"),
  );
  /** Numbers of the last change that was received, and of the last one that is in the store, read since the last check. */
  let lastVersion: number | undefined;
  let storeVersion: number | undefined;
  let isDenialLogged = false;
  let wasSubscribed = false;
  let retry: Timer | undefined;

  const link = createLink({
    target: deps.target,
    ca: deps.ca,
    prefix: deps.prefix,
    name: `${deps.name}-changes`,
    clock,
    onConnected: () => void subscribe(),
    onFault: () => {
      // The connection for scripts has the same fault and logs it.
    },
  });
  link.redis.on("message", (from: string, message: string) => {
    if (from === channel) handleMessage(message);
  });
  const checks = clock.every(CHECK_PERIOD_MS, () => void checkConnection());

  async function subscribe(): Promise<void> {
    retry?.cancel();
    try {
      // First a PING: an invalid reply to SUBSCRIBE makes ioredis throw where it cannot be caught.
      if ((await link.redis.ping()) !== "PONG") throw new NotRedisError();
      await link.redis.subscribe(channel);
      link.succeeded();
      // There may have been changes meanwhile.
      if (wasSubscribed) listeners.notify({ subject: "members" });
      lastVersion = undefined;
      wasSubscribed = true;
    } catch (error) {
      const fault = link.explain(error);
      if (fault.kind === "rights" && !isDenialLogged) {
        isDenialLogged = true;
        log.warn(
          { reason: fault.reason },
          "no change notifications, polling once a second instead",
        );
      }
      if (link.redis.status !== "ready") return;
      retry = clock.after(link.nextDelayMs(fault), () => link.reconnect());
    }
  }

  async function checkConnection(): Promise<void> {
    const isComplete = storeVersion !== undefined && storeVersion === lastVersion;
    storeVersion = undefined;
    if (isComplete || link.redis.status !== "ready") return;
    await link.redis.ping().catch(() => link.reconnect());
  }

  function handleMessage(message: string): void {
    const parsed = parseMessage(message);
    if (parsed === undefined) return;
    const isGap = lastVersion !== undefined && parsed.version !== lastVersion + 1;
    lastVersion = parsed.version;
    if (isGap && parsed.change.subject !== "members") listeners.notify({ subject: "members" });
    listeners.notify(parsed.change);
  }

  return {
    /**
     * The number of the store's last change, as a heartbeat read it. While that change has been received the connection has
     * lost nothing, and needs no PING.
     */
    expect(version: number): void {
      storeVersion = version;
      // The first since the subscription.
      if (wasSubscribed) lastVersion ??= version;
    },
    onChange: listeners.add,
    async close(): Promise<void> {
      checks.cancel();
      retry?.cancel();
      listeners.clear();
      await link.close();
    },
  };
}

/** Parses `17 session abc…`, `18 ticket join token`, `19 members`; undefined when invalid. */
export function parseMessage(message: string): { version: number; change: Change } | undefined {
  const match = /^(\d{1,15}) (members|session|ticket)(?: (.{1,4200}))?$/s.exec(message);
  if (match === null) return undefined;
  const [, version, subject, rest = ""] = match;
  const change = parseChange(subject ?? "", rest);
  return change === undefined ? undefined : { version: Number(version), change };
}

function parseChange(subject: string, rest: string): Change | undefined {
  if (subject === "members") return { subject };
  if (subject === "session") return isSessionId(rest) ? { subject, sessionId: rest } : undefined;
  const [, kind, token = ""] = /^(\w+) (.+)$/s.exec(rest) ?? [];
  return isTicketKind(kind) ? { subject: "ticket", kind, token } : undefined;
}

function isTicketKind(text: string | undefined): text is TicketKind {
  return TICKET_KINDS.some((kind) => kind === text);
}
