/**
 * What this worker does when an operator asks it to, and the state that comes of it.
 */
import type { CommandAnswer, EdgeCommand } from "../shared/control/command.ts";
import type { WorkerState } from "../shared/membership/member.ts";
import type { Registry } from "./sessions/registry.ts";

export interface Standing {
  /** What the worker's record says. */
  readonly state: WorkerState;
  obey(command: EdgeCommand): Promise<CommandAnswer>;
}

export function createStanding(needs: {
  readonly registry: Pick<Registry, "live">;
  /** Writes the record with the new state, so that balancers see it at once. */
  readonly refresh: () => Promise<void>;
}): Standing {
  let state: WorkerState = "up";

  async function become(next: WorkerState, message: string): Promise<CommandAnswer> {
    state = next;
    await needs.refresh();
    return { outcome: "done", message };
  }

  return {
    get state() {
      return state;
    },
    async obey(command) {
      switch (command.kind) {
        case "suspend":
          return become("suspended", "it keeps its sessions and gets no new ones");
        case "resume":
          return become("up", "it takes new sessions");
        case "drain":
          return { outcome: "refused", message: "this version cannot hand sessions over yet" };
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
