/**
 * The live side of the dashboard: server-sent events (WHATWG HTML §9.2). Nothing is read while nobody looks, and what is
 * read is read once for all who do.
 */
import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import { StoreAwayError, type StoreHealth } from "../../shared/store/store.ts";
import type { LogId, LogLines } from "./answers.ts";
import { describeMembers, describeOverview, describeSessions } from "./describe.ts";
import type { Logs, Position } from "./logs.ts";
import type { Snapshots } from "./snapshot.ts";

export interface Feed {
  /**
   * Answers with events until either side ends: `overview`, `workers` and `sessions` every 2 s, each only when it has
   * changed (the overview always), and `log` with the lines of `log`, the newest 200 first. False: too many look already.
   */
  open(res: ServerResponse, log: LogId | undefined): boolean;
  readonly watchers: number;
  close(): void;
}

const STATE_PERIOD_MS = 2000;
/** A line is on the page within a second of being written. */
const LOG_PERIOD_MS = 400;
const FIRST_LINES = 200;
const MAX_WATCHERS = 100;
/** Bytes that wait for a slow reader before lines are left out for it. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** Lines that one log event carries. */
const MAX_LINES = 500;

interface Watcher {
  readonly res: ServerResponse;
  readonly log: LogId | undefined;
  /** What it was told last, by event. */
  readonly told: Map<string, string>;
  /** Lines that it has missed. */
  skipped: number;
}

export function createFeed(needs: {
  readonly snapshots: Snapshots;
  readonly logs: Logs;
  readonly storeHealth: () => StoreHealth;
  readonly clock: Clock;
  readonly log: Log;
}): Feed {
  const { snapshots, logs, clock } = needs;
  const watchers = new Set<Watcher>();
  const positions = new Map<LogId, Position>();
  let timers: Timer[] = [];
  let isTellingState = false;
  let isTellingLines = false;

  function send(watcher: Watcher, event: string, data: string): void {
    watcher.res.write(`event: ${event}\ndata: ${data}\n\n`);
  }

  /** Says what is new to it. The overview always: by it the page knows that it is not cut off. */
  function tell(watcher: Watcher, event: string, data: string): void {
    if (watcher.res.writableLength > MAX_WAITING_BYTES) return;
    if (event !== "overview" && watcher.told.get(event) === data) return;
    watcher.told.set(event, data);
    send(watcher, event, data);
  }

  async function tellState(to: Iterable<Watcher> = watchers): Promise<void> {
    const snapshot = await snapshots.read();
    const events = [
      ["overview", JSON.stringify(describeOverview(snapshot, needs.storeHealth()))],
      ["workers", JSON.stringify(describeMembers(snapshot))],
      ["sessions", JSON.stringify(describeSessions(snapshot))],
    ] as const;
    for (const watcher of to) {
      for (const [event, data] of events) tell(watcher, event, data);
    }
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

  async function followLogs(): Promise<void> {
    for (const [log, position] of positions) {
      const readers = [...watchers].filter((watcher) => watcher.log === log);
      if (readers.length === 0) {
        positions.delete(log);
        continue;
      }
      const { lines, skipped, next } = await logs.follow(log, position);
      positions.set(log, next);
      for (const reader of readers) tellLines(reader, log, lines, skipped);
    }
  }

  async function begin(watcher: Watcher): Promise<void> {
    await tellState([watcher]);
    const { log } = watcher;
    if (log === undefined) return;
    const { lines, next } = await logs.tail(log, FIRST_LINES);
    tellLines(watcher, log, lines, 0);
    // Others may read it already; what came between is then told once more to nobody.
    if (!positions.has(log)) positions.set(log, next);
  }

  function report(error: unknown): void {
    if (error instanceof StoreAwayError) return;
    needs.log.warn({ err: error }, "the dashboard could not be told something");
  }

  function start(): void {
    timers = [
      clock.every(STATE_PERIOD_MS, () => {
        if (isTellingState) return;
        isTellingState = true;
        tellState()
          .catch(report)
          .finally(() => {
            isTellingState = false;
          });
      }),
      clock.every(LOG_PERIOD_MS, () => {
        if (isTellingLines) return;
        isTellingLines = true;
        followLogs()
          .catch(report)
          .finally(() => {
            isTellingLines = false;
          });
      }),
    ];
  }

  function forget(watcher: Watcher): void {
    watchers.delete(watcher);
    if (watchers.size > 0) return;
    for (const timer of timers) timer.cancel();
    timers = [];
    positions.clear();
  }

  return {
    open(res, log) {
      if (watchers.size >= MAX_WATCHERS) return false;
      const watcher: Watcher = { res, log, told: new Map(), skipped: 0 };
      res.on("error", () => forget(watcher));
      res.on("close", () => forget(watcher));
      watchers.add(watcher);
      if (timers.length === 0) start();
      begin(watcher).catch(report);
      return true;
    },
    get watchers() {
      return watchers.size;
    },
    close() {
      for (const watcher of [...watchers]) {
        watcher.res.end();
        forget(watcher);
      }
    },
  };
}
