/** `ct-edge autoscale`: keeps as many workers running as the load needs, on this machine or in a compose project. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { systemClock } from "../../../shared/base/clock.ts";
import { randomAlphanumerics } from "../../../shared/base/ids.ts";
import { escapeForTerminal } from "../../../shared/logs/escape.ts";
import { askInContainer, composeFleet, machineFleet } from "../../autoscale/fleets.ts";
import { autoscale, type WorkerFleet } from "../../autoscale/run.ts";
import { MAX_WORKERS } from "../../control/control.ts";
import { CommandError } from "../../output/errors.ts";
import { isoTime } from "../../output/format.ts";
import { commandOptions, commandSettings, createCommand, wholeNumber } from "../command.ts";
import { withStore } from "../with-store.ts";

interface Flags {
  readonly min?: number;
  readonly max?: number;
  readonly every?: number;
  /** Folder of the project. */
  readonly compose?: string;
  /** For the run on the host, which cannot reach the store. */
  readonly ask?: string;
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
        `Time between two looks (default ${PERIOD_S.machine}, with --compose ${PERIOD_S.compose}).`,
      ).argParser(wholeNumber(1, 3600)),
      new Option(
        "--compose <folder>",
        "Changes the workers of the compose project in this folder, with docker compose, instead of those of this machine's edge.",
      ),
      new Option("--ask <holder>").hideHelp(),
      ...commandOptions("dataDir", "redisUrl", "redisCa", "redisPrefix", "autoscaleToken"),
    ],
    async run(flags) {
      const settings = commandSettings(flags);
      const { ask, compose } = flags;
      const periodMs = (flags.every ?? PERIOD_S[compose ? "compose" : "machine"]) * 1000;
      if (ask !== undefined) {
        const asked = await withStore(settings, ({ store }) =>
          askInContainer(store, settings, { holder: ask, periodMs }),
        );
        return { out: `${JSON.stringify(asked)}\n` };
      }
      const bounds = boundsOf(flags);
      const holder = `${hostname()}-${process.pid}-${randomAlphanumerics(4)}`.slice(-64);
      const keep = (fleet: WorkerFleet): Promise<void> => runUntilEnded(fleet, bounds, periodMs);
      if (compose !== undefined) {
        if (!existsSync(compose)) throw new CommandError(`--compose ${compose}: no such folder`);
        await keep(composeFleet({ folder: compose, holder, periodMs }));
      } else {
        await withStore(settings, ({ store }) =>
          keep(machineFleet({ store, settings, holder, periodMs, print })),
        );
      }
      return { out: "" };
    },
  });
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

/** A change that has begun continues in the edge. */
async function runUntilEnded(
  fleet: WorkerFleet,
  bounds: { min: number; max: number },
  periodMs: number,
): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  // The clock's timers are unref'ed: without this one the process would end between two looks.
  const keepAlive = setInterval(() => {}, periodMs);
  let isEnded = false;
  const loop = autoscale({
    fleet,
    bounds,
    periodMs,
    clock: systemClock,
    print,
    isEnded: () => isEnded,
  });
  try {
    await Promise.race([ended, loop]);
  } finally {
    isEnded = true;
    clearInterval(keepAlive);
  }
}

function print(line: string): void {
  process.stdout.write(`${isoTime(Date.now())} ${escapeForTerminal(line, 500)}\n`);
}
