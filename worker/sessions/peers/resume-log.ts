/**
 * Records in a session's history how many WebSockets stayed open when the session moved here, and what their clients noticed.
 */

import type { Clock } from "../../../shared/base/clock.ts";
import { counted } from "../../../shared/base/counted.ts";
import type { ResumeState } from "../../../shared/net/edge-headers.ts";

export type ResumeLog = ReturnType<typeof createResumeLog>;

/** Those of one move come within this time. */
const WINDOW_MS = 1000;

export function createResumeLog(deps: {
  readonly clock: Pick<Clock, "after">;
  readonly note: (cause: string) => void;
}) {
  let isNoteDue = false;
  let resumed: ResumeState[] = [];

  function note(): void {
    isNoteDue = false;
    const all = resumed;
    resumed = [];
    const repeated = all.reduce((sum, one) => sum + one.repeated, 0);
    const gapMs = Math.max(...all.map(({ forMs }) => forMs));
    const why = all.some(({ cause }) => cause === "crash") ? "after a crash" : "in a move";
    const again = repeated === 0 ? "" : `, ${counted(repeated, "message")} sent again`;
    deps.note(`${counted(all.length, "connection")} kept open ${why}, gap ${gapMs} ms${again}`);
  }

  return {
    /** A WebSocket goes on here. */
    add(one: ResumeState): void {
      resumed.push(one);
      if (!isNoteDue) deps.clock.after(WINDOW_MS, note);
      isNoteDue = true;
    },
  };
}
