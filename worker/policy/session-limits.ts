/** Ends the sessions of this worker that have reached a limit of the policy. */
import type { Clock } from "../../shared/base/clock.ts";
import { startPeriodicTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Limits } from "../../shared/policy/policy.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";
import type { LimitCause } from "../sessions/admission.ts";
import type { Session } from "../sessions/session.ts";
import { errorNotice } from "../sessions/wire/outbound.ts";
import type { Access } from "./access.ts";
import { presentHost } from "./host.ts";

const PERIOD_MS = 5000;

/** For the people in a session that ends. */
const NOTICES: Readonly<Record<LimitCause, string>> = {
  "open too long":
    "This session has been open for as long as this server allows. Start a new one to go on.",
  "idle too long":
    "This session has ended, because nobody has worked in it for a while. Start a new one to go on.",
  "host alone too long":
    "This session has ended, because nobody has joined it for a while. Start a new one to go on.",
};

export interface SessionLimits {
  close(): void;
}

export function watchSessionLimits(deps: {
  readonly access: Pick<Access, "timeLimitsOf">;
  readonly sessions: () => Iterable<Session>;
  readonly clock: Clock;
  readonly log: Log;
}): SessionLimits {
  const { access, clock, log } = deps;
  /** Since when hosts are alone. */
  const aloneMs = new WeakMap<Session, number>();

  async function look(): Promise<void> {
    for (const session of [...deps.sessions()]) {
      const host = presentHost(session);
      if (host === undefined || !session.isHeld) continue;
      // While the store is away, no session is to end.
      const limits = await unlessAway(access.timeLimitsOf(host));
      const cause = limits && reached(session, limits);
      // It may have moved meanwhile.
      if (cause !== undefined && session.isHeld) end(session, cause);
    }
  }

  function end(session: Session, cause: LimitCause): void {
    for (const peer of session.peers) peer.send(errorNotice(NOTICES[cause]));
    session.end(cause);
  }

  function reached(session: Session, limits: Limits): LimitCause | undefined {
    const alone = aloneFor(session);
    if (isOver(clock.wallMs() - session.createdMs, limits.longestMs)) return "open too long";
    if (isOver(session.idleMs, limits.idleMs)) return "idle too long";
    return isOver(alone, limits.aloneMs) ? "host alone too long" : undefined;
  }

  function aloneFor(session: Session): number {
    if ([...session.peers].length > 1) {
      aloneMs.delete(session);
      return 0;
    }
    const sinceMs = aloneMs.get(session) ?? clock.nowMs();
    aloneMs.set(session, sinceMs);
    return clock.nowMs() - sinceMs;
  }

  return startPeriodicTask({
    clock,
    periodMs: PERIOD_MS,
    work: look,
    onError: (err) => log.error({ err }, "limits of sessions could not be checked"),
  });
}

function isOver(ms: number, limitMs: number | undefined): boolean {
  return limitMs !== undefined && ms >= limitMs;
}
