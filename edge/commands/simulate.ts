/**
 * `ct-edge simulate`: which sessions would move if workers were added, drained or lost, and how busy the others would be.
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import type { WorkerId } from "../../shared/base/ids.ts";
import { STORE_NOT_SETTLED } from "../../shared/cluster/format.ts";
import { escapeJson } from "../../shared/logs/escape.ts";
import { flagOf, readSettings, settingOptions } from "../../shared/settings/read-settings.ts";
import { SETTINGS } from "../../shared/settings/settings.ts";
import { CommandError } from "../output/command-error.ts";
import { formatKey } from "../output/format.ts";
import { simulationText } from "../simulate/format-simulation.ts";
import { runSimulation } from "../simulate/run-simulation.ts";
import type { Change, Simulation } from "../simulate/simulate.ts";
import type { Seen } from "../simulate/snapshot.ts";
import { type CommonFlags, createStoreCommand, fullOption, limitOption } from "./command.ts";

/** What `--json` prints: the change, what comes of it, and what an operator should know. Fields are added, never changed. */
export interface SimulateAnswer extends Simulation {
  readonly change: Change;
  readonly notes: readonly string[];
}

interface Flags extends CommonFlags {
  readonly add?: number;
  readonly remove?: string;
  readonly crash?: string;
  readonly limit: number;
}

const STANDARD_LIMIT = 50;
const MAX_LIMIT = 1_000_000;
const MAX_ADDED = 1000;
/** The pace of a drain depends on them; here they are assumed to be what the workers have. */
const DRAIN_SETTINGS = ["drainDelayMs", "drainTimeoutMs"] as const;

export function simulateCommand(): Command {
  return createStoreCommand<Flags>({
    name: "simulate",
    description:
      "Says which sessions would move, and where to, if workers were added, drained or lost.",
    options: [
      new Option("--add <number>", "So many more workers.").argParser(parseCount),
      new Option("--remove <worker>", "A worker is drained and ends."),
      new Option("--crash <worker>", "A worker ends at once and is not started again."),
      limitOption("Show this many sessions at most; JSON has all.", STANDARD_LIMIT, MAX_LIMIT),
      ...drainOptions(),
      fullOption(),
    ],
    async ask({ store }, flags) {
      const change = changeOf(flags);
      const { seen, simulation } = await runSimulation(store, change, drainSettings(flags));
      const isFull = flags.full === true;
      const notes = notesOn(change, seen, simulation);
      if (!flags.json) {
        return { out: simulationText(change, simulation, { limit: flags.limit, isFull, notes }) };
      }
      const moves = simulation.moves.map((move) => ({
        ...move,
        session: formatKey(move.session, isFull),
      }));
      const answer = { change, ...simulation, moves, notes };
      return { out: `${escapeJson(answer, 2)}\n` };
    },
  });
}

function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= MAX_ADDED) return count;
  throw new InvalidArgumentError(`It is a whole number from 1 to ${MAX_ADDED}.`);
}

function changeOf({ add, remove, crash }: Flags): Change {
  const changes: Change[] = [];
  if (add !== undefined) changes.push({ kind: "add", count: add });
  if (remove !== undefined) changes.push({ kind: "remove", worker: remove as WorkerId });
  if (crash !== undefined) changes.push({ kind: "crash", worker: crash as WorkerId });
  const [change] = changes;
  if (change === undefined || changes.length > 1) {
    throw new CommandError(
      "say one thing that is to happen: --add <number>, --remove <worker> or --crash <worker>",
    );
  }
  return change;
}

function notesOn(change: Change, { settled }: Seen, { moves }: Simulation): readonly string[] {
  const notes: string[] = [];
  if (change.kind === "crash" && moves.length > 0) {
    notes.push(
      "Of a worker that is started again at once, as an edge on one machine does, some sessions may find it back before another worker has them, and stay.",
    );
  }
  if (moves.some(({ to }) => to.length > 1)) {
    notes.push(
      "Where two workers are named, the key that the session was created with leads to another one than its id; whoever is asked first has it.",
    );
  }
  if (!settled) {
    notes.push(STORE_NOT_SETTLED);
  }
  return notes;
}

// --- the pace of a drain ---

function drainOptions(): Option[] {
  const flags = DRAIN_SETTINGS.map(flagOf);
  return settingOptions("worker").filter(({ long }) => flags.some((flag) => flag === long));
}

/** Throws `SettingError`. Of the environment only they are read: a command has no business with a worker's other settings. */
function drainSettings(flags: Flags): { delayMs: number; timeoutMs: number } {
  const names = DRAIN_SETTINGS.map((name) => SETTINGS[name].env);
  const env = Object.fromEntries(names.map((name) => [name, process.env[name]]));
  const settings = readSettings({ role: "worker", env, flags: { ...flags } });
  return { delayMs: settings.drainDelayMs, timeoutMs: settings.drainTimeoutMs };
}
