/**
 * `ct-edge simulate`: which sessions would move if workers were added, drained or lost, and the load of the others then.
 */
import { type Command, Option } from "commander";
import type { WorkerId } from "../../../shared/base/ids.ts";
import { STORE_NOT_SETTLED } from "../../../shared/cluster/format.ts";
import { flagOf, readSettings, settingOptions } from "../../../shared/settings/read-settings.ts";
import { SETTINGS } from "../../../shared/settings/settings.ts";
import { CommandError } from "../../output/errors.ts";
import { formatKey } from "../../output/format.ts";
import { simulationText } from "../../simulate/format-simulation.ts";
import { runSimulation } from "../../simulate/run-simulation.ts";
import type { Change, Simulation } from "../../simulate/simulate.ts";
import type { Seen } from "../../simulate/snapshot.ts";
import {
  type CommonFlags,
  createStoreCommand,
  fullOption,
  limitOption,
  wholeNumber,
} from "../command.ts";

/** What `--json` prints: the change, its outcome and notes for the operator. Fields are added, never changed. */
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
/** The pace of a drain depends on these settings; they are assumed to be those of the workers. */
const DRAIN_SETTINGS = ["drainDelayMs", "drainTimeoutMs"] as const;

export function simulateCommand(): Command {
  return createStoreCommand<Flags>({
    name: "simulate",
    description:
      "Shows which sessions would move, and where to, if workers were added, drained or lost.",
    options: [
      new Option("--add <number>", "Add this many workers.").argParser(wholeNumber(1, MAX_ADDED)),
      new Option("--remove <worker>", "Drain this worker and stop it."),
      new Option("--crash <worker>", "This worker ends at once and is not started again."),
      limitOption("Show at most this many sessions; JSON has all.", STANDARD_LIMIT, MAX_LIMIT),
      ...drainOptions(),
      fullOption(),
    ],
    async run({ store }, flags) {
      const change = changeOf(flags);
      const { seen, simulation } = await runSimulation(store, change, drainSettings(flags));
      const isFull = flags.full === true;
      const notes = notesOn(change, seen, simulation);
      const moves = simulation.moves.map((move) => ({
        ...move,
        session: formatKey(move.session, isFull),
      }));
      return {
        json: { change, ...simulation, moves, notes },
        out: () => simulationText(change, simulation, { limit: flags.limit, isFull, notes }),
      };
    },
  });
}

function changeOf({ add, remove, crash }: Flags): Change {
  const changes: Change[] = [];
  if (add !== undefined) changes.push({ kind: "add", count: add });
  if (remove !== undefined) changes.push({ kind: "remove", worker: remove as WorkerId });
  if (crash !== undefined) changes.push({ kind: "crash", worker: crash as WorkerId });
  const [change] = changes;
  if (change === undefined || changes.length > 1) {
    throw new CommandError(
      "give exactly one change: --add <number>, --remove <worker> or --crash <worker>",
    );
  }
  return change;
}

function notesOn(change: Change, { settled }: Seen, { moves }: Simulation): readonly string[] {
  const notes: string[] = [];
  if (change.kind === "crash" && moves.length > 0) {
    notes.push(
      "If the worker is restarted at once, as on an edge of one machine, some sessions may return to it before another worker has them.",
    );
  }
  if (moves.some(({ to }) => to.length > 1)) {
    notes.push(
      "Where two workers are named, the key that the session was created with leads to another worker than its id; the worker that is asked first gets the session.",
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

/** Throws `SettingError`. Other worker settings in the environment are not read: a command must not fail because of them. */
function drainSettings(flags: Flags): { delayMs: number; timeoutMs: number } {
  const names = DRAIN_SETTINGS.map((name) => SETTINGS[name].env);
  const env = Object.fromEntries(names.map((name) => [name, process.env[name]]));
  const settings = readSettings({ role: "worker", env, flags: { ...flags } });
  return { delayMs: settings.drainDelayMs, timeoutMs: settings.drainTimeoutMs };
}
