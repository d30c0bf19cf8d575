/**
 * `ct-edge suspend`, `drain` and `resume`: change whether a worker takes new sessions and keeps those it has.
 */
import type { Command } from "commander";
import { sleep, systemClock } from "../../../shared/base/clock.ts";
import { unknownWorker } from "../../../shared/cluster/format.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import type { WorkerRecord } from "../../../shared/store/member.ts";
import type { Store } from "../../../shared/store/store.ts";
import { CommandError } from "../../output/errors.ts";
import { createStoreCommand } from "../command.ts";
import { sendAsOperator } from "../command-sender.ts";

type Kind = "suspend" | "drain" | "resume";

const DESCRIPTIONS: Readonly<Record<Kind, string>> = {
  suspend: "Stops new sessions on a worker; it keeps those it has.",
  drain: "Hands a worker's sessions over to other workers, and waits until it has none.",
  resume: "Allows new sessions on a worker again; stops a drain.",
};

const POLL_MS = 500;
const NO_ANSWER = {
  outcome: "no answer",
  message: "the worker hangs or has ended; see its log",
} as const;

export function workerCommand(kind: Kind): Command {
  return createStoreCommand({
    name: kind,
    description: DESCRIPTIONS[kind],
    args: { "<worker>": "Its id in `ct-edge list`." },
    async run({ store }, _flags, worker) {
      const record = await findWorker(store, worker);
      const answer = await sendAsOperator(store, record.id, { kind });
      const { outcome, message } = answer === "no answer" ? NO_ANSWER : answer;
      if (outcome !== "done") {
        throw new CommandError(`${kind} ${record.id}: ${outcome}, ${escapeForTerminal(message)}`);
      }
      const sessions =
        kind === "drain" ? await waitUntilEmpty(store, record) : record.load.sessions;
      const left = kind === "drain" ? `; sessions left: ${sessions}` : "";
      return {
        json: { worker: record.id, outcome, message, sessions },
        out: `${kind} ${record.id}: ${escapeForTerminal(message)}${left}\n`,
      };
    },
  });
}

async function findWorker(store: Pick<Store, "members">, id: string): Promise<WorkerRecord> {
  const { members } = await store.members();
  const found = members.find((member) => member.id === id);
  if (found?.kind === "worker") return found;
  const ids = members.filter(({ kind }) => kind === "worker").map((member) => member.id);
  throw new CommandError(unknownWorker(id, ids));
}

/** Polls the worker's record until it has no sessions, the drain has ended, or it is gone. Returns the sessions left. */
async function waitUntilEmpty(
  store: Pick<Store, "members">,
  worker: WorkerRecord,
): Promise<number> {
  for (;;) {
    await sleep(systemClock, POLL_MS);
    const { members } = await store.members();
    const now = members.find(({ id }) => id === worker.id);
    if (now?.kind !== "worker" || now.incarnation !== worker.incarnation) return 0;
    if (now.load.sessions === 0 || now.state !== "draining") return now.load.sessions;
  }
}
