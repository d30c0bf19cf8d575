/**
 * `ct-edge rebalance --idle`: moves sessions in which nobody works from full workers to empty ones. Nothing does that by
 * itself: a session stays where it is when workers are added.
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { sleep, systemClock } from "../../shared/base/clock.ts";
import type { WorkerId } from "../../shared/base/ids.ts";
import { sendCommand } from "../../shared/control/send.ts";
import { escapeForTerminal, escapeJson } from "../../shared/logs/escape.ts";
import type { Store } from "../../shared/store/store.ts";
import { CommandError } from "../output/command-error.ts";
import { table } from "../output/table.ts";
import {
  GOOD_RATIO,
  type Loaded,
  type Move,
  planRebalance,
  ratioOf,
} from "../simulate/rebalance-plan.ts";
import { type CommonFlags, createStoreCommand } from "./command.ts";

interface RebalanceFlags extends CommonFlags {
  /** Seconds without work after which a session is idle. */
  readonly idle?: number | true;
}

const IDLE_S = 60;
const WATCH_PERIOD_MS = 500;
/** Without a change for so long, what was promised does not come: somebody works again. */
const PATIENCE_MS = 5000;

export function rebalanceCommand(): Command {
  return createStoreCommand<RebalanceFlags>({
    name: "rebalance",
    description:
      "Moves idle sessions from full workers to empty ones, and waits until they have moved.",
    options: [
      new Option(
        "--idle [seconds]",
        `Sessions in which nobody has worked for so long (default ${IDLE_S}); others never move.`,
      ).argParser(parseSeconds),
    ],
    async ask({ store }, { idle, json }) {
      if (idle === undefined) {
        throw new CommandError("say --idle: only sessions in which nobody works are moved");
      }
      const idleMs = (idle === true ? IDLE_S : idle) * 1000;
      const before = await loads(store);
      const moves = planRebalance(before);
      const notes: string[] = [];
      const promised = new Map<WorkerId, number>();
      for (const from of new Set(moves.map((move) => move.from))) {
        const answer = await sendCommand({ store, clock: systemClock }, from, {
          kind: "migrate-idle",
          moves: moves.filter((move) => move.from === from).map(toTarget),
          idleMs,
        });
        const message = answer === "no answer" ? "it did not answer" : answer.message;
        notes.push(`${from}: ${escapeForTerminal(message)}`);
        if (answer !== "no answer" && answer.outcome === "done") {
          promised.set(from, typeof answer.detail === "number" ? answer.detail : 0);
        }
      }
      const after = await watch(store, before, promised);
      const result = {
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
      if (json) return { out: `${escapeJson(result, 2)}\n` };
      const rows = result.workers.map((one) => [one.id, String(one.before), String(one.after)]);
      const columns = [
        { title: "WORKER" },
        { title: "BEFORE", align: "right" as const },
        { title: "AFTER", align: "right" as const },
      ];
      return {
        out:
          table(columns, rows) +
          `fullest by mean: ${result.ratioBefore} before, ${result.ratioAfter} after (good is ${GOOD_RATIO})\n` +
          notes.map((note) => `${note}\n`).join(""),
      };
    },
  });
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (/^\d+$/.test(text) && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError("It is a whole number of seconds, 86400 at most.");
}

function toTarget({ to, count }: Move): { worker: WorkerId; count: number } {
  return { worker: to, count };
}

/** The workers that take new sessions, as their records say. */
async function loads(store: Pick<Store, "members">): Promise<Loaded[]> {
  const { members } = await store.members();
  return members
    .flatMap((member) =>
      member.kind === "worker" && member.state === "up"
        ? [{ id: member.id, sessions: member.load.sessions }]
        : [],
    )
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Waits until each worker has given what it promised, or nothing changes any more. */
async function watch(
  store: Pick<Store, "members">,
  before: readonly Loaded[],
  promised: ReadonlyMap<WorkerId, number>,
): Promise<readonly Loaded[]> {
  let now = before;
  let changedMs = systemClock.nowMs();
  const isDone = (): boolean =>
    [...promised].every(([id, count]) => countOf(now, id) <= countOf(before, id) - count) &&
    totalOf(now) >= totalOf(before);
  while (!isDone() && systemClock.nowMs() - changedMs < PATIENCE_MS) {
    await sleep(systemClock, WATCH_PERIOD_MS);
    const next = await loads(store);
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
