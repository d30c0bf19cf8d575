/**
 * `ct-edge suspend`, `drain` and `resume`: what an operator asks a worker to do with its sessions.
 */

import type { Command } from "commander";
import { sleep, systemClock } from "../../shared/base/clock.ts";
import { sendCommand } from "../../shared/control/send.ts";
import { escapeForTerminal, escapeJson } from "../../shared/logs/escape.ts";
import type { WorkerRecord } from "../../shared/store/member.ts";
import type { Store } from "../../shared/store/store.ts";
import { CommandError } from "../output/command-error.ts";
import { createStoreCommand } from "./command.ts";

type Kind = "suspend" | "drain" | "resume";

const DESCRIPTIONS: Readonly<Record<Kind, string>> = {
  suspend: "Lets a worker keep its sessions and get no new ones.",
  drain: "Hands a worker's sessions over to others, and waits until it has none.",
  resume: "Lets a worker take new sessions again; stops a drain.",
};

/** What `--json` prints. */
interface CommandOutcome {
  readonly worker: string;
  readonly outcome: "done" | "refused" | "no answer";
  readonly message: string;
  /** Sessions that it still has, as its record says. */
  readonly sessions: number;
}

const WATCH_PERIOD_MS = 500;

export function workerCommand(kind: Kind): Command {
  return createStoreCommand({
    name: kind,
    description: DESCRIPTIONS[kind],
    argument: { name: "<worker>", description: "Its id, as `ct-edge list` shows it." },
    async ask({ store }, { json }, worker) {
      const record = await findWorker(store, worker);
      const answer = await sendCommand({ store, clock: systemClock }, record.id, { kind });
      const outcome = answer === "no answer" ? answer : answer.outcome;
      const message =
        answer === "no answer" ? "it did not answer; it may hang or be gone" : answer.message;
      if (outcome !== "done") {
        throw new CommandError(`${kind} ${record.id}: ${outcome}, ${escapeForTerminal(message)}`);
      }
      const sessions =
        kind === "drain" ? await waitUntilEmpty(store, record) : record.load.sessions;
      const result: CommandOutcome = { worker: record.id, outcome, message, sessions };
      if (json) return { out: `${escapeJson(result, 2)}\n` };
      const left = kind === "drain" ? `; ${sessions} sessions are left` : "";
      return { out: `${kind} ${record.id}: ${escapeForTerminal(message)}${left}\n` };
    },
  });
}

async function findWorker(store: Pick<Store, "members">, id: string): Promise<WorkerRecord> {
  const { members } = await store.members();
  const found = members.find((member) => member.id === id);
  if (found?.kind === "worker") return found;
  const known = members.filter(({ kind }) => kind === "worker").map((member) => member.id);
  throw new CommandError(
    `no worker is called ${escapeForTerminal(id)}; known are ${known.length === 0 ? "none" : known.join(", ")}`,
  );
}

/** Watches the worker's record until it has no session, drains no more, or is gone. How many it had at last. */
async function waitUntilEmpty(
  store: Pick<Store, "members">,
  worker: WorkerRecord,
): Promise<number> {
  for (;;) {
    await sleep(systemClock, WATCH_PERIOD_MS);
    const { members } = await store.members();
    const now = members.find(({ id }) => id === worker.id);
    if (now?.kind !== "worker" || now.incarnation !== worker.incarnation) return 0;
    if (now.load.sessions === 0 || now.state !== "draining") return now.load.sessions;
  }
}
