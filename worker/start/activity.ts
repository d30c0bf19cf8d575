/** Opens what records the events of this worker: the audit log and the outbox of webhooks. */
import { type Activity, createRecorder } from "../activity/recorder.ts";
import type { WorkerProcess } from "./process.ts";

export function openActivity({ self, clock }: Pick<WorkerProcess, "self" | "clock">): Activity {
  return createRecorder({ workerId: self.id, clock });
}
