/**
 * The JSON responses of `/dashboard/api/`, for the page and for other programs. Fields may be added, never changed. Unknown
 * numbers are null, never 0; times are ms since the epoch by the store's clock unless noted.
 */
import type { ReportedLinkCounts } from "../../shared/link/link-counts.ts";
import type { PolicyAnswer } from "../../shared/policy/explain.ts";
import type { Permission } from "../../shared/settings/operator-roles.ts";

/** `GET /dashboard/api/overview`, and the event `overview` of the feed. */
export interface OverviewResponse {
  readonly atMs: number | null;
  readonly version: string;
  readonly store: { readonly state: "up" | "away"; readonly reason: string | null };
  readonly storeLatencyMs: number | null;
  readonly tiles: Readonly<Record<TileName, number | null>>;
  /** Number of workers by status. */
  readonly workerStatuses: Readonly<Record<WorkerStatus, number>>;
  /** The same under the names of the version before. */
  readonly workers: Readonly<Record<FormerWorkerState, number>>;
  readonly balancers: number;
  /** What needs an operator's attention now, worst first, in sentences. */
  readonly concerns: readonly string[];
}

/** People, sessions and connections now; mean lag in ms; totals of sessions and downloads since the store was empty. */
export type TileName =
  | "usersOnline"
  | "sessionsActive"
  | "connectionsActive"
  | "lagMs"
  | "sessionsHosted"
  | "downloads";

/** `up`, `suspended` and `draining`: healthy, in its own state. `unknown`: the store does not respond. */
export type WorkerStatus = "up" | "suspended" | "draining" | "unhealthy" | "down" | "unknown";
export type FormerWorkerState = "up" | "suspended" | "draining" | "suspect" | "dead" | "unknown";

/** `GET /dashboard/api/history?range=hour|day|month`: arrays of equal length, oldest first. */
export interface HistoryResponse {
  readonly range: HistoryRange;
  /** Between two samples. */
  readonly stepMs: number;
  readonly atMs: readonly number[];
  readonly users: readonly (number | null)[];
  readonly sessions: readonly (number | null)[];
  /** Highest number of sessions within the step. */
  readonly peakSessions: readonly (number | null)[];
  readonly connections: readonly (number | null)[];
  readonly lagMs: readonly (number | null)[];
  /** Sessions that began within the step. */
  readonly hosted: readonly (number | null)[];
}

export type HistoryRange = "hour" | "day" | "month";

/** `GET /dashboard/api/workers`, and the event `workers`. */
export interface WorkersResponse {
  readonly workers: readonly WorkerLine[];
  readonly balancers: readonly BalancerLine[];
  /** WebSockets in moves of sessions, summed over the balancers; null when none reports them. */
  readonly resumes: ResumeLine | null;
}

/** Counts since the start of the balancer. */
export interface ResumeLine {
  /** WebSockets that wait now, open, for another worker to go on with them. */
  readonly waiting: number;
  /** Those that another worker went on with, because theirs gave the session away, or was gone. */
  readonly moved: number;
  readonly crashed: number;
  /** Those that were closed instead, by reason: their clients reconnected. */
  readonly closed: Readonly<Record<string, number>>;
  /** Messages of clients that were sent again, and those that were dropped because their receivers had them. */
  readonly messages: number;
  readonly repeats: number;
  /** The pause of those that went on; null before the first one. */
  readonly gapP50Ms: number | null;
  readonly gapP99Ms: number | null;
}

export interface WorkerLine {
  readonly id: string;
  /** The worst status that any balancer sees; `down` when its lease has expired. */
  readonly status: WorkerStatus;
  /** The same under the names of the version before. */
  readonly state: FormerWorkerState;
  /** Why it is in this state; empty when it is up and nothing is to be said. */
  readonly reason: string;
  readonly lastFailure: { readonly atMs: number; readonly reason: string } | null;
  readonly sessions: number | null;
  readonly connections: number | null;
  readonly lagMs: number | null;
  /** The links of all balancers to it; null when none reports them. */
  readonly link: LinkLine | null;
  readonly rssBytes: number | null;
  readonly version: string;
  readonly uptimeMs: number | null;
  /** Restarts by its supervisor; null without one. */
  readonly restarts: number | null;
  readonly url: string;
}

/** Numbers are sums over the balancers, counts since the start of the worker; `In`: from the worker. */
export interface LinkLine extends ReportedLinkCounts {
  /** At the balancer where it is worst. `connecting`: there is none now. `unsupported`: the worker accepts none. */
  readonly state: "open" | "connecting" | "unsupported" | "off";
  /** Balancers that report links to it, and those of them that have an open one. */
  readonly balancers: number;
  readonly open: number;
  readonly links: number;
  readonly streams: number;
}

export interface BalancerLine {
  readonly id: string;
  readonly version: string;
  readonly uptimeMs: number | null;
  readonly rssBytes: number | null;
  readonly connections: number | null;
  readonly tunnels: number | null;
  /** Null when it does not report them. */
  readonly resumes: ResumeLine | null;
  /** Whether its ring differs from the majority. */
  readonly ringDiffers: boolean;
}

/** `GET /dashboard/api/sessions`, and the event `sessions`. */
export interface SessionsResponse {
  readonly sessions: readonly SessionLine[];
  /** Including sessions that are not listed. */
  readonly total: number;
}

