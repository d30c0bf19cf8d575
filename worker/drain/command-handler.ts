/**
 * What this worker does with new sessions and with those it has, as operators ask it, and as it does itself at its end.
 */
import type { CommandAnswer, EdgeCommand, MoveRequest } from "../../shared/control/command.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { WorkerState } from "../../shared/store/member.ts";
import type { Registry } from "../sessions/registry.ts";
import type { Drain } from "./drain.ts";

export interface CommandHandler {
  /** What the worker's record says. */
  readonly state: WorkerState;
  /** Sessions that a drain under way has still to hand over; undefined when there is none. */
  readonly draining: number | undefined;
  handleCommand(command: EdgeCommand): Promise<CommandAnswer>;
  /**
   * The process ends: hands all sessions over, or joins a drain that is under way, and no command undoes that any more.
   * Resolves when it is over, with how many sessions are left.
   */
  drain(): Promise<number>;
}

export function createCommandHandler(needs: {
  readonly registry: Pick<Registry, "live" | "load">;
  /** Writes the record with the new state, so that balancers see it at once. */
  readonly refresh: () => Promise<void>;
  /** Begins to hand sessions over. */
  readonly startDrain: () => Drain;
  /** Gives calm sessions away while `isWanted`; resolves with how many. */
  readonly migrateIdleSessions: (what: MoveRequest, isWanted: () => boolean) => Promise<number>;
  /** How many sessions are calm for so long. */
  readonly countIdle: (idleMs: number) => number;
  readonly log: Log;
  /** Whether another worker takes sessions now. */
  readonly hasSuccessor: () => boolean;
}): CommandHandler {
  let state: WorkerState = "up";
  let drain: Drain | undefined;
  let isEnding = false;
  let isGiving = false;

  function give(gift: MoveRequest): CommandAnswer {
    if (state !== "up") return { outcome: "refused", message: `it is ${state}` };
    if (isGiving) return { outcome: "refused", message: "it gives sessions away already" };
    const wanted = gift.moves.reduce((sum, { count }) => sum + count, 0);
    const idle = Math.min(wanted, needs.countIdle(gift.idleMs));
    isGiving = true;
    needs
      .migrateIdleSessions(gift, () => state === "up")
      .then((given) => needs.log.info({ given, wanted }, "sessions were given away"))
      .catch((error: unknown) => needs.log.error({ err: error }, "giving sessions away failed"))
      .finally(() => {
        isGiving = false;
      });
    return { outcome: "done", message: `${idle} of ${wanted} sessions are calm`, detail: idle };
  }

  async function become(next: WorkerState, message: string): Promise<CommandAnswer> {
    state = next;
    await needs.refresh();
    return { outcome: "done", message };
  }

  async function beginDrain(): Promise<Drain> {
    if (drain !== undefined) return drain;
    state = "draining";
    const begun = needs.startDrain();
    drain = begun;
    void begun.over.then(() => {
      if (drain === begun) drain = undefined;
    });
    await needs.refresh();
    return begun;
  }

  function stopDrain(): void {
    drain?.stop();
    drain = undefined;
  }

  /** Stops a drain that was asked for. */
  async function leaveDrain(next: WorkerState, message: string): Promise<CommandAnswer> {
    if (isEnding) return { outcome: "refused", message: "it ends, and hands its sessions over" };
    stopDrain();
    return become(next, message);
  }

  async function drainAsAsked(): Promise<CommandAnswer> {
    if (drain !== undefined) {
      return { outcome: "done", message: `it drains already; ${drain.left} sessions are left` };
    }
    const { sessions } = needs.registry.load;
    if (sessions > 0 && !needs.hasSuccessor()) {
      return {
        outcome: "refused",
        message: `no other worker takes sessions, and ${sessions} are here; start one or resume one first`,
      };
    }
    await beginDrain();
    return { outcome: "done", message: `${sessions} sessions go to other workers` };
  }

  return {
    get state() {
      return state;
    },
    get draining() {
      return drain?.left;
    },
    async drain() {
      isEnding = true;
      const begun = await beginDrain();
      await begun.over;
      return begun.left;
    },
    async handleCommand(command) {
      switch (command.kind) {
        case "suspend":
          return leaveDrain("suspended", "it keeps its sessions and gets no new ones");
        case "resume":
          return leaveDrain("up", "it takes new sessions");
        case "drain":
          return drainAsAsked();
        case "migrate-idle":
          return give(command);
        case "explain":
        case "places":
          return { outcome: "refused", message: "balancers say where requests go" };
        case "end-session": {
          const session = needs.registry.live(command.sessionId);
          if (session === undefined) {
            return { outcome: "refused", message: "this worker does not have the session" };
          }
          session.end();
          return { outcome: "done", message: "its people are told" };
        }
      }
    },
  };
}
