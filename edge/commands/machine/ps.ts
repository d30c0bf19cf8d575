/**
 * `ct-edge ps`: the processes of the edge on this machine, in the table format that operators' scripts already parse.
 */
import type { Command } from "commander";
import type { EdgeState } from "../../control/control.ts";
import { askEdge } from "../../control/control-client.ts";
import type { ListedProcess } from "../../process/process-list.ts";
import { createEdgeCommand, jsonOption } from "../command.ts";

export function psCommand(): Command {
  return createEdgeCommand({
    name: "ps",
    description: "Lists the processes of the edge on this machine.",
    options: [jsonOption()],
    async run(dataDir) {
      const state = await askEdge(dataDir, { command: "ps" });
      return { json: state, out: showProcesses(state) };
    },
  });
}

const TITLES = ["", "uid", "command", "script", "forever", "pid", "id", "logfile", "uptime"];

/**
 * The table, and a line for each process that keeps failing. The uptime of a process that does not run is `STOPPED`. Pure.
 */
export function showProcesses({ processes }: Pick<EdgeState, "processes">): string {
  if (processes.length === 0) return "info:    No forever processes running\n";
  const rows = [TITLES, ...processes.map(cellsOf)];
  const widths = TITLES.map((_, column) =>
    Math.max(...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  const lines = rows.map((cells) => {
    const padded = cells.map((cell, column) => cell.padEnd(widths[column] ?? 0));
    return `data:    ${padded.join(" ").trimEnd()}`;
  });
  const warnings = processes.filter(({ state }) => state === "failing").map(warnOf);
  return ["info:    Forever processes running", ...lines, ...warnings, ""].join("\n");
}

function warnOf({ id, lastEnd, restarts }: ListedProcess): string {
  const how = lastEnd === null ? "" : `, last exit: ${lastEnd}`;
  return `warn:    ${id} keeps failing: restarted ${restarts} times${how}`;
}

function cellsOf(one: ListedProcess, index: number): string[] {
  return [
    `[${index}]`,
    one.uid,
    one.command,
    one.script,
    String(one.supervisorPid),
    one.pid === null ? "-" : String(one.pid),
    one.id,
    one.logFile,
    one.uptimeMs === null ? "STOPPED" : uptime(one.uptimeMs),
  ];
}

/** `93784005` ms is `1:2:3:4.5`: days, hours, minutes, seconds and milliseconds, the format of `forever`. */
export function uptime(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  return `${days}:${hours}:${Math.floor(seconds / 60) % 60}:${seconds % 60}.${ms % 1000}`;
}
