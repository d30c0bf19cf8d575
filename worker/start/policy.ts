/** Opens the policy of CT_POLICY, and what applies it. */

import type { PolicyFile, PolicyState } from "../../shared/policy/policy-file.ts";
import { EDGE } from "../activity/parties.ts";
import type { Activity } from "../activity/recorder.ts";
import { type Access, createAccess } from "../policy/access.ts";
import { watchSessionLimits } from "../policy/session-limits.ts";
import type { Session } from "../sessions/session.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

export interface PolicyParts {
  readonly access: Access;
  /** Undefined: there is none. */
  readonly file: PolicyFile | undefined;
  /** Undefined without a policy. */
  state(): PolicyState | undefined;
  /** Begins to apply limits to `sessions`. Call it when they are recovered. */
  startDuties(sessions: () => Iterable<Session>): void;
}

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
): Promise<PolicyParts> {
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
    file: policy,
    state: () => policy?.state,
    startDuties(sessions) {
      if (policy === undefined) return;
      const limits = watchSessionLimits({ access, sessions, clock, log });
      shutdown.add("limits of sessions", () => limits.close());
    },
  };
}
