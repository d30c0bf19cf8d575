/** The audit log as the worker uses it: files, checkpoints in the store, and syslog. */
import type { ActivityEvent } from "../../shared/activity/event.ts";
import type { AuditKeys } from "../../shared/audit/line.ts";
import type { Clock } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { Counters } from "../../shared/metrics/metrics.ts";
import type { SyslogTarget } from "../../shared/settings/syslog-target.ts";
import type { Store } from "../../shared/store/store.ts";
import type { AuditSink } from "../activity/recorder.ts";
import { AuditLog } from "./audit-log.ts";
import { createCheckpoints } from "./checkpoints.ts";
import { createSyslog } from "./syslog.ts";

export interface AuditOptions {
  readonly folder: string;
  readonly days: number;
  readonly onFailure: "continue" | "refuse";
  readonly syslog:
    | { readonly target: SyslogTarget; readonly authority: string | undefined }
    | undefined;
}

export interface AuditState {
  /** Why events cannot be written at the moment, or not be secured by checkpoints; undefined: they can be. */
  readonly problem: string | undefined;
  /** Events that were not written since the start. */
  readonly dropped: number;
}

export interface Audit extends AuditSink {
  readonly state: AuditState;
  /** Resolves when what was written is on the disk, or could not be written. */
  flush(): Promise<void>;
  /** Writes what waits, and the last checkpoint. */
  close(): Promise<void>;
}

/** For what the shutdown of a process allows. */
const SYSLOG_MS = 300;
/** What people read whose session is not created. */
const [NOT_WRITTEN, NOT_SECURED] = [
  "cannot record what happens",
  "cannot secure its record of what happens against changes",
].map(
  (why) =>
    `This server ${why} at the moment, so no new sessions can be started. Try again later, or contact your administrator.`,
);

export function openAudit(deps: {
  readonly options: AuditOptions;
  readonly worker: string;
  readonly keys: AuditKeys;
  readonly store: Pick<Store, "appendToStream" | "readStream">;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
}): Audit {
  const { options, clock, log, counters } = deps;
  const { folder, days, onFailure } = options;
  const checkpoints = createCheckpoints({ ...deps, days });
  const file = new AuditLog({
    ...deps,
    folder,
    days,
    onCheckpoint: (position) => checkpoints.write(position),
  });
  const syslog = options.syslog && createSyslog({ ...options.syslog, clock, log, counters });

  function problem(): string | undefined {
    if (file.problem !== undefined) return `cannot write: ${file.problem}`;
    if (file.checkpointProblem !== undefined) return file.checkpointProblem;
    return syslog?.problem && `cannot send to syslog: ${syslog.problem}`;
  }

  function refusal(): string | undefined {
    if (onFailure === "continue") return undefined;
    if (file.problem !== undefined) return NOT_WRITTEN;
    return file.checkpointProblem === undefined ? undefined : NOT_SECURED;
  }

  counters.gauge("worker.audit.problem", () => (problem() === undefined ? 0 : 1));
  return {
    write(event: ActivityEvent) {
      file.write(event);
      syslog?.write(event);
    },
    refusal,
    flush: () => file.flush(),
    get state() {
      return { problem: problem(), dropped: file.dropped };
    },
    async close() {
      await Promise.all([file.close(), syslog?.close(SYSLOG_MS)]);
      checkpoints.close();
    },
  };
}