/** `GET /dashboard/api/operator`: who asks. */
export interface OperatorResponse {
  readonly name: string;
  readonly permissions: readonly Permission[];
  /** Whether it has signed in at an identity provider. */
  readonly maySignOut: boolean;
}

export interface SessionLine {
  /** The first characters of its id, which identify it in other requests. The whole id would allow join requests. */
  readonly id: string;
  readonly worker: string;
  readonly ownerState: "lives" | "restarted" | "gone" | "unknown";
  readonly epoch: number;
  /** No new guests are let in. */
  readonly isLocked: boolean;
  readonly ageMs: number | null;
  /** Bytes relayed since this worker took the session; null if its worker does not report them. */
  readonly bytes: number | null;
  readonly lastActivityMs: number | null;
  readonly peers: readonly {
    readonly id: string;
    readonly name: string;
    readonly host: boolean;
    readonly client: string;
    /** Whether it has signed in at an identity provider. */
    readonly hasSignIn: boolean;
    /** Null if its worker does not report it. */
    readonly connected: boolean | null;
  }[];
}

/** `GET /dashboard/api/sessions/ID/events`: oldest first. */
export interface SessionEventsResponse {
  readonly events: readonly {
    readonly atMs: number;
    readonly kind: string;
    readonly worker: string;
    readonly epoch: number;
    readonly cause: string;
  }[];
}

/** `GET /dashboard/api/downloads`: per day (UTC). */
export interface DownloadsResponse {
  readonly total: number | null;
  readonly rows: readonly {
    readonly day: string;
    readonly ide: string;
    readonly artifact: string;
    readonly version: string;
    readonly count: number;
  }[];
}

/**
 * `GET /dashboard/api/usage?days=30`: days (UTC) with today. IDEs are those that clients say they are: `vscode`, `intellij`, `theia`,
 * `eclipse`, `browser`, `other`. Above 200 people, `users` are estimates with a standard error of 1.6 %.
 */
export interface UsageResponse {
  readonly now: { readonly users: number | null; readonly sessions: number | null };
  /** How many days were asked for; the edge may have counted on fewer. */
  readonly days: number;
  /** Different people on all these days. */
  readonly users: number;
  /** Oldest first. */
  readonly rows: readonly UsageRow[];
}

export interface UsageRow {
  /** `2030-01-31`. */
  readonly day: string;
  /** Different people on this day. */
  readonly users: number;
  /** Sessions hosted, and guests who joined, by IDE. */
  readonly hosted: Readonly<Record<string, number>>;
  readonly joined: Readonly<Record<string, number>>;
  /** Sessions that ended on this day; the rest is about these. */
  readonly ended: number;
  /** Sum of the most people at once in each, and of their minutes. */
  readonly people: number;
  readonly minutes: number;
  /** How many had at most so many people at once (`1` to `5`, `6-10`, `11-20`, `21-more`). */
  readonly sizes: Readonly<Record<string, number>>;
  /** How many lasted so many minutes (`0-5` to `480-more`). */
  readonly lengths: Readonly<Record<string, number>>;
}

/** `GET /dashboard/api/policy`: of the worker that responds, as each reads its own file. */
export interface PolicyResponse {
  readonly worker: string;
  /** Null: there is none. */
  readonly policy: {
    readonly path: string;
    /** The same for the same text. */
    readonly version: string;
    /** How many. */
    readonly rules: number;
    readonly warnings: readonly string[];
    /** Names of rules that rest on what clients say of themselves, or are hints to our own page. */
    readonly guidance: readonly string[];
    /** Why the file as it is now is not in force; the last good one is. */
    readonly problem: string | null;
    /** When this worker has begun to apply it; wall time. */
    readonly loadedMs: number;
  } | null;
}

/**
 * `GET /dashboard/api/policy/check?user=USER&room=ID&groups=A,B&address=IP`: as `ct-edge policy check --json`. `ID` is a listed one.
 * `text`: the same as lines for people.
 */
export interface PolicyCheckResponse extends PolicyAnswer {
  readonly worker: string;
  readonly text: readonly string[];
}

/** `GET /dashboard/api/logs`. */
export interface LogsResponse {
  readonly logs: readonly {
    readonly id: LogId;
    readonly name: string;
    readonly bytes: number | null;
  }[];
}

export type LogId = "server" | "access" | "error";

/** What `GET /dashboard/api/events?topics=A,B` sends besides the overview; without `topics`, all of them. */
export type Topic = "workers" | "sessions";

/** The event `log` of the feed: new lines, oldest first, with control characters escaped. */
export interface LogLines {
  readonly log: LogId;
  readonly lines: readonly string[];
  /** Lines that were left out because they arrived too fast. */
  readonly skipped: number;
}

/** `GET /dashboard/api/check`. */
export interface CheckResponse {
  readonly checks: readonly {
    readonly name: string;
    readonly outcome: CheckOutcome;
    readonly detail: string;
  }[];
}

/** `off`: not in use. */
export type CheckOutcome = "good" | "bad" | "unknown" | "off";

/** `GET /dashboard/api/echo`: shows whether requests with the same `ctstickiness` reach the same worker. */
export interface EchoResponse {
  readonly worker: string;
  /** Live workers; null during a store outage. */
  readonly workers: number | null;
}

/** The response to `POST /dashboard/api/workers/ID/drain|suspend|resume`, `POST …/sessions/ID/end`. */
export interface CommandReply {
  readonly outcome: "done" | "refused" | "no answer";
  readonly message: string;
}
