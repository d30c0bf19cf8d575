/** What workers record and count, in tests: kept, or dropped. */
import type { ActivityEvent } from "../../shared/activity/event.ts";
import { systemClock } from "../../shared/base/clock.ts";
import { type Activity, createRecorder } from "../../worker/activity/recorder.ts";
import type { UsageCounter } from "../../worker/sessions/session-usage.ts";

export interface RecordedActivity {
  readonly activity: Activity;
  readonly events: readonly ActivityEvent[];
  /** What `Activity.refusal` returns. */
  refusal: string | undefined;
  /** In short: its kind, who did it and to whom, and why. */
  lines(): string[];
}

/** `stored`: what the outbox of webhooks does. */
export function recordedActivity(stored: () => Promise<void> = async () => {}): RecordedActivity {
  const events: ActivityEvent[] = [];
  const recorded: RecordedActivity = {
    events,
    refusal: undefined,
    activity: createRecorder({
      workerId: "worker-1",
      clock: systemClock,
      audit: { write: (event) => void events.push(event), refusal: () => recorded.refusal },
      outbox: { write: () => {}, stored },
    }),
    lines: () => events.map(lineOf),
  };
  return recorded;
}

function lineOf({ kind, actor, target, details }: ActivityEvent): string {
  const parties = [actor, target].map(
    (party) => party && `${party.type} ${party.name ?? ""}`.trim(),
  );
  const { cause, role, action } = details ?? {};
  return [kind, ...parties, cause ?? role ?? action]
    .filter((part) => part !== undefined)
    .join(", ");
}

/** Where nothing is recorded. */
export const NO_ACTIVITY: Activity = {
  record() {},
  stored: async () => {},
  refusal: () => undefined,
};

/** Where nothing is counted. */
export const NO_USAGE: UsageCounter = {
  session: () => ({ joined() {}, closed: (outcome) => outcome }),
};
