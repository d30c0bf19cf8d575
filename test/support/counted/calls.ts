/** Counted sessions in another process or in a page: each method is a call with arguments and a result that are plain data. */
import { type CountedSessions, countedSessions } from "./sessions.ts";

export interface Call {
  readonly method: keyof CountedSessions;
  readonly args: readonly unknown[];
}

/** `send` runs the call elsewhere, by the function of `serveCalls`. */
export function remoteSessions(send: (call: Call) => Promise<unknown>): CountedSessions {
  const method =
    (name: keyof CountedSessions) =>
    (...args: unknown[]): Promise<never> =>
      send({ method: name, args }) as Promise<never>;
  return {
    open: method("open"),
    start: method("start"),
    stop: method("stop"),
    state: method("state"),
    nowMs: method("nowMs"),
    figures: method("figures"),
    gaps: method("gaps"),
    close: method("close"),
  };
}

export function serveCalls(): (call: Call) => Promise<unknown> {
  const sessions = countedSessions();
  return ({ method, args }) =>
    (sessions[method] as (...args: readonly unknown[]) => Promise<unknown>)(...args);
}
