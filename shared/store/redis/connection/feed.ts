/**
 * The change feed: what the scripts publish, on a connection of its own, because a flood of hints must not delay answers.
 * Only hints go missing when it fails, so it keeps no health; it is tried again quietly.
 */
import type { Clock, Timer } from "../../../base/clock.ts";
import { isSessionId } from "../../../base/ids.ts";
import type { Log } from "../../../logs/log.ts";
import { type Change, TICKET_KINDS, type TicketKind } from "../../store.ts";
import { CHANNEL } from "../scripts/load-scripts.ts";
import { NotRedisError } from "./faults.ts";
import { createLink } from "./link.ts";
import type { RedisTarget } from "./target.ts";

/** A connection that only listens would never see that the other end is gone. */
const PING_PERIOD_MS = 15_000;

export interface Feed {
  onChange(listener: (change: Change) => void): () => void;
  close(): Promise<void>;
}

export function openFeed(needs: {
  readonly target: RedisTarget;
  readonly ca: string | undefined;
  readonly prefix: string;
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
}): Feed {
  const { clock, log } = needs;
  const channel = needs.prefix + CHANNEL;
  const listeners = new Set<(change: Change) => void>();
  let lastVersion: number | undefined;
  let isRightsTold = false;
  let wasHeard = false;
  let again: Timer | undefined;

  const link = createLink({
    target: needs.target,
    ca: needs.ca,
    prefix: needs.prefix,
    name: `${needs.name}-changes`,
    clock,
    onConnected: () => void subscribe(),
    onFault: () => {
      // The connection for scripts meets the same and says so.
    },
  });
  link.redis.on("message", (from: string, message: string) => {
    if (from === channel) take(message);
  });
  const ping = clock.every(PING_PERIOD_MS, () => void probe());

  async function subscribe(): Promise<void> {
    again?.cancel();
    try {
      // ioredis throws where nobody can catch it when the answer to SUBSCRIBE has another form than Redis gives it.
      if ((await link.redis.ping()) !== "PONG") throw new NotRedisError();
      await link.redis.subscribe(channel);
      link.succeeded();
      // Whatever changed while nobody listened.
      if (wasHeard) tell({ subject: "members" });
      wasHeard = true;
    } catch (error) {
      const fault = link.explain(error);
      if (fault.kind === "rights" && !isRightsTold) {
        isRightsTold = true;
        log.warn(
          { reason: fault.reason },
          "no change notifications, polling once a second instead",
        );
      }
      if (link.redis.status !== "ready") return;
      again = clock.after(link.nextDelayMs(fault), () => link.reconnect());
    }
  }

  async function probe(): Promise<void> {
    if (link.redis.status !== "ready") return;
    await link.redis.ping().catch(() => link.reconnect());
  }

  function take(message: string): void {
    const parsed = parseMessage(message);
    if (parsed === undefined) return;
    const isGap = lastVersion !== undefined && parsed.version !== lastVersion + 1;
    lastVersion = parsed.version;
    if (isGap && parsed.change.subject !== "members") tell({ subject: "members" });
    tell(parsed.change);
  }

  function tell(change: Change): void {
    for (const listener of listeners) {
      try {
        listener(change);
      } catch (error) {
        log.error({ err: error }, "change listener failed");
      }
    }
  }

  return {
    onChange(listener) {
      const own = (change: Change): void => listener(change);
      listeners.add(own);
      return () => listeners.delete(own);
    },
    async close() {
      ping.cancel();
      again?.cancel();
      listeners.clear();
      await link.close();
    },
  };
}

/** `17 session abc…`, `18 ticket join token`, `19 members`; undefined for anything else. */
export function parseMessage(message: string): { version: number; change: Change } | undefined {
  const found = /^(\d{1,15}) (members|session|ticket)(?: (.{1,4200}))?$/s.exec(message);
  if (found === null) return undefined;
  const [, version, subject, rest = ""] = found;
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
