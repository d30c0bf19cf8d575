/**
 * `ct-edge rebalance --idle`: moves idle sessions from full workers to empty ones. Without it a session stays where it is
 * when workers are added.
 */
import { type Command, Option } from "commander";
import { sleep, systemClock } from "../../../shared/base/clock.ts";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import type { Store } from "../../../shared/store/store.ts";
import { CommandError } from "../../output/errors.ts";
import { table } from "../../output/table.ts";
import {
  GOOD_RATIO,
  type Loaded,
  type Move,
  planRebalance,
  ratioOf,
} from "../../simulate/rebalance-plan.ts";
import { type CommonFlags, createStoreCommand, wholeNumber } from "../command.ts";
import { sendAsOperator } from "../command-sender.ts";

interface RebalanceFlags extends CommonFlags {
  /** Seconds without activity after which a session is idle. */
  readonly idle?: number | true;
}

const IDLE_S = 60;
const MAX_IDLE_S = 86_400;
const POLL_MS = 500;
/** With no change for this long, the remaining sessions do not move: they are no longer idle. */
const PATIENCE_MS = 5000;

export function rebalanceCommand(): Command {
  return createStoreCommand<RebalanceFlags>({
    name: "rebalance",
    description:
      "Moves idle sessions from full workers to empty ones, and waits until they have moved.",
    options: [
      new Option(
        "--idle [seconds]",
        `Move sessions without activity for this long (default ${IDLE_S}); others never move.`,
      ).argParser(wholeNumber(0, MAX_IDLE_S)),
    ],
    async run({ store }, { idle }) {
      if (idle === undefined) {
        throw new CommandError("set --idle: only idle sessions are moved");
      }
      const idleMs = (idle === true ? IDLE_S : idle) * 1000;
      const before = await readLoads(store);
      const { accepted, notes } = await requestMoves(store, planRebalance(before), idleMs);
      const after = await waitUntilMoved(store, before, accepted);
      const result: RebalanceResult = {
        idleSeconds: idleMs / 1000,
        ratioBefore: rounded(ratioOf(before)),
        ratioAfter: rounded(ratioOf(after)),
        workers: before.map(({ id, sessions }) => ({
          id,
          before: sessions,
          after: countOf(after, id),
        })),
        notes,
      };
      return { json: result, out: resultText(result) };
    },
  });
}

/** What `--json` prints. Fields are added, never changed. */
interface RebalanceResult {
  readonly idleSeconds: number;
  readonly ratioBefore: number;
  readonly ratioAfter: number;
  readonly workers: readonly { id: WorkerId; before: number; after: number }[];
  readonly notes: readonly string[];
}

/** Sends each full worker its moves. `accepted`: how many sessions each of them will move. */
async function requestMoves(
  store: Store,
  moves: readonly Move[],
  idleMs: number,
): Promise<{ accepted: ReadonlyMap<WorkerId, number>; notes: readonly string[] }> {
  const accepted = new Map<WorkerId, number>();
  const notes: string[] = [];
  for (const from of new Set(moves.map((move) => move.from))) {
    const answer = await sendAsOperator(store, from, {
      kind: "migrate-idle",
      moves: moves.flatMap((move) =>
        move.from === from ? [{ worker: move.to, count: move.count }] : [],
      ),
      idleMs,
    });
    const message = answer === "no answer" ? "it did not answer" : answer.message;
    notes.push(`${from}: ${escapeForTerminal(message)}`);
    if (answer !== "no answer" && answer.outcome === "done") {
      accepted.set(from, typeof answer.detail === "number" ? answer.detail : 0);
    }
  }
  return { accepted, notes };
}

/** The workers that take new sessions, from their records. */
async function readLoads(store: Pick<Store, "members">): Promise<Loaded[]> {
  const { members } = await store.members();
  return members
    .flatMap((member) =>
      member.kind === "worker" && member.state === "up"
        ? [{ id: member.id, sessions: member.load.sessions }]
        : [],
    )
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Waits until each worker has moved the sessions that it accepted to move, or nothing has changed for `PATIENCE_MS`. */
async function waitUntilMoved(
  store: Pick<Store, "members">,
  before: readonly Loaded[],
  accepted: ReadonlyMap<WorkerId, number>,
): Promise<readonly Loaded[]> {
  let now = before;
  let changedMs = systemClock.nowMs();
  const isDone = (): boolean =>
    [...accepted].every(([id, count]) => countOf(now, id) <= countOf(before, id) - count) &&
    totalOf(now) >= totalOf(before);
  while (!isDone() && systemClock.nowMs() - changedMs < PATIENCE_MS) {
    await sleep(systemClock, POLL_MS);
    const next = await readLoads(store);
    if (JSON.stringify(next) !== JSON.stringify(now)) changedMs = systemClock.nowMs();
    now = next;
  }
  return now;
}

function countOf(workers: readonly Loaded[], id: WorkerId): number {
  return workers.find((worker) => worker.id === id)?.sessions ?? 0;
}

function totalOf(workers: readonly Loaded[]): number {
  return workers.reduce((sum, { sessions }) => sum + sessions, 0);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

function resultText({ workers, ratioBefore, ratioAfter, notes }: RebalanceResult): string {
  const rows = workers.map(({ id, before, after }) => [id, before, after]);
  return (
    table("WORKER | >BEFORE | >AFTER", rows) +
    `fullest by mean: ${ratioBefore} before, ${ratioAfter} after (good is ${GOOD_RATIO})\n` +
    notes.map((note) => `${note}\n`).join("")
  );
}
