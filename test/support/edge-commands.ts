/**
 * Runs commands of `ct-edge` against a running edge.
 */
import { expect } from "vitest";
import type { EdgeState } from "../../edge/control/control.ts";
import type { ListedProcess } from "../../edge/process/process-list.ts";
import { type CommandResult, runCommand } from "./command.ts";
import type { EdgeProcess } from "./edge-process.ts";

export function askEdgeTo(edge: EdgeProcess, ...args: string[]): Promise<CommandResult> {
  return runCommand(args, { CT_DATA_DIR: edge.dataDir });
}

export async function stateOf(edge: EdgeProcess): Promise<EdgeState> {
  const { status, stdout, stderr } = await askEdgeTo(edge, "ps", "--json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as EdgeState;
}

/** The current state of one process. Throws if there is none with that name. */
export async function processOf(edge: EdgeProcess, id: string): Promise<ListedProcess> {
  const found = (await stateOf(edge)).processes.find((one) => one.id === id);
  if (found === undefined) throw new Error(`no process ${id}`);
  return found;
}

export async function pidsOf(edge: EdgeProcess): Promise<Record<string, number | null>> {
  return Object.fromEntries((await stateOf(edge)).processes.map(({ id, pid }) => [id, pid]));
}
