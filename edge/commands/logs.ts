/**
 * `ct-edge logs`: the last lines of server.log, of all processes or of one, and those that follow.
 */
import { join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Command, Option } from "commander";
import { describeError, EdgeError } from "../../shared/base/errors.ts";
import {
  type LogPiece,
  type LogPosition,
  readLogEnd,
  readLogFrom,
} from "../../shared/logs/log-tail.ts";
import { askEdge } from "../control/control-client.ts";
import { limitOption, print } from "./command.ts";
import { createEdgeCommand, type EdgeFlags } from "./edge-command.ts";

/** The log cannot be read. */
export class LogUnreadableError extends EdgeError {
  readonly code = "EDGE_LOG_UNREADABLE";
  readonly source = "internal";
  readonly retryable = false;
}

/** What is read at a time: of the end, to find the last lines, and of what came since. */
const TAIL_BYTES = 4 * 1024 * 1024;
const FOLLOW_MS = 250;

export function logsCommand(): Command {
  return createEdgeCommand<EdgeFlags & { limit: number; follow?: true }>({
    name: "logs",
    description: "Shows the end of server.log.",
    argument: ["[process]", "only its lines: root, balancer, worker-1"],
    options: [
      limitOption("How many lines.", 100, 100_000),
      new Option("--follow", "Go on with what is written, until Ctrl-C."),
    ],
    async ask({ dataDir }, { limit, follow }, name) {
      const path = await findLog(dataDir);
      const { lines, next } = await readEnd(path);
      const wanted = lines.filter((line) => isOf(line, name)).slice(-limit);
      const text = wanted.map((line) => `${line}\n`).join("");
      if (!follow) return text;
      await print(text);
      return followFrom(path, next, name);
    },
  });
}

/** Where the edge that runs writes it, or one that is told nothing else does. */
async function findLog(dataDir: string): Promise<string> {
  try {
    return (await askEdge(dataDir, { command: "ps" })).logFile;
  } catch (error) {
    if (!(error instanceof EdgeError)) throw error;
    return join(resolve(dataDir), "logs", "server.log");
  }
}

async function readEnd(path: string): Promise<LogPiece> {
  const piece = await reading(path, () => readLogEnd(path, TAIL_BYTES));
  if (piece !== undefined) return piece;
  throw new LogUnreadableError(
    `${path}: there is no log; name the data directory of the edge (--data-dir)`,
  );
}

/** Never resolves. */
async function followFrom(path: string, at: LogPosition, name: string | undefined): Promise<never> {
  for (let position = at; ; ) {
    await setTimeout(FOLLOW_MS);
    const piece = await reading(path, () => readLogFrom(path, position, TAIL_BYTES));
    if (piece === undefined) continue;
    position = piece.next;
    const lines = piece.lines.filter((line) => isOf(line, name));
    if (piece.skipped > 0) lines.unshift(`… ${piece.skipped} lines came too fast to be shown`);
    for (const line of lines) process.stdout.write(`${line}\n`);
  }
}

async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw new LogUnreadableError(
      `${path}: cannot be read (${describeError(error)}); name the data directory of the edge (--data-dir)`,
    );
  }
}

/** Whether a line, as text or JSON, is of the process. */
function isOf(line: string, name: string | undefined): boolean {
  if (name === undefined) return true;
  return line.split(" ", 3)[1] === name || line.includes(`"process":${JSON.stringify(name)}`);
}
