/**
 * `/prepare-downscale` on a worker's status port: empties the worker before it is removed, as grafana/rollout-operator asks
 * before it lets a StatefulSet shrink. POST drains the worker, DELETE takes that back, GET says how far it is. A worker that
 * was emptied and not removed accepts sessions again after a while: the one who asked may have disappeared. An operator's
 * command in between counts more: what it set stays.
 */
import type { Clock, Timer } from "../../shared/base/clock.ts";
import { describeError } from "../../shared/base/errors.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { StatusPage, StatusResponse } from "../../shared/process/status-port.ts";
import type { WorkerState } from "../../shared/store/member.ts";
import type { CommandHandler } from "./command-handler.ts";

/** Longer than any drain and any termination grace period that is sensible. */
const TAKEN_BACK_AFTER_MS = 30 * 60_000;

const NO_OTHER = "no other worker accepts sessions; keep this one, or start another one first";

/** A drain that this page has started. */
interface Prepared {
  readonly before: Exclude<WorkerState, "draining">;
  /** Of the command handler, after the drain's start. */
  readonly revision: number;
  readonly timer: Timer;
}

export function downscalePage(deps: {
  readonly commandHandler: Pick<
    CommandHandler,
    "state" | "draining" | "revision" | "handleCommand"
  >;
  /** Whether this process knows another worker that accepts sessions. */
  readonly hasSuccessor: () => boolean;
  /** The same by the store, which knows what others have just announced. Rejects while it is away. */
  readonly staysAnother: () => Promise<boolean>;
  readonly sessions: () => number;
  /** Whether only programs of this machine may ask. */
  readonly isLocalOnly: boolean;
  readonly clock: Clock;
  readonly log: Log;
}): StatusPage {
  const { commandHandler, clock, log } = deps;
  let prepared: Prepared | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** One change after the other: a DELETE waits for the POST before it. */
  function inTurn<T>(change: () => Promise<T>): Promise<T> {
    const mine = turn.then(change);
    turn = mine.catch(() => {});
    return mine;
  }

  /** What an operator has changed since is not ours any more. */
  function ours(): Prepared | undefined {
    return prepared?.revision === commandHandler.revision ? prepared : undefined;
  }

  function current(): StatusResponse {
    const { state, draining } = commandHandler;
    const body = {
      prepared: ours() !== undefined,
      state,
      sessions: deps.sessions(),
      isMoving: draining !== undefined,
    };
    return { status: 200, body };
  }

  async function prepare(): Promise<StatusResponse> {
    const { state } = commandHandler;
    // An operator's drain stays the operator's.
    if (state === "draining" && ours() === undefined) return current();
    // Also without sessions: the next one would have no worker.
    if (!deps.hasSuccessor()) return { status: 409, body: { error: NO_OTHER } };
    const before = ours()?.before ?? (state === "suspended" ? "suspended" : "up");
    const { outcome, message } = await commandHandler.handleCommand({ kind: "drain" });
    if (outcome !== "done") return { status: 409, body: { error: message } };
    prepared?.timer.cancel();
    const timer = clock.after(TAKEN_BACK_AFTER_MS, () => void inTurn(takeBackUnremoved));
    prepared = { before, revision: commandHandler.revision, timer };
    // All of them may have been asked at once. Their records are written now, so each sees the others.
    const refusal = await deps.staysAnother().then(
      (stays) => (stays ? undefined : NO_OTHER),
      (error: unknown) => describeError(error),
    );
    if (refusal === undefined) return current();
    await takeBack();
    return { status: 409, body: { error: refusal } };
  }

  /** What the worker refuses, if it does. */
  async function takeBack(): Promise<string | undefined> {
    const taken = ours();
    prepared?.timer.cancel();
    prepared = undefined;
    if (taken === undefined) return undefined;
    const kind = taken.before === "suspended" ? "suspend" : "resume";
    const { outcome, message } = await commandHandler.handleCommand({ kind });
    return outcome === "done" ? undefined : message;
  }

  async function takeBackUnremoved(): Promise<void> {
    if (ours() === undefined) return;
    const refusal = await takeBack();
    if (refusal !== undefined) return;
    log.warn(
      {},
      "this worker was emptied to be removed and is still there; it accepts sessions again",
    );
  }

  async function cancel(): Promise<StatusResponse> {
    const refusal = await takeBack();
    return refusal === undefined ? current() : { status: 409, body: { error: refusal } };
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
        return inTurn(prepare);
      case "DELETE":
        return inTurn(cancel);
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
