/**
 * Where it is told what became of each request: access.log and error.log in CT_LOG_DIR, the store's streams for operators
 * elsewhere, and the program's own log for what the operator should look at. Never blocks, never fails: see
 * shared/logs/line-file.ts and log-stream.ts.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Clock } from "../../shared/base/clock.ts";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import type { LogStream } from "../../shared/cluster/log-stream.ts";
import { createLineFile, type LineFile } from "../../shared/logs/line-file.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { LogLimits } from "../../shared/logs/rotation.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import { SettingError } from "../../shared/settings/read-settings.ts";
import type { TrustedProxies } from "../http1/forwarding.ts";
import { accessLine, logTime, type Served } from "./access-log.ts";
import { errorLine, type Failed, levelOf } from "./error-log.ts";

export interface RequestLog {
  /** An answer is over; called once for each request that was answered or given up. */
  served(served: Served): void;
  /** A request failed in the balancer or at a worker; `served` is called for it too. */
  failed(failed: Failed): void;
  /** Opens the files anew, after they were renamed. */
  reopen(): void;
  /** Writes what waits, and closes the files. */
  close(): void;
}

/** Lines wait so long for others. */
const GATHER_MS = 100;
/** How often lost lines are counted, and how often they are told of at most. */
const COUNT_PERIOD_MS = 1000;
const TELL_PERIOD_MS = 10_000;
/** Failed requests that are told of in the program's log within a second; all are in error.log. */
const MAX_TOLD_PER_SECOND = 10;

/** Throws `SettingError` when a file cannot be opened. */
export function createRequestLog(deps: {
  /** CT_LOG_DIR, and what of each log is kept there; undefined: there are no files. */
  files: { readonly folder: string; readonly limits: LogLimits } | undefined;
  streams?: { readonly access: LogStream | undefined; readonly error: LogStream | undefined };
  trusted: TrustedProxies;
  clock: Clock;
  log: Log;
  counters: Counters;
}): RequestLog {
  const { clock, log, trusted } = deps;
  const files = deps.files && openFiles(resolve(deps.files.folder), deps.files.limits, deps);
  const { access: accessStream, error: errorStream } = deps.streams ?? {};
  const told = createLimit(clock);
  let second = 0;
  let time = "";

  return {
    served(served) {
      // A line that nobody gets is not made.
      const isShared = accessStream?.hasRoom() ?? false;
      if (files === undefined && !isShared) return;
      const now = clock.wallMs();
      if (now - second >= 1000 || now < second) {
        second = now - (now % 1000);
        time = logTime(now);
      }
      const line = accessLine(served, trusted, time);
      files?.access.write(line);
      if (isShared) accessStream?.write(line);
    },
    failed(failed) {
      const isShared = errorStream?.hasRoom() ?? false;
      if (files !== undefined || isShared) {
        const line = errorLine(failed, clock.wallMs(), process.pid);
        files?.error.write(line);
        if (isShared) errorStream?.write(line);
      }
      if (levelOf(failed) !== "error" || !told.take()) return;
      const { error: err, status, requestId, worker } = failed;
      if (err instanceof EdgeError)
        log.warn({ status, requestId, worker, err }, "a request failed");
      else {
        log.error({ status, requestId, worker, err }, "a request failed inside the balancer");
      }
    },
    reopen() {
      files?.reopen();
    },
    close() {
      files?.close();
    },
  };
}

interface Files {
  readonly access: LineFile;
  readonly error: LineFile;
  reopen(): void;
  close(): void;
}

function openFiles(
  folder: string,
  limits: LogLimits,
  { clock, log, counters }: { clock: Clock; log: Log; counters: Counters },
): Files {
  const access = createLineFile({ clock, gatherMs: GATHER_MS });
  const error = createLineFile({ clock, gatherMs: GATHER_MS });
  const files: readonly [string, LineFile][] = [
    [join(folder, "access.log"), access],
    [join(folder, "error.log"), error],
  ];
  try {
    // Not its parents: Node tries to make those for ever where none can be made (/proc).
    if (!existsSync(folder)) mkdirSync(folder);
    for (const [path, file] of files) file.open(path, limits);
  } catch (problem) {
    throw new SettingError(
      `CT_LOG_DIR=${folder}: access.log and error.log cannot be written there (${describeError(problem)}); name a folder that can be written`,
    );
  }

  let untold = 0;
  let toldMs = Number.NEGATIVE_INFINITY;
  function countDropped(): void {
    let dropped = 0;
    for (const [, file] of files) dropped += file.takeDropped();
    untold += dropped;
    if (dropped > 0) counters.count("log.lines_dropped", "", dropped);
    if (untold === 0 || clock.nowMs() - toldMs < TELL_PERIOD_MS) return;
    const err = files.map(([, file]) => file.lastProblem()).find((one) => one !== undefined);
    log.warn({ dropped: untold, folder, err }, "log lines were dropped; check its disk");
    untold = 0;
    toldMs = clock.nowMs();
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
          log.error({ file: path, err }, "a log cannot be opened anew; the file of before is used");
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

/** So many in a second, and no more. */
function createLimit(clock: Clock): { take(): boolean } {
  let sinceMs = Number.NEGATIVE_INFINITY;
  let taken = 0;
  return {
    take() {
      const now = clock.nowMs();
      if (now - sinceMs >= 1000) {
        sinceMs = now;
        taken = 0;
      }
      return ++taken <= MAX_TOLD_PER_SECOND;
    },
  };
}
