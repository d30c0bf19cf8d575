/**
 * `ct-edge logs`: the last lines of server.log, of all processes or one, and with `--follow` new lines too.
 */
import { join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Command, Option } from "commander";
import { describeError, EdgeError } from "../../../shared/base/errors.ts";
import {
  type LogPiece,
  type LogPosition,
  readLogEnd,
  readLogFrom,
} from "../../../shared/logs/log-tail.ts";
import { askEdge } from "../../control/control-client.ts";
import { createEdgeCommand, limitOption, print } from "../command.ts";

class LogUnreadableError extends EdgeError {
  readonly code = "EDGE_LOG_UNREADABLE";
}

/** Read at most this much at a time, of the end of the log and of what is new. */
const TAIL_BYTES = 4 * 1024 * 1024;
const POLL_MS = 250;

export function logsCommand(): Command {
  return createEdgeCommand<{ readonly limit: number; readonly follow?: true }>({
    name: "logs",
    description: "Shows the last lines of server.log.",
    args: { "[process]": "Show only lines of this process: root, balancer, worker-1." },
    options: [
      limitOption("Show this many lines at most.", 100, 100_000),
      new Option("--follow", "Show new lines as they are written, until Ctrl-C."),
    ],
    async run(dataDir, { limit, follow }, name) {
      const path = await findLog(dataDir);
      const { lines, next } = await readEnd(path);
      const wanted = lines.filter((line) => isOf(line, name)).slice(-limit);
      const text = wanted.map((line) => `${line}\n`).join("");
      if (!follow) return { out: text };
      await print(text);
      return followFrom(path, next, name);
    },
  });
}

/** The running edge's log; without a running edge, the default place. */
async function findLog(dataDir: string): Promise<string> {
  try {
    return (await askEdge(dataDir, { command: "ps" })).logFile;
  } catch (error) {
    if (!(error instanceof EdgeError)) throw error;
    return join(resolve(dataDir), "logs", "server.log");
  }
}

async function readEnd(path: string): Promise<LogPiece> {
  const piece = await withPath(path, () => readLogEnd(path, TAIL_BYTES));
  if (piece !== undefined) return piece;
  throw new LogUnreadableError(
    `${path}: no such log; set --data-dir to the data directory of the edge`,
  );
}

/** Never resolves. */
async function followFrom(path: string, at: LogPosition, name: string | undefined): Promise<never> {
  for (let position = at; ; ) {
    await setTimeout(POLL_MS);
    const piece = await withPath(path, () => readLogFrom(path, position, TAIL_BYTES));
    if (piece === undefined) continue;
    position = piece.next;
    const lines = piece.lines.filter((line) => isOf(line, name));
    if (piece.skipped > 0)
      lines.unshift(`… ${piece.skipped} lines skipped: written faster than they can be shown`);
    for (const line of lines) process.stdout.write(`${line}\n`);
  }
}

async function withPath<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw new LogUnreadableError(
      `${path}: cannot be read (${describeError(error)}); set --data-dir to the data directory of the edge`,
    );
  }
}

/** Whether the process wrote the line, in text or JSON format. */
function isOf(line: string, name: string | undefined): boolean {
  if (name === undefined) return true;
  return line.split(" ", 3)[1] === name || line.includes(`"process":${JSON.stringify(name)}`);
}
