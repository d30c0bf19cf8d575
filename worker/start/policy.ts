/** Opens the policy of CT_POLICY, and what applies it. */

import { EDGE } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import { createAccess } from "../policy/access.ts";
import { watchSessionLimits } from "../policy/session-limits.ts";
import type { Session } from "../sessions/session.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

export type PolicyParts = Awaited<ReturnType<typeof openPolicy>>;

/** Throws `SettingError`. */
export async function openPolicy(
  {
    clock,
    log,
    counters,
    shutdown,
  }: Pick<WorkerProcess, "clock" | "log" | "counters" | "shutdown">,
  { store }: Pick<Membership, "store">,
  activity: Pick<Activity, "record">,
  options: WorkerOptions["policy"],
) {
  const policy =
    options &&
    // With a parser of YAML: only where there is a policy.
    (await import("../../shared/policy/policy-file.ts")).openPolicyFile({
      ...options,
      clock,
      log,
      onChange({ digest, rules, when }) {
        if (when === "edit") counters.count("worker.policy.changes");
        const details = { digest, rules, when };
        activity.record({ kind: "policy.changed", actor: EDGE, details });
      },
      onProblem: (problem) =>
        activity.record({ kind: "policy.problem", actor: EDGE, details: { problem } }),
    });
  if (policy !== undefined) {
    shutdown.add("policy", () => policy.close());
    counters.gauge("worker.policy.problem", () => (policy.state.problem === undefined ? 0 : 1));
  }
  const access = createAccess({ policy, store, clock });
  return {
    access,
    /** Undefined: there is none. */
    file: policy,
    /** Undefined without a policy. */
    state: () => policy?.state,
    /** Begins to apply limits to `sessions`. Call it when they are recovered. */
    startDuties(sessions: () => Iterable<Session>): void {
      if (policy === undefined) return;
      const limits = watchSessionLimits({ access, sessions, clock, log });
      shutdown.add("limits of sessions", () => limits.close());
    },
  };
}
