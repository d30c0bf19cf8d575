/** Connects to the store, and verifies and reads the members in it. */
import { createLogStream } from "../../shared/cluster/log-stream.ts";
import { createMemberVerification } from "../../shared/membership/member-verification.ts";
import { createMembershipView } from "../../shared/membership/view.ts";
import { connectStore } from "../../shared/process/connect-store.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";

export type Membership = ReturnType<typeof openMembership>;

/** Returns at once, connected or not. The view reads the members from its `start` on. */
export function openMembership(
  worker: WorkerProcess,
  options: Pick<WorkerOptions, "store" | "membership" | "isStoreEmbedded">,
) {
  const { self, keyring, clock, log, counters, shutdown } = worker;
  const store = connectStore({ settings: options.store, name: self.id, clock, log, counters });
  shutdown.add("store", () => store.close());
  // With an embedded store the edge collects the lines of all processes in one file.
  if (!options.isStoreEmbedded) {
    const stream = createLogStream({
      store,
      stream: "log-server",
      source: self.id,
      clock,
      counters,
    });
    worker.logSink.shareWith(stream);
    shutdown.add("log", () => stream.close());
  }
  const verification = createMemberVerification({
    networks: options.membership.workerNetworks,
    secretFingerprints: keyring.fingerprints,
    store,
    counters,
    log,
  });
  const view = createMembershipView({
    store,
    clock,
    log,
    ringKeyFor: keyring.ringKeyFor,
    admission: verification,
  });
  shutdown.add("membership", () => view.close());
  return { store, view, verification };
}
