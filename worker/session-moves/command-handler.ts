/**
 * The worker's state (takes new sessions, suspended, draining), and what changes it: operators' commands, and the drain
 * before the process stops.
 */
import type { PeerId, SessionId } from "../../shared/base/ids.ts";
import type {
  CommandAnswer,
  EdgeCommand,
  MoveRequest,
  Sender,
} from "../../shared/control/command.ts";
import type { Log } from "../../shared/logs/log.ts";
import type { WorkerState } from "../../shared/store/member.ts";
import type { Registry } from "../sessions/registry.ts";
import type { Drain } from "./drain.ts";

export type CommandHandler = ReturnType<typeof createCommandHandler>;

export function createCommandHandler(deps: {
  readonly registry: Pick<Registry, "live" | "load">;
  /** Writes the record with the new state, so that balancers see it at once. */
  readonly refresh: () => Promise<void>;
  readonly startDrain: () => Drain;
  /** Moves idle sessions while `isWanted`; resolves with how many moved. */
  readonly migrateIdleSessions: (request: MoveRequest, isWanted: () => boolean) => Promise<number>;
  readonly countIdle: (idleMs: number) => number;
  readonly log: Log;
  readonly hasSuccessor: () => boolean;
}) {
  let state: WorkerState = "up";
  let drain: Drain | undefined;
  let isStopping = false;
  let isMovingIdle = false;
  let revision = 0;

  function startMovingIdle(request: MoveRequest): CommandAnswer {
    if (state !== "up") return refused(`the worker is ${state}`);
    if (isMovingIdle) return refused("the worker is already moving idle sessions");
    const wanted = request.moves.reduce((sum, { count }) => sum + count, 0);
    const idle = Math.min(wanted, deps.countIdle(request.idleMs));
    isMovingIdle = true;
    deps
      .migrateIdleSessions(request, () => state === "up")
      .then((moved) => deps.log.info({ moved, wanted }, "idle sessions moved"))
      .catch((error: unknown) => deps.log.error({ err: error }, "moving idle sessions failed"))
      .finally(() => {
        isMovingIdle = false;
      });
    return done(`${idle} of ${wanted} sessions are idle`, idle);
  }

  async function becomeDraining(): Promise<Drain> {
    if (drain !== undefined) return drain;
    state = "draining";
    revision++;
    const begun = deps.startDrain();
    drain = begun;
    void begun.over.then(() => {
      if (drain === begun) drain = undefined;
    });
    await deps.refresh();
    return begun;
  }

  /** Cancels a drain that an operator asked for. */
  async function cancelDrain(next: "up" | "suspended", message: string): Promise<CommandAnswer> {
    if (isStopping) return refused("the worker is stopping and hands its sessions over");
    drain?.stop();
    drain = undefined;
    state = next;
    revision++;
    await deps.refresh();
    return done(message);
  }

  async function drainOnCommand(): Promise<CommandAnswer> {
    if (drain !== undefined) {
      revision++;
      return done(`the worker is already draining; ${drain.left} sessions are left`);
    }
    const { sessions } = deps.registry.load;
    if (sessions > 0 && !deps.hasSuccessor()) {
      return refused(
        `no other worker accepts sessions, and this one has ${sessions}; start or resume another worker first`,
      );
    }
    await becomeDraining();
    return done(`handing ${sessions} sessions over to other workers`);
  }

  function lockSession(sessionId: SessionId, isLocked: boolean, by?: Sender): CommandAnswer {
    const session = deps.registry.live(sessionId);
    if (session === undefined) return refused("this worker does not have the session");
    session.lock(isLocked, by);
    return isLocked
      ? done("no new guests are let in; those who are in it stay")
      : done("the host decides about new guests again");
  }

  function removePeer(sessionId: SessionId, peerId: PeerId, by?: Sender): CommandAnswer {
    switch (deps.registry.live(sessionId)?.removePeer(peerId, by)) {
      case undefined:
        return refused("this worker does not have the session");
      case "unknown":
        return refused("this person has left the session already");
      case "host":
        return refused("a session ends without its host; end the session instead");
      case "removed":
        return done("the person is removed; the others are notified");
    }
  }

  return {
    /** As in the worker's record. */
    get state(): WorkerState {
      return state;
    },
    /** Changes with each command that sets the state, to the same one too; not with one that is refused. */
    get revision(): number {
      return revision;
    },
    /** Sessions that the drain under way has still to hand over; undefined when there is none. */
    get draining(): number | undefined {
      return drain?.left;
    },
    /**
     * For a process that stops: hands all sessions over, or joins a drain that is under way. No command cancels it any more.
     * Resolves when it is over, with the number of sessions that are left.
     */
    async drain(): Promise<number> {
      isStopping = true;
      const begun = await becomeDraining();
      await begun.over;
      return begun.left;
    },
    /** `by`: the operator who has sent it. */
    async handleCommand(command: EdgeCommand, by?: Sender): Promise<CommandAnswer> {
      switch (command.kind) {
        case "suspend":
          return cancelDrain("suspended", "the worker keeps its sessions and accepts no new ones");
        case "resume":
          return cancelDrain("up", "the worker accepts new sessions");
        case "drain":
          return drainOnCommand();
        case "migrate-idle":
          return startMovingIdle(command);
        case "explain":
        case "places":
          return refused("only balancers know where requests go; name a balancer");
        case "renew-certificate":
          return refused("only balancers have certificates; name a balancer");
        case "end-session": {
          const session = deps.registry.live(command.sessionId);
          if (session === undefined) return refused("this worker does not have the session");
          session.end("ended by the operator", by);
          return done("the session ends; its participants are notified");
        }
        case "lock-session":
          return lockSession(command.sessionId, command.isLocked, by);
        case "remove-peer":
          return removePeer(command.sessionId, command.peerId, by);
      }
    },
  };
}

function done(message: string, detail?: number): CommandAnswer {
  return { outcome: "done", message, ...(detail !== undefined && { detail }) };
}

function refused(message: string): CommandAnswer {
  return { outcome: "refused", message };
}
