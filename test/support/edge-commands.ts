/**
 * Runs commands of `ct-edge` against a running edge, and reads its state.
 */
import { expect } from "vitest";
import type { EdgeState } from "../../edge/control/control.ts";
import { askEdge } from "../../edge/control/control-client.ts";
import type { ListedProcess } from "../../edge/process/process-list.ts";
import { type CommandResult, runCommand } from "./command.ts";
import type { EdgeProcess } from "./edge-process.ts";

export function askEdgeTo(edge: EdgeProcess, ...args: string[]): Promise<CommandResult> {
  return runCommand(args, { CT_DATA_DIR: edge.dataDir });
}

/** What `ct-edge ps` prints for programs. */
export async function stateOf(edge: EdgeProcess): Promise<EdgeState> {
  const { status, stdout, stderr } = await askEdgeTo(edge, "ps", "--json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as EdgeState;
}

/**
 * The same without a command, which takes half a second of CPU: for conditions that are polled, and so as not to miss a state
 * that lasts no longer.
 */
export function readState({ dataDir }: EdgeProcess): Promise<EdgeState> {
  return askEdge(dataDir, { command: "ps" });
}

/** The current state of one process. Throws if there is none with that name. */
export async function processOf(edge: EdgeProcess, id: string): Promise<ListedProcess> {
  const found = (await readState(edge)).processes.find((one) => one.id === id);
  if (found === undefined) throw new Error(`no process ${id}`);
  return found;
}

export async function pidsOf(edge: EdgeProcess): Promise<Record<string, number | null>> {
  return Object.fromEntries((await stateOf(edge)).processes.map(({ id, pid }) => [id, pid]));
}

/** The worker that hosts a session. Throws when there is no such session. */
export async function ownerOf(edge: EdgeProcess, room: string): Promise<string> {
  const { stdout } = await askEdgeTo(edge, "sessions", "--json", "--full");
  const { sessions } = JSON.parse(stdout) as {
    readonly sessions: readonly { readonly id: string; readonly owner: string }[];
  };
  const found = sessions.find(({ id }) => id === room);
  if (found === undefined) throw new Error(`no session ${room}`);
  return found.owner;
}
