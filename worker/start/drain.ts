/** Wires operators' commands to this worker, and the drain before it stops. */
import type { WorkerId } from "../../shared/base/ids.ts";
import type { StopRequest } from "../../shared/process/program.ts";
import { sendToEdge } from "../../shared/process/program.ts";
import { VERSION } from "../../shared/process/version.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import { createCommandHandler } from "../session-moves/command-handler.ts";
import { type DrainDeps, drainsFirst, startDrain } from "../session-moves/drain.ts";
import { sendPendingMessages, sendResume } from "../session-moves/handover.ts";
import { countIdle, migrateIdleSessions } from "../session-moves/move-idle.ts";
import type { Registry } from "../sessions/registry.ts";
import type { WorkerOptions } from "./options.ts";
import type { WorkerProcess } from "./process.ts";
import type { Membership } from "./store-and-membership.ts";

export type DrainParts = ReturnType<typeof prepareDrain>;

export function prepareDrain(
  worker: WorkerProcess,
  deps: {
    readonly membership: Pick<Membership, "view">;
    readonly registry: Registry;
    /** Writes this worker's record with the state that it has now. */
    readonly writeRecord: () => Promise<void>;
    /** Called when the drain before the stop begins: ends long polls, so that clients repeat them where their session is. */
    readonly shortenPolls: () => void;
  },
  options: Pick<WorkerOptions, "drain" | "isStoreEmbedded">,
) {
  const { self, keyring, clock, log, counters } = worker;
  const { registry } = deps;
  const { view } = deps.membership;
  /** Workers that stop too. */
  const ending = new Set<WorkerId>();
  const takesSessions = (other: WorkerRecord): boolean =>
    other.id !== self.id && other.state === "up" && !ending.has(other.id);
  /** Whether another worker accepts sessions and does not stop too. */
  const hasSuccessor = (): boolean => view.workers.some(takesSessions);
  const drainDeps: DrainDeps = {
    self: self.id,
    version: VERSION,
    ending,
    registry,
    view,
    clock,
    log,
    counters,
    sendPendingMessages: (to, sessionId, pendingMessages) =>
      sendPendingMessages(keyring.edgeKeyFor(to), to, sessionId, pendingMessages),
    sendResume: (to, sessionId) => sendResume(keyring.edgeKeyFor(to), to, sessionId),
    delayMs: options.drain.delayMs,
    timeoutMs: options.drain.timeoutMs,
    random: Math.random,
  };
  const commandHandler = createCommandHandler({
    registry,
    refresh: deps.writeRecord,
    hasSuccessor,
    startDrain: () => startDrain(drainDeps),
    migrateIdleSessions: (request, isWanted) => migrateIdleSessions(drainDeps, request, isWanted),
    countIdle: (idleMs) => countIdle(registry, idleMs),
    log,
  });
  return {
    commandHandler,
    hasSuccessor,
    beforeStop: {
      isWanted(request: StopRequest): boolean {
        for (const id of request.ending) ending.add(id);
        return drainsFirst(request, {
          isStoreEmbedded: options.isStoreEmbedded,
          hasSuccessor: hasSuccessor(),
        });
      },
      async run() {
        sendToEdge({ type: "draining", sessions: registry.load.sessions });
        deps.shortenPolls();
        sendToEdge({ type: "drained", left: await commandHandler.drain() });
      },
    },
  };
}
