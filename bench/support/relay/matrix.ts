/** Sessions of different sizes as scenarios: what a message costs at several rates, what a person takes, and where the limit is. */
import type { Figures, Rounds } from "../rounds.ts";
import { type Load, startLoad } from "./load.ts";
import type { Pair } from "./pairs.ts";
import { knee, relayed, type Scenario } from "./scenarios.ts";

interface SessionShape {
  readonly sessions: number;
  /** Of each session, its host included. */
  readonly people: number;
}

/** Edits that each person makes per second. */
const EDITS = [0.1, 0.5, 2, 8];
/** Delivered messages a second: fewer say only what a process costs at rest, and one core does not deliver more. */
const MIN_RATE = 100;
const MAX_RATE = 12_000;
const WARM_RATE = 6000;

/** `100x3` are 100 sessions of a host and two guests. */
export function parseShape(text: string): SessionShape {
  const [, sessions, people] = /^(\d+)x(\d+)$/.exec(text) ?? [];
  if (sessions === undefined || people === undefined || Number(people) < 2) {
    throw new Error(`"${text}" is not a number of sessions and of people, such as 100x3`);
  }
  return { sessions: Number(sessions), people: Number(people) };
}

function nameOf({ sessions, people }: SessionShape): string {
  return `${sessions} × ${people} people`;
}

/** Messages that all people receive per second when each makes so many edits. */
export function deliveredPerSecond({ sessions, people }: SessionShape, edits: number): number {
  return sessions * people * edits * (people - 1);
}

/** CPU and latency of a message at each rate that one core can deliver. */
export function matrixRow(shape: SessionShape): Scenario {
  const cells = EDITS.map((edits) => ({ edits, rate: deliveredPerSecond(shape, edits) })).filter(
    ({ rate }) => rate >= MIN_RATE && rate <= MAX_RATE,
  );
  return {
    name: nameOf(shape),
    sessions: { ...shape, frames: "broadcast" },
    async measure(pair, load, seconds) {
      const figures: Record<string, number> = {};
      for (const { edits, rate } of cells) {
        const cell = `${edits} edits/s, ${Math.round(rate).toLocaleString("en")} delivered/s`;
        const found = await relayed(pair, load, rate, seconds);
        for (const [unit, figure] of Object.entries(found)) {
          figures[`${cell}${SEPARATOR}${unit}`] = figure;
        }
      }
      return figures;
    },
    warmUp: (pair, load, seconds) => relayed(pair, load, WARM_RATE, seconds),
  };
}

/** Between the name of a cell and a unit, in the figures of a row. */
const SEPARATOR = ": ";

/** The rounds of each cell of a row, by the cell's name; of another scenario all of them, by an empty name. */
export function cellsOf(rounds: Rounds): Map<string, Rounds> {
  const cells = new Map<string, Map<string, Record<string, number>[]>>();
  for (const [program, all] of rounds) {
    for (const [round, figures] of all.entries()) {
      for (const [name, figure] of Object.entries(figures)) {
        const at = name.indexOf(SEPARATOR);
        const cell = cells.get(name.slice(0, Math.max(0, at))) ?? new Map();
        cells.set(name.slice(0, Math.max(0, at)), cell);
        const own: Record<string, number>[] = cell.get(program) ?? all.map(() => ({}));
        cell.set(program, own);
        Object.assign(own[round] ?? {}, { [at < 0 ? name : name.slice(at + 2)]: figure });
      }
    }
  }
  return cells;
}

/** The limit of the server alone on its core. */
export function kneeOf(shape: SessionShape, firstRate: number): Scenario {
  return {
    name: `${nameOf(shape)}, as many as are delivered`,
    sessions: { ...shape, frames: "broadcast" },
    isOnTwoCores: true,
    measure: (pair, load, seconds) => knee(pair, load, seconds, firstRate),
    warmUp: (pair, load, seconds) => relayed(pair, load, WARM_RATE, seconds),
  };
}

/** Opened before the first measurement, so that code and heaps are there. */
const FIRST: SessionShape = { sessions: 30, people: 3 };
const TALK_SECONDS = 10;

/** Private memory that each person of `shape` adds: after the joins, and after ten seconds of edits. */
export function memoryOf(shape: SessionShape, publicKey: string): Scenario {
  return {
    name: `memory, ${nameOf(shape)}`,
    isFresh: true,
    async measure(pair, load): Promise<Figures> {
      const more = startLoad();
      try {
        await open(FIRST, load);
        // V8 takes up to 32 MiB for young objects once there is traffic, however many people there are.
        await relayed(pair, load, WARM_RATE, TALK_SECONDS);
        const before = read(pair);
        await open(shape, more);
        const joined = read(pair);
        await relayed(pair, more, WARM_RATE, TALK_SECONDS);
        const talked = read(pair);
        return { ...perPerson("joined", joined, before), ...perPerson("edited", talked, before) };
      } finally {
        await more.close();
      }

      async function open(opened: SessionShape, by: Load): Promise<void> {
        await by.openSessions({ ...opened, frames: "broadcast", ports: pair.ports, publicKey });
      }
    },
  };

  function perPerson(when: string, after: Memory, before: Memory): Figures {
    const people = shape.sessions * shape.people;
    const kib = (bytes: number): number => bytes / 1024 / people;
    const proxy = kib(after.proxy - before.proxy);
    const server = kib(after.server - before.server);
    return {
      [`KiB per person who has ${when}, both`]: proxy + server,
      [`KiB per person who has ${when}, proxy`]: proxy,
      [`KiB per person who has ${when}, server`]: server,
    };
  }
}

interface Memory {
  readonly proxy: number;
  readonly server: number;
}

function read({ proxy, server }: Pair): Memory {
  return { proxy: proxy.privateBytes(), server: server.privateBytes() };
}
