/**
 * `/prepare-downscale` on a worker's status port: empties the worker before it is removed, as grafana/rollout-operator asks
 * before it lets a StatefulSet shrink. POST drains the worker, DELETE takes that back, GET says how far it is. A worker that
 * was emptied and not removed accepts sessions again after a while: who asked may have disappeared.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { StatusPage, StatusResponse } from "../../shared/process/status-port.ts";
import type { CommandHandler } from "./command-handler.ts";

/** Longer than any drain and any termination grace period that is sensible. */
const TAKEN_BACK_AFTER_MS = 30 * 60_000;

export function downscalePage(deps: {
  readonly commandHandler: Pick<CommandHandler, "state" | "handleCommand">;
  /** Whether another worker accepts sessions. */
  readonly hasSuccessor: () => boolean;
  readonly sessions: () => number;
  /** Whether only programs of this machine may ask. */
  readonly isLocalOnly: boolean;
  readonly clock: Clock;
  readonly log: Log;
}): StatusPage {
  const { commandHandler, clock, log } = deps;
  /** Set while the worker drains because of a POST. */
  let takeBack: Timer | undefined;

  function current(): StatusResponse {
    const { state } = commandHandler;
    const sessions = deps.sessions();
    return { status: 200, body: { prepared: takeBack !== undefined, state, sessions } };
  }

  async function prepare(): Promise<StatusResponse> {
    // Also without sessions: somebody would have to take the next one.
    if (!deps.hasSuccessor()) {
      const error = "no other worker accepts sessions; keep this one, or start another one first";
      return { status: 409, body: { error } };
    }
    // An operator's drain is not taken back by a DELETE.
    const isByOperator = commandHandler.state === "draining" && takeBack === undefined;
    const { outcome, message } = await commandHandler.handleCommand({ kind: "drain" });
    if (outcome !== "done") return { status: 409, body: { error: message } };
    if (!isByOperator) {
      takeBack?.cancel();
      takeBack = clock.after(TAKEN_BACK_AFTER_MS, () => {
        log.warn(
          {},
          "this worker was emptied to be removed and is still there; it accepts sessions again",
        );
        void cancel();
      });
    }
    return current();
  }

  async function cancel(): Promise<StatusResponse> {
    if (takeBack !== undefined) {
      takeBack.cancel();
      takeBack = undefined;
      const { outcome, message } = await commandHandler.handleCommand({ kind: "resume" });
      if (outcome !== "done") return { status: 409, body: { error: message } };
    }
    return current();
  }

  return async ({ method, headers, isLocal }) => {
    if (deps.isLocalOnly && !isLocal) {
      const error = "only for this machine; CT_PREPARE_DOWNSCALE=on allows it to others";
      return { status: 403, body: { error } };
    }
    // Pages of browsers can reach a port of their own machine.
    if (headers.origin !== undefined || headers["sec-fetch-site"] !== undefined) {
      return { status: 403, body: { error: "not for browsers" } };
    }
    switch (method) {
      case "POST":
        return prepare();
      case "DELETE":
        return cancel();
      case "GET":
      case "HEAD":
        return current();
      default:
        return {
          status: 405,
          body: { error: "use POST, DELETE or GET" },
          headers: { allow: "GET, HEAD, POST, DELETE" },
        };
    }
  };
}
