/**
 * The live updates of the dashboard: server-sent events (WHATWG HTML §9.2). Data is read only while a page is open and only for
 * the views that are shown, once for all pages.
 */
import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import { StoreAwayError, type StoreHealth } from "../../shared/store/store.ts";
import { describeMembers, describeOverview, describeSessions } from "./describe.ts";
import type { Logs, Position } from "./logs.ts";
import type { LogId, LogLines, Topic } from "./responses.ts";
import type { Snapshot, Snapshots } from "./snapshot.ts";

export interface Feed {
  /**
   * Sends events until either side closes: `overview` every 2 s; of `topics`, `workers` and `sessions` when they have changed;
   * and `log` with the lines of `log`, starting with the newest 200. False: too many pages are open, or this worker stops.
   */
  open(
    res: ServerResponse,
    wanted: { readonly topics: readonly Topic[]; readonly log: LogId | undefined },
  ): boolean;
  readonly watchers: number;
  /** Closes all connections; pages reconnect and reach another worker. */
  close(): void;
}

export const TOPICS: readonly Topic[] = ["workers", "sessions"];

const STATE_PERIOD_MS = 2000;
/**
 * A list of more sessions is half a megabyte or so, and is sent every third period, so that an open page costs little. Workers
 * report changes only every 5 s anyway.
 */
const MANY_SESSIONS = 200;
const MANY_PERIOD_MS = 3 * STATE_PERIOD_MS;
/** A line appears on the page within a second. */
const LOG_PERIOD_MS = 400;
const FIRST_LINES = 200;
const MAX_WATCHERS = 100;
/** Unsent bytes above which a slow reader skips events. */
const MAX_UNSENT_BYTES = 1024 * 1024;
/** Per `log` event. */
const MAX_LINES = 500;

interface Watcher {
  readonly res: ServerResponse;
  readonly topics: readonly Topic[];
  readonly log: LogId | undefined;
  /** The last event of each topic. */
  readonly sent: Map<Topic, string>;
  /** Whether it got the first lines of the log. */
  hasLogStart: boolean;
  /** Lines that it missed. */
  skipped: number;
}

/** A log that at least one page follows. */
interface FollowedLog {
  position: Position;
  /** The newest lines, for the next page that opens. */
  newest: readonly string[];
}

