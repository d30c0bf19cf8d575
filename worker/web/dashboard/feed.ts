/**
 * What the worker tells: answers to questions, and events as they come. The connection says itself when it is lost, because
 * old numbers that look new would be worse than none.
 */
import type {
  CommandReply,
  LogId,
  LogLines,
  OverviewAnswer,
  SessionsAnswer,
  WorkersAnswer,
} from "../../dashboard/answers.ts";

export interface Feed {
  close(): void;
}

export interface FeedListener {
  onOverview(answer: OverviewAnswer): void;
  onWorkers(answer: WorkersAnswer): void;
  onSessions(answer: SessionsAnswer): void;
  onLog(lines: LogLines): void;
  onState(state: "live" | "lost"): void;
}

/** Without an event for so long (the worker tells something every few seconds) what is shown is old. */
const SILENCE_MS = 15_000;

/** Follows the edge, and the log `log` if one is named. */
export function openFeed(log: LogId | undefined, listener: FeedListener): Feed {
  const source = new EventSource(log === undefined ? "api/events" : `api/events?log=${log}`);
  let silence = 0;

  function heard(): void {
    listener.onState("live");
    clearTimeout(silence);
    silence = window.setTimeout(() => listener.onState("lost"), SILENCE_MS);
  }

  function on(name: string, take: (value: unknown) => void): void {
    source.addEventListener(name, (event) => {
      heard();
      take(JSON.parse((event as MessageEvent<string>).data));
    });
  }

  on("overview", (value) => listener.onOverview(value as OverviewAnswer));
  on("workers", (value) => listener.onWorkers(value as WorkersAnswer));
  on("sessions", (value) => listener.onSessions(value as SessionsAnswer));
  on("log", (value) => listener.onLog(value as LogLines));
  source.addEventListener("error", () => listener.onState("lost"));

  return {
    close() {
      clearTimeout(silence);
      source.close();
    },
  };
}

/** Asks for `api/PATH`. Rejects when the worker does not answer with what was asked for. */
export async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(`api/${path}`, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`the worker answered with status ${answer.status}`);
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
