/** Judges what became of a session whose worker was drained or killed. Pure. */
import { broken, held, seconds, unknown, type Verdict } from "../model/finding.ts";
import type { Move } from "../people/moves.ts";

/** What was tried: a move that was watched, or why there was none. */
export type Watch =
  | Move
  | { readonly outcome: "not watched"; readonly why: string; readonly cure: string };

type Names = (tag: string) => string;

const SEE_LOG = "see the log of the workers";

export function judgeDrain(watch: Watch, nameOf: Names): Verdict {
  if (watch.outcome === "stayed") {
    return broken(
      `the session did not leave its worker in ${seconds(watch.waitedMs)}`,
      "`ct-edge list`: is there another worker that takes sessions? the log of the worker has the reason",
    );
  }
  if (watch.outcome !== "moved") return judgeUnmoved(watch);
  const { to, lost, said, disconnects, pauseMs } = watch;
  if (lost > 0) return broken(`${lost} of ${said} messages were lost`, SEE_LOG);
  if (disconnects > 0) {
    return broken(
      `the people had to reconnect (${disconnects} times), and nothing was lost`,
      "`ct-edge events` has the reason; links must be open (`ct-edge list`), and WebSockets pass",
    );
  }
  return held(
    `the session moved to ${nameOf(to)}: no disconnect, ${said} messages, longest pause ${Math.round(pauseMs)} ms`,
  );
}

export function judgeKill(watch: Watch, nameOf: Names): Verdict {
  if (watch.outcome === "stayed") {
    return unknown(
      `no other worker had the session after ${seconds(watch.waitedMs)}`,
      "kill the worker while verify waits; if it was killed, `ct-edge explain KEY`",
    );
  }
  if (watch.outcome !== "moved") return judgeUnmoved(watch);
  const { to, lost, said, disconnects, pauseMs } = watch;
  return held(
    `the session went on at ${nameOf(to)} after ${seconds(pauseMs)}, with ${disconnects} disconnects`,
    lost > 0 ? `${lost} of ${said} chat messages were lost` : undefined,
  );
}

function judgeUnmoved(watch: Extract<Watch, { outcome: "not watched" | "silent" }>): Verdict {
  return watch.outcome === "not watched"
    ? unknown(watch.why, watch.cure)
    : broken(`people did not hear each other afterwards (${watch.detail})`, SEE_LOG);
}
