/**
 * The live updates of the dashboard: server-sent events (WHATWG HTML §9.2). Data is read only while a page is open and only for
 * the views that are shown, once for all pages.
 */
import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { createTask } from "../../shared/base/periodic-task.ts";
import type { Log } from "../../shared/logs/log.ts";
import { StoreAwayError, type StoreHealth } from "../../shared/store/store.ts";
import type { Operator } from "../operators/operator.ts";
import { describeMembers, describeOverview, describeSessions } from "./describe.ts";
import type { Logs, Position } from "./logs.ts";
import type { LogId, LogLines, Topic } from "./responses.ts";
import type { Snapshot, Snapshots } from "./snapshot.ts";

export type Feed = ReturnType<typeof createFeed>;

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
  readonly signIn: Operator["signIn"];
  readonly sent: Map<Topic, string>;
  /** Whether it got the first lines of the log. */
  hasLogStart: boolean;
  skipped: number;
}

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
}) {
  const { clock } = deps;
  const watchers = new Set<Watcher>();
  const logSender = createLogSender(deps.logs);
  const stateUpdates = createUpdates(createStateSender(deps), watchers, deps.log);
  const logUpdates = createUpdates(logSender.send, watchers, deps.log);
  let timers: Timer[] = [];
  let isClosed = false;

  function remove(watcher: Watcher): void {
    watchers.delete(watcher);
    if (![...watchers].some(({ log }) => log === watcher.log)) logSender.unfollow(watcher.log);
    if (watchers.size > 0) return;
    for (const timer of timers) timer.cancel();
    timers = [];
  }

  /** Of operators whose sign-in is over. */
  function endExpired(): void {
    const nowMs = clock.wallMs();
    for (const watcher of [...watchers]) {
      if (watcher.signIn !== undefined && nowMs >= watcher.signIn.untilMs) end(watcher);
    }
  }

  function end(watcher: Watcher): void {
    watcher.res.end();
    remove(watcher);
  }

  return {
    /**
     * Sends events until either side closes: `overview` every 2 s; of `topics`, `workers` and `sessions` when they have changed;
     * and `log` with the lines of `log`, starting with the newest 200. False: too many pages are open, or this worker stops.
     */
    open(
      res: ServerResponse,
      {
        topics,
        log,
        signIn,
      }: {
        readonly topics: readonly Topic[];
        readonly log: LogId | undefined;
        /** Of the operator, if it was at an identity provider. */
        readonly signIn?: Operator["signIn"];
      },
    ): boolean {
      if (isClosed || watchers.size >= MAX_WATCHERS) return false;
      const watcher = { res, topics, log, signIn, sent: new Map(), hasLogStart: false, skipped: 0 };
      res.on("error", () => remove(watcher));
      res.on("close", () => remove(watcher));
      watchers.add(watcher);
      if (timers.length === 0) {
        timers = [
          clock.every(STATE_PERIOD_MS, () => {
            endExpired();
            stateUpdates.run();
          }),
          clock.every(LOG_PERIOD_MS, logUpdates.run),
        ];
      }
      stateUpdates.runAfterCurrent();
      if (log !== undefined) logUpdates.runAfterCurrent();
      return true;
    },
    /** Closes the connections of an operator whose sign-in has ended. */
    endOf(signIn: string): void {
      for (const watcher of [...watchers]) if (watcher.signIn?.id === signIn) end(watcher);
    },
    get watchers(): number {
      return watchers.size;
    },
    /** Closes all connections; pages reconnect and reach another worker. */
    close(): void {
      isClosed = true;
      for (const watcher of [...watchers]) end(watcher);
    },
  };
}

type Sender = (watchers: ReadonlySet<Watcher>) => Promise<void>;

