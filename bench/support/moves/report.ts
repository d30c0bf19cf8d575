/** The figures of the rounds of `moves`: a table with the sums over all rounds, and results with the spread of the rounds. */
import { quantile } from "../../../test/support/churn.ts";
import type { Figures } from "../../../test/support/counted/sessions.ts";
import type { Result } from "../results.ts";
import { summarize } from "../statistics.ts";
import type { Part } from "./parts.ts";
import type { Phase } from "./phase.ts";

export interface Round {
  readonly moved: Phase;
  readonly control: Phase;
}

interface Row {
  readonly question: string;
  readonly unit: string;
  /** Of one phase, or of several together. */
  readonly of: (phases: readonly Phase[]) => number;
}

const ROWS: readonly Row[] = [
  row("messages that should arrive", "messages", sumOf("expected")),
  row("disconnect events", "events", sumOf("disconnects")),
  row("people without a disconnect event", "%", undisturbedShare),
  row("messages lost", "messages", sumOf("lost")),
  row("messages doubled", "messages", sumOf("doubled")),
  row("messages reordered", "messages", sumOf("reordered")),
  row("messages damaged", "messages", sumOf("damaged")),
  row("announcements of the server", "messages", sumOf("announcements")),
  row("gap, p50", "ms", gap(0.5)),
  row("gap, p99", "ms", gap(0.99)),
  row("gap, longest", "ms", gap(1)),
  row("gap of those who stay, p99", "ms", gap(0.99, "otherGapsMs")),
];

function row(question: string, unit: string, of: Row["of"]): Row {
  return { question, unit, of };
}

function sumOf(name: keyof Figures): Row["of"] {
  return (phases) => phases.reduce((sum, { figures }) => sum + figures[name], 0);
}

function undisturbedShare(phases: readonly Phase[]): number {
  return (100 * sumOf("undisturbed")(phases)) / sumOf("onWebSocket")(phases);
}

function gap(share: number, of: "gapsMs" | "otherGapsMs" = "gapsMs"): Row["of"] {
  return (phases) =>
    quantile(
      phases.flatMap((phase) => phase[of]),
      share,
    );
}

/** In some parts, nobody stays. */
function rowsOf(rounds: readonly Round[]): Row[] {
  const moved = rounds.map((round) => round.moved);
  return ROWS.filter(({ of }) => !Number.isNaN(of(moved)));
}

export function printRounds(part: Part, rounds: readonly Round[]): void {
  const moved = rounds.map((round) => round.moved);
  const control = rounds.map((round) => round.control);
  const moves = moved.flatMap((phase) => phase.moves.flatMap(({ sessionIds }) => sessionIds));
  process.stdout.write(
    `\n${part.name}: ${rounds.length} rounds, ${part.workers} workers, ${part.sessions} sessions, ${moves.length} moves\n`,
  );
  process.stdout.write(`  ${"".padEnd(36)}${"moved".padStart(10)}${"control".padStart(10)}\n`);
  for (const { question, unit, of } of rowsOf(rounds)) {
    const label = unit === "messages" || unit === "events" ? question : `${question} (${unit})`;
    const digits = Number.isInteger(of(moved)) && unit !== "ms" ? 0 : 1;
    const columns = [moved, control].map((phases) => of(phases).toFixed(digits).padStart(10));
    process.stdout.write(`  ${label.padEnd(36)}${columns.join("")}\n`);
  }
}

export function resultsOf({ name }: Part, rounds: readonly Round[]): Result[] {
  return rowsOf(rounds).map(({ question, unit, of }) => ({
    question: `${name}, ${question}`,
    unit,
    figures: {
      moved: summarize(rounds.map(({ moved }) => of([moved]))),
      control: summarize(rounds.map(({ control }) => of([control]))),
    },
  }));
}
