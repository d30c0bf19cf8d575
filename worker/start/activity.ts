/** Opens what records the events of this worker: the audit log and the outbox of webhooks. */
import { auditKeys } from "../../shared/audit/line.ts";
import { createRecorder, type OutboxSink } from "../activity/recorder.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

export type ActivityParts = Awaited<ReturnType<typeof openActivity>>;

export async function openActivity(
  worker: WorkerProcess,
  { store }: Pick<Membership, "store">,
  options: Pick<WorkerOptions, "audit">,
  outbox: OutboxSink | undefined,
) {
  const { self, clock } = worker;
  const audit = await openAudit(worker, store, options.audit);
  return {
    activity: createRecorder({ workerId: self.id, clock, audit, outbox }),
    /** Undefined without an audit log. */
    auditState: () => audit?.state,
  };
}

/** Loaded only where there is one. */
async function openAudit(
  { self, keyring, clock, log, counters, shutdown }: WorkerProcess,
  store: Membership["store"],
  options: WorkerOptions["audit"],
) {
  if (options === undefined) return undefined;
  const { openAudit: open } = await import("../audit/audit.ts");
  const keys = auditKeys(keyring.audit);
  const audit = open({ options, worker: self.id, keys, store, clock, log, counters });
  shutdown.add("audit log", () => audit.close());
  return audit;
}
