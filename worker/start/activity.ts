/** Opens what records the events of this worker: the audit log and the outbox of webhooks. */
import { type Activity, createRecorder, type OutboxSink } from "../activity/recorder.ts";
import type { WorkerProcess } from "./process.ts";

export function openActivity(
  { self, clock }: Pick<WorkerProcess, "self" | "clock">,
  outbox: OutboxSink | undefined,
): Activity {
  return createRecorder({ workerId: self.id, clock, outbox });
}
