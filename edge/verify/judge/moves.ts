/** Judges what became of a session whose worker was drained or killed. Pure. */
import { broken, held, seconds, unknown, type Verdict } from "../model/finding.ts";
import type { Move } from "../people/moves.ts";

/** What was tried: a move that was watched, or why there was none. */
export type Watch =
  | Move
  | { readonly outcome: "not watched"; readonly why: string; readonly cure: string };

type Names = (tag: string) => string;

export function judgeDrain(watch: Watch, nameOf: Names): Verdict {
  switch (watch.outcome) {
    case "not watched":
      return unknown(watch.why, watch.cure);
    case "stayed":
      return broken(
        `the session did not leave its worker in ${seconds(watch.waitedMs)}`,
        "`ct-edge list`: is there another worker that takes sessions? the log of the worker has the reason",
      );
    case "silent":
      return broken(
        `people did not hear each other afterwards (${watch.detail})`,
        "see the log of the workers",
      );
    case "moved": {
      if (watch.lost > 0) {
        return broken(
          `${watch.lost} of ${watch.said} messages were lost`,
          "see the log of the workers",
        );
      }
      if (watch.disconnects > 0) {
        return broken(
          `the people had to reconnect (${watch.disconnects} times), and nothing was lost`,
          "`ct-edge events` has the reason; links must be open (`ct-edge list`), and WebSockets pass",
        );
      }
      return held(
        `the session moved to ${nameOf(watch.to)}: no disconnect, ${watch.said} messages, longest pause ${Math.round(watch.pauseMs)} ms`,
      );
    }
  }
}

export function judgeKill(watch: Watch, nameOf: Names): Verdict {
  switch (watch.outcome) {
    case "not watched":
      return unknown(watch.why, watch.cure);
    case "stayed":
      return unknown(
        `no other worker had the session after ${seconds(watch.waitedMs)}`,
        "kill the worker while verify waits; if it was killed, `ct-edge explain KEY`",
      );
    case "silent":
      return broken(
        `people did not hear each other afterwards (${watch.detail})`,
        "see the log of the workers",
      );
    case "moved":
      return held(
        `the session went on at ${nameOf(watch.to)} after ${seconds(watch.pauseMs)}, with ${watch.disconnects} disconnects`,
        watch.lost > 0 ? `${watch.lost} of ${watch.said} chat messages were lost` : undefined,
      );
  }
}
