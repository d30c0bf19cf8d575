/** `ct-edge autoscale`: keeps as many workers running as the load needs, on this machine or in a compose project. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { systemClock } from "../../../shared/base/clock.ts";
import { isWorkerId, randomAlphanumerics, type WorkerId } from "../../../shared/base/ids.ts";
import { keepingAlive } from "../../../shared/base/keep-alive.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import { askInContainer, composeFleet, machineFleet } from "../../autoscale/fleets.ts";
import { autoscale, type WorkerFleet } from "../../autoscale/run.ts";
import { MAX_WORKERS } from "../../control/control.ts";
import { CommandError } from "../../output/errors.ts";
import { isoTime } from "../../output/format.ts";
import { commandSettings, createCommand, storeOptions, wholeNumber } from "../command.ts";
import { withStore } from "../with-store.ts";

interface Flags {
  readonly min?: number;
  readonly max?: number;
  readonly every?: number;
  /** Folder of the project. */
  readonly compose?: string;
  /** The three of the run on the host, which cannot reach the store. */
  readonly as?: string;
  readonly ask?: true;
  readonly resign?: true;
}

/** A question in a container starts a process there. */
const PERIOD_S = { machine: 5, compose: 15 } as const;

export function autoscaleCommand(): Command {
  return createCommand<Flags>({
    name: "autoscale",
    description:
      "Starts and stops workers as the load needs; runs until it is ended. Workers that end hand their sessions over first.",
    options: [
      new Option("--min <number>", "Workers that always run (default 1).").argParser(count),
      new Option("--max <number>", `Workers that run at most, up to ${MAX_WORKERS}.`).argParser(
        count,
      ),
      new Option(
        "--every <seconds>",
        `Time between two polls (default ${PERIOD_S.machine}, with --compose ${PERIOD_S.compose}).`,
      ).argParser(wholeNumber(1, 3600)),
      new Option(
        "--compose <folder>",
        "Changes the workers of the compose project in this folder, with docker compose, instead of those of this machine's edge.",
      ),
      ...["--as <holder>", "--ask", "--resign"].map((flags) => new Option(flags).hideHelp()),
      ...storeOptions("statusBind", "autoscaleToken"),
    ],
    async run(flags) {
      const settings = commandSettings(flags);
      const { compose } = flags;
      const periodMs = (flags.every ?? PERIOD_S[compose ? "compose" : "machine"]) * 1000;
      const asker = { holder: holderOf(flags), periodMs };
      if (flags.ask || flags.resign) {
        return withStore(settings, async ({ store }) => {
          if (flags.resign) await store.lead("autoscale", asker.holder, 0);
          else return { out: `${JSON.stringify(await askInContainer(store, settings, asker))}\n` };
          return { out: "" };
        });
      }
      const bounds = boundsOf(flags);
      if (compose !== undefined && !existsSync(compose)) {
        throw new CommandError(`--compose ${compose}: no such folder`);
      }
      const fleet =
        compose === undefined
          ? machineFleet({ settings, ...asker, print })
          : composeFleet({ folder: compose, ...asker });
      await runUntilEnded(fleet, bounds, periodMs);
      return { out: "" };
    },
  });
}

/** Of this process only; the store takes it for the name of a member. */
function holderOf({ as }: Flags): WorkerId {
  const host = hostname().replace(/[^A-Za-z0-9._-]/g, "-");
  const holder = as ?? `${host}-${process.pid}-${randomAlphanumerics(4)}`.slice(-64);
  if (isWorkerId(holder)) return holder;
  throw new CommandError(`--as ${holder}: use 1 to 64 of A-Z a-z 0-9 . _ -`);
}

function count(text: string): number {
  if (text === "0")
    throw new InvalidArgumentError("It must be at least 1: sessions need a worker.");
  return wholeNumber(1, MAX_WORKERS)(text);
}

function boundsOf({ min = 1, max }: Flags): { min: number; max: number } {
  if (max === undefined) throw new CommandError("set --max: how many workers may run at most");
  if (min <= max) return { min, max };
  throw new CommandError(`--min ${min} is more than --max ${max}; make it at most ${max}`);
}

/** A change that has begun continues: in the edge, or in docker compose. */
async function runUntilEnded(
  fleet: WorkerFleet,
  bounds: { min: number; max: number },
  periodMs: number,
): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  let isEnded = false;
  const loop = autoscale({
    fleet,
    bounds,
    periodMs,
    clock: systemClock,
    print,
    isEnded: () => isEnded,
  });
  await keepingAlive(() => Promise.race([ended, loop]));
  isEnded = true;
  // Otherwise it expires by itself.
  await fleet.resign().catch(() => {});
}

function print(line: string): void {
  process.stdout.write(`${isoTime(Date.now())} ${escapeForTerminal(line, 500)}\n`);
}
