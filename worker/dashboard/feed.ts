/**
 * The live side of the dashboard: server-sent events (WHATWG HTML §9.2). Nothing is read while nobody looks, only what
 * somebody looks at, and once for all who do.
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
   * Answers with events until either side ends: `overview` every 2 s; of `topics`, `workers` and `sessions` when they have
   * changed; and `log` with the lines of `log`, the newest 200 first. False: too many look already, or this worker ends.
   */
  open(
    res: ServerResponse,
    wanted: { readonly topics: readonly Topic[]; readonly log: LogId | undefined },
  ): boolean;
  readonly watchers: number;
  /** Ends all; whoever looks asks again, and is answered by another worker. */
  close(): void;
}

export const TOPICS: readonly Topic[] = ["workers", "sessions"];

const STATE_PERIOD_MS = 2000;
/**
 * So many sessions are half a MB or so: they are told once in three periods, so that an open page costs little. Workers say
 * what is new of them every 5 s anyway.
 */
const MANY_SESSIONS = 200;
const MANY_PERIOD_MS = 3 * STATE_PERIOD_MS;
/** A line is on the page within a second of being written. */
const LOG_PERIOD_MS = 400;
const FIRST_LINES = 200;
const MAX_WATCHERS = 100;
/** Bytes that wait for a slow reader before it is left out. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** Lines that one log event carries. */
const MAX_LINES = 500;

interface Watcher {
  readonly res: ServerResponse;
  readonly topics: readonly Topic[];
  readonly log: LogId | undefined;
  /** What it was told last of each topic. */
  readonly told: Map<Topic, string>;
  /** Whether it has had the first lines. */
  hasBegun: boolean;
  /** Lines that it has missed. */
  skipped: number;
}

/** A log that somebody follows. */
interface Followed {
  position: Position;
  /** The newest ones that were read, for whoever comes next. */
  newest: readonly string[];
}

export function createFeed(needs: {
  readonly snapshots: Pick<Snapshots, "read" | "readSessions">;
  readonly logs: Pick<Logs, "tail" | "follow">;
  readonly storeHealth: () => StoreHealth;
  readonly clock: Clock;
  readonly log: Log;
}): Feed {
  const { snapshots, logs, clock } = needs;
  const watchers = new Set<Watcher>();
  const followed = new Map<LogId, Followed>();
  const telling = new Map<() => Promise<void>, Promise<void>>();
  let timers: Timer[] = [];
  let isClosed = false;
  let sessionsToldMs = Number.NEGATIVE_INFINITY;

  /** Not a second time while the first is under way: a slow store must not make answers pile up. */
  function once(action: () => Promise<void>): void {
    if (telling.has(action)) return;
    telling.set(
      action,
      action()
        .catch((error: unknown) => {
          if (error instanceof StoreAwayError) return;
          needs.log.warn({ err: error }, "cannot update the open dashboard pages");
        })
        .finally(() => telling.delete(action)),
    );
  }

  function send({ res }: Watcher, event: string, data: string): void {
    res.write(`event: ${event}\ndata: ${data}\n\n`);
  }

  // --- what there is ---

  async function tellState(): Promise<void> {
    const snapshot = await snapshots.read();
    const overview = JSON.stringify(describeOverview(snapshot, needs.storeHealth()));
    const wanted = new Set([...watchers].flatMap(({ topics }) => topics));
    const data = new Map<Topic, string>();
    if (wanted.has("workers")) data.set("workers", JSON.stringify(describeMembers(snapshot)));
    if (wanted.has("sessions") && areSessionsDue(snapshot)) {
      sessionsToldMs = clock.nowMs();
      const records = await snapshots.readSessions();
      data.set("sessions", JSON.stringify(describeSessions(snapshot, records)));
    }
    for (const watcher of watchers) {
      if (watcher.res.writableLength > MAX_WAITING_BYTES) continue;
      // Also when nothing has changed: by it the page knows that it is not cut off.
      send(watcher, "overview", overview);
      for (const topic of watcher.topics) {
        const now = data.get(topic);
        if (now === undefined || watcher.told.get(topic) === now) continue;
        watcher.told.set(topic, now);
        send(watcher, topic, now);
      }
    }
  }

  function areSessionsDue({ ownerById }: Snapshot): boolean {
    if (ownerById.size <= MANY_SESSIONS) return true;
    if (clock.nowMs() - sessionsToldMs >= MANY_PERIOD_MS) return true;
    return [...watchers].some(
      ({ topics, told }) => topics.includes("sessions") && !told.has("sessions"),
    );
  }

  // --- logs ---

  async function followLogs(): Promise<void> {
    for (const log of new Set([...watchers].flatMap((watcher) => watcher.log ?? []))) {
      await followLog(log);
    }
  }

  async function followLog(log: LogId): Promise<void> {
    const known = followed.get(log);
    const { lines, skipped, next } =
      known === undefined
        ? await logs.tail(log, FIRST_LINES)
        : await logs.follow(log, known.position);
    const newest = [...(known?.newest ?? []), ...lines].slice(-FIRST_LINES);
    followed.set(log, { position: next, newest });
    let isRead = false;
    for (const watcher of watchers) {
      if (watcher.log !== log) continue;
      isRead = true;
      if (watcher.hasBegun) tellLines(watcher, log, lines, skipped);
      else tellLines(watcher, log, newest, 0);
      watcher.hasBegun = true;
    }
    if (!isRead) followed.delete(log);
  }

  function tellLines(
    watcher: Watcher,
    log: LogId,
    lines: readonly string[],
    skipped: number,
  ): void {
    if (watcher.res.writableLength > MAX_WAITING_BYTES) {
      watcher.skipped += lines.length + skipped;
      return;
    }
    const shown = lines.slice(-MAX_LINES);
    const missed = watcher.skipped + skipped + lines.length - shown.length;
    watcher.skipped = 0;
    if (shown.length === 0 && missed === 0) return;
    send(watcher, "log", JSON.stringify({ log, lines: shown, skipped: missed } satisfies LogLines));
  }

  // --- who looks ---

  function start(): void {
    timers = [
      clock.every(STATE_PERIOD_MS, () => once(tellState)),
      clock.every(LOG_PERIOD_MS, () => once(followLogs)),
    ];
  }

  function forget(watcher: Watcher): void {
    watchers.delete(watcher);
    if (![...watchers].some(({ log }) => log === watcher.log) && watcher.log !== undefined) {
      followed.delete(watcher.log);
    }
    if (watchers.size > 0) return;
    for (const timer of timers) timer.cancel();
    timers = [];
  }

  /** What is under way may have begun before this one came. */
  function tellAtOnce(action: () => Promise<void>): void {
    const before = telling.get(action) ?? Promise.resolve();
    void before.then(() => once(action));
  }

  return {
    open(res, { topics, log }) {
      if (isClosed || watchers.size >= MAX_WATCHERS) return false;
      const watcher = { res, topics, log, told: new Map(), hasBegun: false, skipped: 0 };
      res.on("error", () => forget(watcher));
      res.on("close", () => forget(watcher));
      watchers.add(watcher);
      if (timers.length === 0) start();
      tellAtOnce(tellState);
      if (log !== undefined) tellAtOnce(followLogs);
      return true;
    },
    get watchers() {
      return watchers.size;
    },
    close() {
      isClosed = true;
      for (const watcher of [...watchers]) {
        watcher.res.end();
        forget(watcher);
      }
    },
  };
}
