/**
 * Logs finished and failed requests: to access.log and error.log in CT_LOG_DIR, to the store's streams for operators on
 * other machines, and failures also to the program's own log. Never blocks, never throws: see shared/logs/line-file.ts
 * and log-stream.ts.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import type { LogStream } from "../../shared/cluster/log-stream.ts";
import { LineFile } from "../../shared/logs/line-file.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LogLimits } from "../../shared/logs/rotation.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import { accessLine, logTime, type Served } from "./access-log.ts";
import { errorLine, type Failed, levelOf } from "./error-log.ts";

export interface RequestLog {
  /** A request is finished; called once for each, with or without a complete response. */
  served(served: Served): void;
  /** A request failed in the balancer or at a worker; `served` is called for it too. */
  failed(failed: Failed): void;
  /** Formats what waits, so that it is in the store's streams before they close. */
  flush(): void;
  /** Reopens the files after they were renamed. */
  reopen(): void;
  /** Writes pending lines and closes the files. */
  close(): void;
}

/** Lines are collected for this long and written together. */
const GATHER_MS = 100;
/**
 * As many requests at most wait to be formatted, for the same time: one line after the other finds the code in the processor's
 * caches, which what runs between two responses drives out.
 */
const BATCH = 64;
/** How often dropped lines are counted, and the minimum time between two warnings about them. */
const COUNT_PERIOD_MS = 1000;
const WARN_PERIOD_MS = 10_000;
/** Maximum failed requests per second in the program's log; error.log has all of them. */
const MAX_WARNINGS_PER_SECOND = 10;

export interface LogFiles {
  /** CT_LOG_DIR. */
  readonly folder: string;
  readonly limits: LogLimits;
  /**
   * Which of several processes this is: each has files of its own, because two that rotated one file at the same time would
   * lose lines.
   */
  readonly processNumber?: number | undefined;
}

/** Throws `SettingError` when a file cannot be opened. */
export function createRequestLog(deps: {
  /** Undefined: no files. */
  files: LogFiles | undefined;
  streams?: { readonly access: LogStream | undefined; readonly error: LogStream | undefined };
  trusted: TrustedProxies;
  clock: Clock;
  log: Log;
  counters: Counters;
}): RequestLog {
  const { clock, log, trusted } = deps;
  const files = deps.files && openFiles(deps.files, deps);
  const { access: accessStream, error: errorStream } = deps.streams ?? {};
  const warnings = createWarningLimit(clock);
  let pending: Served[] = [];
  let pendingTimes: number[] = [];
  let formatting: Timer | undefined;
  let second = 0;
  let time = "";

  /** Formats the requests that wait. */
  function formatPending(): void {
    const [requests, times] = [pending, pendingTimes];
    pending = [];
    pendingTimes = [];
    for (const [i, request] of requests.entries()) format(request, times[i] ?? 0);
  }

  function onGathered(): void {
    formatting = undefined;
    formatPending();
  }

  function format(request: Served, wallMs: number): void {
    if (wallMs - second >= 1000 || wallMs < second) {
      second = wallMs - (wallMs % 1000);
      time = logTime(wallMs);
    }
    const line = accessLine(request, trusted, time);
    files?.access.write(line);
    if (accessStream?.hasRoom() === true) accessStream.write(line);
  }

  return {
    served(served) {
      // Lines without a destination are not formatted.
      if (files === undefined && accessStream?.hasRoom() !== true) return;
      pending.push(served);
      pendingTimes.push(clock.wallMs());
      if (pending.length >= BATCH) formatPending();
      else formatting ??= clock.after(GATHER_MS, onGathered);
    },
    failed(failed) {
      const isShared = errorStream?.hasRoom() ?? false;
      if (files !== undefined || isShared) {
        const line = errorLine(failed, clock.wallMs(), process.pid);
        files?.error.write(line);
        if (isShared) errorStream?.write(line);
      }
      if (levelOf(failed) !== "error" || !warnings.allow()) return;
      const { error: err, status, requestId, worker } = failed;
      if (err instanceof EdgeError)
        log.warn({ status, requestId, worker, err }, "a request failed");
      else {
        log.error({ status, requestId, worker, err }, "a request failed inside the balancer");
      }
    },
    flush: formatPending,
    reopen() {
      formatPending();
      files?.reopen();
    },
    close() {
      formatting?.cancel();
      formatPending();
      files?.close();
    },
  };
}

/** `access.log`, or `access-2.log` of the second of several processes. */
function logFileName(name: "access" | "error", processNumber: number | undefined): string {
  return processNumber === undefined ? `${name}.log` : `${name}-${processNumber}.log`;
}

function openFiles(
  { folder: givenFolder, limits, processNumber }: LogFiles,
  { clock, log, counters }: { clock: Clock; log: Log; counters: Counters },
) {
  const folder = resolve(givenFolder);
  const access = new LineFile({ clock, gatherMs: GATHER_MS });
  const error = new LineFile({ clock, gatherMs: GATHER_MS });
  const files: readonly [string, LineFile][] = [
    [join(folder, logFileName("access", processNumber)), access],
    [join(folder, logFileName("error", processNumber)), error],
  ];
  try {
    // Not recursively: Node retries indefinitely where no folder can be made (/proc).
    if (!existsSync(folder)) mkdirSync(folder);
    for (const [path, file] of files) file.open(path, limits);
  } catch (problem) {
    throw new SettingError(
      `CT_LOG_DIR=${folder}: access.log and error.log cannot be written there (${describeError(problem)}); name a folder that can be written`,
    );
  }

  let unreported = 0;
  let warnedMs = Number.NEGATIVE_INFINITY;
  function countDropped(): void {
    let dropped = 0;
    for (const [, file] of files) dropped += file.takeDropped();
    unreported += dropped;
    if (dropped > 0) counters.count("log.lines_dropped", "", dropped);
    if (unreported === 0 || clock.nowMs() - warnedMs < WARN_PERIOD_MS) return;
    const err = files.map(([, file]) => file.lastProblem()).find((one) => one !== undefined);
    log.warn({ dropped: unreported, folder, err }, "log lines were dropped; check its disk");
    unreported = 0;
    warnedMs = clock.nowMs();
  }
  const reporting = clock.every(COUNT_PERIOD_MS, countDropped);

  return {
    access,
    error,
    reopen() {
      for (const [path, file] of files) {
        try {
          file.open(path, limits);
        } catch (err) {
          log.error(
            { file: path, err },
            "a log file cannot be reopened; the old one stays in use; check CT_LOG_DIR",
          );
        }
      }
    },
    close() {
      reporting.cancel();
      for (const [, file] of files) file.close();
      countDropped();
    },
  };
}

function createWarningLimit(clock: Clock): { allow(): boolean } {
  let sinceMs = Number.NEGATIVE_INFINITY;
  let used = 0;
  return {
    allow() {
      const now = clock.nowMs();
      if (now - sinceMs >= 1000) {
        sinceMs = now;
        used = 0;
      }
      return ++used <= MAX_WARNINGS_PER_SECOND;
    },
  };
}