export function createFeed(deps: {
  readonly snapshots: Pick<Snapshots, "read" | "readSessions">;
  readonly logs: Pick<Logs, "tail" | "follow">;
  readonly storeHealth: () => StoreHealth;
  readonly clock: Clock;
  readonly log: Log;
}): Feed {
  const { snapshots, logs, clock } = deps;
  const watchers = new Set<Watcher>();
  const followed = new Map<LogId, FollowedLog>();
  const running = new Map<() => Promise<void>, Promise<void>>();
  let timers: Timer[] = [];
  let isClosed = false;
  let sessionsSentMs = Number.NEGATIVE_INFINITY;

  /** Does nothing while the last call still runs: a slow store must not make reads pile up. */
  function runOnce(action: () => Promise<void>): void {
    if (running.has(action)) return;
    running.set(
      action,
      action()
        .catch((error: unknown) => {
          if (error instanceof StoreAwayError) return;
          deps.log.warn({ err: error }, "cannot update the open dashboard pages");
        })
        .finally(() => running.delete(action)),
    );
  }

  function send({ res }: Watcher, event: string, data: string): void {
    res.write(`event: ${event}\ndata: ${data}\n\n`);
  }

  // --- overview, workers, sessions ---

  async function sendState(): Promise<void> {
    const snapshot = await snapshots.read();
    const overview = JSON.stringify(describeOverview(snapshot, deps.storeHealth()));
    const wanted = new Set([...watchers].flatMap(({ topics }) => topics));
    const data = new Map<Topic, string>();
    if (wanted.has("workers")) data.set("workers", JSON.stringify(describeMembers(snapshot)));
    if (wanted.has("sessions") && areSessionsDue(snapshot)) {
      sessionsSentMs = clock.nowMs();
      const records = await snapshots.readSessions();
      data.set("sessions", JSON.stringify(describeSessions(snapshot, records)));
    }
    for (const watcher of watchers) {
      if (watcher.res.writableLength > MAX_UNSENT_BYTES) continue;
      // Also without a change: the page uses it as a heartbeat.
      send(watcher, "overview", overview);
      for (const topic of watcher.topics) {
        const now = data.get(topic);
        if (now === undefined || watcher.sent.get(topic) === now) continue;
        watcher.sent.set(topic, now);
        send(watcher, topic, now);
      }
    }
  }

  function areSessionsDue({ ownerById }: Snapshot): boolean {
    if (ownerById.size <= MANY_SESSIONS) return true;
    if (clock.nowMs() - sessionsSentMs >= MANY_PERIOD_MS) return true;
    return [...watchers].some(
      ({ topics, sent }) => topics.includes("sessions") && !sent.has("sessions"),
    );
  }

  // --- logs ---

  async function followLogs(): Promise<void> {
    for (const log of new Set([...watchers].flatMap((watcher) => watcher.log ?? []))) {
      await followLog(log);
    }
  }

  async function followLog(log: LogId): Promise<void> {
    const before = followed.get(log);
    const { lines, skipped, next } =
      before === undefined
        ? await logs.tail(log, FIRST_LINES)
        : await logs.follow(log, before.position);
    const newest = [...(before?.newest ?? []), ...lines].slice(-FIRST_LINES);
    followed.set(log, { position: next, newest });
    let isRead = false;
    for (const watcher of watchers) {
      if (watcher.log !== log) continue;
      isRead = true;
      if (watcher.hasLogStart) sendLines(watcher, log, lines, skipped);
      else sendLines(watcher, log, newest, 0);
      watcher.hasLogStart = true;
    }
    if (!isRead) followed.delete(log);
  }

  function sendLines(
    watcher: Watcher,
    log: LogId,
    lines: readonly string[],
    skipped: number,
  ): void {
    if (watcher.res.writableLength > MAX_UNSENT_BYTES) {
      watcher.skipped += lines.length + skipped;
      return;
    }
    const shown = lines.slice(-MAX_LINES);
    const missed = watcher.skipped + skipped + lines.length - shown.length;
    watcher.skipped = 0;
    if (shown.length === 0 && missed === 0) return;
    send(watcher, "log", JSON.stringify({ log, lines: shown, skipped: missed } satisfies LogLines));
  }

  // --- watchers ---

  function startTimers(): void {
    timers = [
      clock.every(STATE_PERIOD_MS, () => runOnce(sendState)),
      clock.every(LOG_PERIOD_MS, () => runOnce(followLogs)),
    ];
  }

  function remove(watcher: Watcher): void {
    watchers.delete(watcher);
    if (![...watchers].some(({ log }) => log === watcher.log) && watcher.log !== undefined) {
      followed.delete(watcher.log);
    }
    if (watchers.size > 0) return;
    for (const timer of timers) timer.cancel();
    timers = [];
  }

  /** Runs after a call in progress, which may have started without the new watcher. */
  function runAfterCurrent(action: () => Promise<void>): void {
    const current = running.get(action) ?? Promise.resolve();
    void current.then(() => runOnce(action));
  }

  return {
    open(res, { topics, log }) {
      if (isClosed || watchers.size >= MAX_WATCHERS) return false;
      const watcher = { res, topics, log, sent: new Map(), hasLogStart: false, skipped: 0 };
      res.on("error", () => remove(watcher));
      res.on("close", () => remove(watcher));
      watchers.add(watcher);
      if (timers.length === 0) startTimers();
      runAfterCurrent(sendState);
      if (log !== undefined) runAfterCurrent(followLogs);
      return true;
    },
    get watchers() {
      return watchers.size;
    },
    close() {
      isClosed = true;
      for (const watcher of [...watchers]) {
        watcher.res.end();
        remove(watcher);
      }
    },
  };
}
