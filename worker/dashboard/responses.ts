/**
 * What `/dashboard/api/` answers, as JSON: the page and programs read the same. Fields may be added, none is changed. A
 * number that is not known is null, never 0; times are ms since the epoch by the store's clock unless said.
 */

/** `GET /dashboard/api/overview`, and the event `overview` of the feed. */
export interface OverviewResponse {
  readonly atMs: number | null;
  readonly version: string;
  /** Null when it does not answer. */
  readonly store: { readonly state: "up" | "away"; readonly reason: string | null };
  readonly storeLatencyMs: number | null;
  readonly tiles: Readonly<Record<TileName, number | null>>;
  /** Number of workers by status. */
  readonly workerStatuses: Readonly<Record<WorkerStatus, number>>;
  /** The same under the names of the version before. */
  readonly workers: Readonly<Record<FormerWorkerState, number>>;
  readonly balancers: number;
  /** What needs an operator's look now, worst first: each a sentence. */
  readonly concerns: readonly string[];
}

/** The six of the notes: people, sessions and connections now; mean lag in ms; totals since the beginning. */
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

/** `GET /dashboard/api/history?range=hour|day|month`: columns of one length, the oldest first. */
export interface HistoryResponse {
  readonly range: HistoryRange;
  /** Between two samples. */
  readonly stepMs: number;
  readonly atMs: readonly number[];
  readonly users: readonly (number | null)[];
  readonly sessions: readonly (number | null)[];
  /** Most sessions at a time within the step. */
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
}

export interface WorkerLine {
  readonly id: string;
  /** The worst status that any balancer sees; `down` when its lease has expired. */
  readonly status: WorkerStatus;
  /** The same under the names of the version before. */
  readonly state: FormerWorkerState;
  /** Why it is in this state; empty when it is up and nothing is to be said. */
  readonly reason: string;
  /** The last failure that a balancer saw, and when. */
  readonly lastFailure: { readonly atMs: number; readonly reason: string } | null;
  readonly sessions: number | null;
  readonly connections: number | null;
  readonly lagMs: number | null;
  readonly rssBytes: number | null;
  readonly version: string;
  readonly uptimeMs: number | null;
  /** How often its supervisor started it again; null where there is none. */
  readonly restarts: number | null;
  readonly url: string;
}

export interface BalancerLine {
  readonly id: string;
  readonly version: string;
  readonly uptimeMs: number | null;
  readonly rssBytes: number | null;
  readonly connections: number | null;
  readonly tunnels: number | null;
  /** Whether its ring is that of the others. */
  readonly ringDiffers: boolean;
}

/** `GET /dashboard/api/sessions`, and the event `sessions`. */
export interface SessionsResponse {
  readonly sessions: readonly SessionLine[];
  /** How many there are, listed or not. */
  readonly total: number;
}

export interface SessionLine {
  /** The beginning of its id: all of it would be an invitation to ask. It names the session in other requests. */
  readonly id: string;
  readonly worker: string;
  readonly ownerState: "lives" | "restarted" | "gone" | "unknown";
  readonly epoch: number;
  readonly ageMs: number | null;
  /** Bytes that were relayed since this worker has it; null when its worker does not say. */
  readonly bytes: number | null;
  readonly lastActivityMs: number | null;
  readonly peers: readonly {
    readonly name: string;
    readonly host: boolean;
    readonly client: string;
    /** Null when its worker does not say. */
    readonly connected: boolean | null;
  }[];
}

/** `GET /dashboard/api/sessions/ID/events`: the oldest first. */
export interface SessionEventsResponse {
  readonly events: readonly {
    readonly atMs: number;
    readonly kind: string;
    readonly worker: string;
    readonly epoch: number;
    readonly cause: string;
  }[];
}

/** `GET /dashboard/api/downloads`: per day of UTC. */
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

/** `GET /dashboard/api/logs`: what can be shown. */
export interface LogsResponse {
  readonly logs: readonly {
    readonly id: LogId;
    readonly name: string;
    readonly bytes: number | null;
  }[];
}

export type LogId = "server" | "access" | "error";

/** What `GET /dashboard/api/events?topics=A,B` tells of beside the overview; without `topics` all of them. */
export type Topic = "workers" | "sessions";

/** The event `log` of the feed: new lines, the oldest first, control characters escaped. */
export interface LogLines {
  readonly log: LogId;
  readonly lines: readonly string[];
  /** Lines that came too fast to be shown. */
  readonly skipped: number;
}

/** `GET /dashboard/api/check`. */
export interface CheckResponse {
  readonly checks: readonly {
    readonly name: string;
    readonly outcome: CheckOutcome;
    /** What was found, for people. */
    readonly detail: string;
  }[];
}

/** `off`: the operator does not use it. */
export type CheckOutcome = "good" | "bad" | "unknown" | "off";

/** `GET /dashboard/api/echo`: to see whether requests with the same `ctstickiness` come to the same worker. */
export interface EchoResponse {
  readonly worker: string;
  /** Workers that live; undefined while the store does not say. */
  readonly workers: number | null;
}

/** What a `POST` is answered: `POST /dashboard/api/workers/ID/drain|suspend|resume`, `POST …/sessions/ID/end`. */
export interface CommandReply {
  readonly outcome: "done" | "refused" | "no answer";
  readonly message: string;
}