/** Runs a sender, never twice at a time: a slow store must not make reads pile up. */
function createUpdates(
  send: Sender,
  watchers: ReadonlySet<Watcher>,
  log: Log,
): {
  /** Does nothing while the last run is in progress. */
  readonly run: () => void;
  /** Runs after one in progress, which may have started without the newest watcher. */
  readonly runAfterCurrent: () => void;
} {
  const task = createTask({
    work: () => send(watchers),
    onError: (err) => {
      if (!(err instanceof StoreAwayError))
        log.warn({ err }, "cannot update the open dashboard pages");
    },
  });
  return {
    run: () => void task.run(),
    runAfterCurrent: () => void task.settled().then(task.run),
  };
}

function sendEvent({ res }: Watcher, event: string, data: string): void {
  res.write(`event: ${event}\ndata: ${data}\n\n`);
}

function isSlow({ res }: Watcher): boolean {
  return res.writableLength > MAX_UNSENT_BYTES;
}

// --- overview, workers, sessions ---

function createStateSender({
  snapshots,
  storeHealth,
  clock,
}: {
  readonly snapshots: Pick<Snapshots, "read" | "readSessions">;
  readonly storeHealth: () => StoreHealth;
  readonly clock: Clock;
}): Sender {
  let sessionsSentMs = Number.NEGATIVE_INFINITY;

  function areSessionsDue({ ownerById }: Snapshot, watchers: ReadonlySet<Watcher>): boolean {
    if (ownerById.size <= MANY_SESSIONS) return true;
    if (clock.nowMs() - sessionsSentMs >= MANY_PERIOD_MS) return true;
    return [...watchers].some(
      ({ topics, sent }) => topics.includes("sessions") && !sent.has("sessions"),
    );
  }

  return async (watchers) => {
    const snapshot = await snapshots.read();
    const overview = JSON.stringify(describeOverview(snapshot, storeHealth()));
    const wanted = new Set([...watchers].flatMap(({ topics }) => topics));
    const data = new Map<Topic, string>();
    if (wanted.has("workers")) data.set("workers", JSON.stringify(describeMembers(snapshot)));
    if (wanted.has("sessions") && areSessionsDue(snapshot, watchers)) {
      sessionsSentMs = clock.nowMs();
      const records = await snapshots.readSessions();
      data.set("sessions", JSON.stringify(describeSessions(snapshot, records)));
    }
    for (const watcher of watchers) {
      if (isSlow(watcher)) continue;
      // Also without a change: the page uses it as a heartbeat.
      sendEvent(watcher, "overview", overview);
      for (const topic of watcher.topics) {
        const now = data.get(topic);
        if (now === undefined || watcher.sent.get(topic) === now) continue;
        watcher.sent.set(topic, now);
        sendEvent(watcher, topic, now);
      }
    }
  };
}

// --- logs ---

function createLogSender(logs: Pick<Logs, "tail" | "follow">): {
  readonly send: Sender;
  /** Forgets the position of a log that no watcher follows any more. */
  readonly unfollow: (log: LogId | undefined) => void;
} {
  const followed = new Map<LogId, FollowedLog>();

  async function sendLog(log: LogId, watchers: ReadonlySet<Watcher>): Promise<void> {
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

  return {
    async send(watchers) {
      for (const log of new Set([...watchers].flatMap((watcher) => watcher.log ?? []))) {
        await sendLog(log, watchers);
      }
    },
    unfollow(log) {
      if (log !== undefined) followed.delete(log);
    },
  };
}

function sendLines(watcher: Watcher, log: LogId, lines: readonly string[], skipped: number): void {
  if (isSlow(watcher)) {
    watcher.skipped += lines.length + skipped;
    return;
  }
  const shown = lines.slice(-MAX_LINES);
  const missed = watcher.skipped + skipped + lines.length - shown.length;
  watcher.skipped = 0;
  if (shown.length === 0 && missed === 0) return;
  sendEvent(
    watcher,
    "log",
    JSON.stringify({ log, lines: shown, skipped: missed } satisfies LogLines),
  );
}
