/**
 * The connection to the worker: JSON requests, commands, and server-sent events. Reports when the events stop, because old
 * numbers that look current would be worse than none.
 */
import type {
  CommandReply,
  LogId,
  LogLines,
  OverviewResponse,
  SessionsResponse,
  Topic,
  WorkersResponse,
} from "../../dashboard/responses.ts";

export type Feed = ReturnType<typeof openFeed>;

export interface Subscription {
  readonly topics: readonly Topic[];
  readonly log: LogId | undefined;
}

export interface FeedListener {
  /** The connection is open, perhaps again: log lines start over with the newest ones. */
  onOpen(): void;
  onOverview(overview: OverviewResponse): void;
  onWorkers(workers: WorkersResponse): void;
  onSessions(sessions: SessionsResponse): void;
  onLog(lines: LogLines): void;
  onState(state: "live" | "lost"): void;
}

/** Without an event for this long the data is stale: the worker sends one every 2 s. */
const SILENCE_MS = 10_000;
/** Plus jitter: a worker that stops closes all pages at once, and they must not reconnect in the same moment. */
const RETRY_MS = 500;

/** Receives events, reconnecting to any worker, until it is closed. */
export function openFeed(wanted: Subscription, listener: FeedListener) {
  const topics = `topics=${wanted.topics.join(",")}`;
  const url = `api/events?${topics}${wanted.log === undefined ? "" : `&log=${wanted.log}`}`;
  let source: EventSource | undefined;
  let silence = 0;
  let retry = 0;

  /**
   * Reconnects itself, because EventSource gives up after a response such as 502, which balancers send while workers
   * restart.
   */
  function open(): void {
    const opened = new EventSource(url);
    source = opened;
    opened.addEventListener("open", () => listener.onOpen());
    on(opened, "overview", (value) => listener.onOverview(value as OverviewResponse));
    on(opened, "workers", (value) => listener.onWorkers(value as WorkersResponse));
    on(opened, "sessions", (value) => listener.onSessions(value as SessionsResponse));
    on(opened, "log", (value) => listener.onLog(value as LogLines));
    opened.addEventListener("error", reconnect);
    watchSilence();
  }

  function on(opened: EventSource, name: string, handle: (value: unknown) => void): void {
    opened.addEventListener(name, (event) => {
      watchSilence();
      listener.onState("live");
      handle(JSON.parse((event as MessageEvent<string>).data));
    });
  }

  function watchSilence(): void {
    clearTimeout(silence);
    silence = window.setTimeout(reconnect, SILENCE_MS);
  }

  function reconnect(): void {
    listener.onState("lost");
    close();
    retry = window.setTimeout(open, RETRY_MS * (1 + Math.random()));
  }

  function close(): void {
    clearTimeout(silence);
    clearTimeout(retry);
    source?.close();
  }

  open();
  return { close };
}

/** Gets `api/PATH`. Rejects unless the response has a 2xx status. */
export async function getJson<T>(
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<T> {
  const response = await fetch(`api/${path}`, {
    headers: { accept: "application/json", ...headers },
  });
  if (!response.ok) throw new Error(`the worker responded with status ${response.status}`);
  return (await response.json()) as T;
}

/** The text of a response, whatever its status. */
export async function getText(path: string): Promise<string> {
  return (await fetch(`api/${path}`)).text();
}

/** Posts a command. The header proves that our own page sends it: other sites cannot set it (CSRF). */
export async function postCommand(path: string): Promise<CommandReply> {
  const response = await fetch(`api/${path}`, {
    method: "POST",
    headers: { "x-dashboard-request": "1", accept: "application/json" },
  });
  if (!response.ok) return { outcome: "refused", message: await response.text() };
  return (await response.json()) as CommandReply;
}
