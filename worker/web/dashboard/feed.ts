/**
 * What the worker tells: answers to questions, and events as they come. The connection says itself when it is lost, because
 * old numbers that look new would be worse than none.
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

export interface Feed {
  close(): void;
}

/** What of the edge is looked at. */
export interface Wanted {
  readonly topics: readonly Topic[];
  readonly log: LogId | undefined;
}

export interface FeedListener {
  /** The feed begins, perhaps again: all that it tells of the log follows. */
  onBegin(): void;
  onOverview(answer: OverviewResponse): void;
  onWorkers(answer: WorkersResponse): void;
  onSessions(answer: SessionsResponse): void;
  onLog(lines: LogLines): void;
  onState(state: "live" | "lost"): void;
}

/** Without an event for so long (the worker tells something every few seconds) what is shown is old. */
const SILENCE_MS = 10_000;
/** A worker that ends lets all pages go at once: they do not come back in one moment. */
const RETRY_MS = 500;

/** Follows the edge, over any worker, until it is closed. */
export function openFeed(wanted: Wanted, listener: FeedListener): Feed {
  const topics = `topics=${wanted.topics.join(",")}`;
  const url = `api/events?${topics}${wanted.log === undefined ? "" : `&log=${wanted.log}`}`;
  let source: EventSource | undefined;
  let silence = 0;
  let retry = 0;

  /** Not left to EventSource, which gives up for good at an answer such as 502: a balancer's while workers change. */
  function open(): void {
    const opened = new EventSource(url);
    source = opened;
    opened.addEventListener("open", () => listener.onBegin());
    on(opened, "overview", (value) => listener.onOverview(value as OverviewResponse));
    on(opened, "workers", (value) => listener.onWorkers(value as WorkersResponse));
    on(opened, "sessions", (value) => listener.onSessions(value as SessionsResponse));
    on(opened, "log", (value) => listener.onLog(value as LogLines));
    opened.addEventListener("error", lose);
    awaitEvent();
  }

  function on(opened: EventSource, name: string, take: (value: unknown) => void): void {
    opened.addEventListener(name, (event) => {
      awaitEvent();
      listener.onState("live");
      take(JSON.parse((event as MessageEvent<string>).data));
    });
  }

  function awaitEvent(): void {
    clearTimeout(silence);
    silence = window.setTimeout(lose, SILENCE_MS);
  }

  function lose(): void {
    listener.onState("lost");
    end();
    retry = window.setTimeout(open, RETRY_MS * (1 + Math.random()));
  }

  function end(): void {
    clearTimeout(silence);
    clearTimeout(retry);
    source?.close();
  }

  open();
  return { close: end };
}

/** Asks for `api/PATH`. Rejects when the worker does not answer with what was asked for. */
export async function ask<T>(
  path: string,
  fields: Readonly<Record<string, string>> = {},
): Promise<T> {
  const answer = await fetch(`api/${path}`, { headers: { accept: "application/json", ...fields } });
  if (!answer.ok) throw new Error(`the worker responded with status ${answer.status}`);
  return (await answer.json()) as T;
}

/** Asks for something to be done. The field shows that our own page asks: others cannot set it (a cross-site request). */
export async function command(path: string): Promise<CommandReply> {
  const answer = await fetch(`api/${path}`, {
    method: "POST",
    headers: { "x-dashboard-request": "1", accept: "application/json" },
  });
  if (!answer.ok) return { outcome: "refused", message: await answer.text() };
  return (await answer.json()) as CommandReply;
}
