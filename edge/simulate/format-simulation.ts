/**
 * The text of `ct-edge simulate`: the outcome of a change. Pure; untrusted texts are escaped.
 */
import { formatKey } from "../output/format.ts";
import { table } from "../output/table.ts";
import type { Change, Move, Outlook, Simulation } from "./simulate.ts";

export function simulationText(
  change: Change,
  simulation: Simulation,
  how: { readonly limit: number; readonly isFull: boolean; readonly notes: readonly string[] },
): string {
  const parts = [
    summary(change, simulation),
    movesTable(simulation.moves, how),
    workersTable(simulation),
    how.notes.map((note) => `! ${note}\n`).join(""),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

function summary(change: Change, { moves, stay, adrift, reconnects }: Simulation): string {
  const lines = [`${whatText(change)}: ${sessions(moves.length, "move")}, ${stay} stay.`];
  const { connections, perSecond, withinMs } = reconnects;
  if (connections > 0) {
    const seconds = (withinMs / 1000).toFixed(1);
    lines.push(
      `${connections} connections reconnect within about ${seconds} s, up to about ${perSecond} a second.`,
    );
  }
  if (adrift > 0) lines.push(`${adrift} sessions have no living worker now and are not counted.`);
  return lines.map((line) => `${line}\n`).join("");
}

function whatText(change: Change): string {
  switch (change.kind) {
    case "add":
      return change.count === 1 ? "1 worker is added" : `${change.count} workers are added`;
    case "remove":
      return `${change.worker} is drained and stopped`;
    case "crash":
      return `${change.worker} ends at once`;
  }
}

function sessions(count: number, verb: string): string {
  return count === 1 ? `1 session ${verb}s` : `${count} sessions ${verb}`;
}

function movesTable(moves: readonly Move[], how: { limit: number; isFull: boolean }): string {
  if (moves.length === 0) return "";
  const shown = moves.slice(0, how.limit);
  const rows = shown.map(({ session, from, to, by, peers, connections }) => [
    formatKey(session, how.isFull),
    from,
    to.length === 0 ? NOWHERE[by] : to.join(" or "),
    by,
    peers,
    connections,
  ]);
  const left = moves.length - shown.length;
  const shownMoves = table("SESSION | FROM | TO | BY | >PEERS | >CONNECTED", rows);
  return `${shownMoves}${left > 0 ? `and ${left} more; use --limit to show more\n` : ""}`;
}

const NOWHERE: Readonly<Record<Move["by"], string>> = {
  drain: "no worker",
  clients: "no worker",
  reaper: "the elected worker",
};

const WORKER_HEADING =
  "WORKER | >SESSIONS | >THEN | >CONNECTIONS | >THEN | >NEW KEYS | >THEN | >NEXT 100 | >THEN";

function workersTable({ workers, maxToMean }: Simulation): string {
  const rows = workers.map(({ id, sessions, connections, keys, next }: Outlook) => [
    id,
    ...[sessions, connections].flatMap(({ before, after }) => [before, after]),
    ...[keys.before, keys.after].map((share) =>
      share === null ? "" : `${Math.round(share * 100)} %`,
    ),
    next.before,
    next.after,
  ]);
  const { before, after } = maxToMean;
  const ratio =
    before === 0 && after === 0
      ? ""
      : `Most sessions of a worker to the mean: ${before.toFixed(2)}, then ${after.toFixed(2)}.\n`;
  return table(WORKER_HEADING, rows) + ratio;
}
