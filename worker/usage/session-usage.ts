/**
 * Counts the sessions of this worker: by which IDE they are hosted and joined, and once they are closed, how large and how long they
 * were. Joins and ends are each counted by one worker, whichever has the session then; the counters in the store are written a
 * second later, all together.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { readEvents } from "../../shared/cluster/history.ts";
import type { Log } from "../../shared/logs/log.ts";
import { createPendingCounts } from "../../shared/store/pending-counts.ts";
import type { SessionRecord, Store, StoredEvent } from "../../shared/store/store.ts";
import { MAX_EVENTS } from "../../shared/store/streams.ts";
import { unlessAway } from "../../shared/store/unless-away.ts";
import type { UsageCounter } from "../sessions/session-usage.ts";
import { endIncrements, joinIncrements } from "./counts.ts";
import { ideGroupOf } from "./ide-groups.ts";
import type { RecentPeople } from "./people.ts";

export interface SessionUsageCounter extends UsageCounter {
  /** Writes what is not in the store yet. */
  close(): Promise<void>;
}

/** A worker that is killed loses what it has counted in this time. */
const DELAY_MS = 1000;
/** There are about thirty. */
const MAX_NAMES = 100;
/** The history of all sessions is read at most once in this time, however many sessions end. */
const EVENTS_MS = 60_000;

export function createSessionUsage(deps: {
  readonly store: Pick<Store, "addToCounters" | "readStream">;
  readonly recentPeople: Pick<RecentPeople, "add">;
  readonly clock: Clock;
  readonly log: Log;
}): SessionUsageCounter {
  const { store, recentPeople, clock, log } = deps;
  const pending = createPendingCounts({
    ...deps,
    what: "usage",
    delayMs: DELAY_MS,
    maxNames: MAX_NAMES,
  });
  const counting = new Set<Promise<void>>();
  let history:
    | {
        readonly events: Promise<readonly StoredEvent[]>;
        readonly atMs: number;
        readonly forget: Timer;
      }
    | undefined;

  /** `takenOverMs`: what happened before is in what it resolves with. */
  function readHistory(takenOverMs: number): Promise<readonly StoredEvent[]> {
    if (history === undefined || history.atMs < takenOverMs) {
      forgetHistory();
      const events = readEvents(store, { limit: MAX_EVENTS });
      history = { events, atMs: clock.nowMs(), forget: clock.after(EVENTS_MS, forgetHistory) };
      events.catch(forgetHistory);
    }
    return history.events;
  }

  function forgetHistory(): void {
    history?.forget.cancel();
    history = undefined;
  }

  async function mostBefore(record: SessionRecord, takenOverMs: number): Promise<number> {
    const events = await unlessAway(readHistory(takenOverMs));
    return events === undefined ? 0 : mostPeople(record, events);
  }

  function track(work: Promise<void>): void {
    const counted = work
      .catch((error: unknown) => log.error({ err: error }, "a session could not be counted"))
      .finally(() => counting.delete(counted));
    counting.add(counted);
  }

  return {
    session(record) {
      const isTakenOver = record.state !== "created";
      const takenOverMs = clock.nowMs();
      let isOpen = isTakenOver;
      let most = record.peers.length;

      async function countEnd(): Promise<void> {
        const minutes = Math.max(0, clock.wallMs() - record.createdMs) / 60_000;
        const before = isTakenOver ? await mostBefore(record, takenOverMs) : 0;
        pending.add(endIncrements(Math.max(1, most, before), minutes));
      }

      return {
        joined({ host, client, user }, people) {
          isOpen = true;
          most = Math.max(most, people);
          recentPeople.add(user);
          pending.add(joinIncrements(ideGroupOf(client), host));
        },
        closed(outcome) {
          if (outcome === "done" && isOpen) track(countEnd());
          return outcome;
        },
      };
    },
    async close() {
      await Promise.all(counting);
      forgetHistory();
      await pending.close();
    },
  };
}

/**
 * The most people at once in a session before this worker took it over with `record`: how many there were then, and back from there
 * through the history, which keeps the newest events of all sessions.
 */
function mostPeople(record: SessionRecord, events: readonly StoredEvent[]): number {
  let people = record.peers.length;
  let most = people;
  for (const { sessionId, epoch, kind } of [...events].reverse()) {
    if (sessionId !== record.id || epoch >= record.epoch) continue;
    if (kind === "joined") people--;
    else if (kind === "left") people++;
    most = Math.max(most, people);
  }
  return most;
}
