/**
 * `ct-edge logs`: the last lines of server.log, of all processes or of one, and those that follow.
 */
import { closeSync, fstatSync, openSync, readSync, unwatchFile, watchFile } from "node:fs";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { describeError, EdgeError } from "../../shared/errors.ts";
import { askEdge } from "../ask-edge.ts";
import { limitOption, print } from "./command.ts";
import { createEdgeCommand, type EdgeFlags } from "./edge-command.ts";

/** The log cannot be read. */
export class LogUnreadableError extends EdgeError {
  readonly code = "EDGE_LOG_UNREADABLE";
  readonly source = "internal";
  readonly retryable = false;
}

/** What is read of the end of the file to find the last lines. */
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
      const { lines, endBytes } = readTail(path);
      const wanted = lines.filter((line) => isOf(line, name)).slice(-limit);
      const text = wanted.map((line) => `${line}\n`).join("");
      if (!follow) return text;
      await print(text);
      await followFrom(path, endBytes, name);
      return "";
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

function readTail(path: string): { lines: string[]; endBytes: number } {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    throw new LogUnreadableError(
      `${path}: cannot be read (${describeError(error)}); name the data directory of the edge (--data-dir)`,
    );
  }
  try {
    const endBytes = fstatSync(file).size;
    const from = Math.max(0, endBytes - TAIL_BYTES);
    const lines = readFrom(file, from, endBytes).split("\n");
    // The first one may be the rest of a line, the last one is not written to its end.
    return { lines: lines.slice(from > 0 ? 1 : 0, -1), endBytes };
  } finally {
    closeSync(file);
  }
}

function readFrom(file: number, from: number, to: number): string {
  const bytes = Buffer.alloc(to - from);
  const length = readSync(file, bytes, 0, bytes.length, from);
  return bytes.subarray(0, length).toString("utf8");
}

/** Never resolves; a file that became shorter was begun anew. */
function followFrom(path: string, fromBytes: number, name: string | undefined): Promise<never> {
  let at = fromBytes;
  let rest = "";
  return new Promise((_, reject) => {
    watchFile(path, { interval: FOLLOW_MS }, ({ size }) => {
      if (size < at) at = 0;
      try {
        const file = openSync(path, "r");
        const lines = (rest + readFrom(file, at, size)).split("\n");
        closeSync(file);
        at = size;
        rest = lines.pop() ?? "";
        for (const line of lines.filter((one) => isOf(one, name)))
          process.stdout.write(`${line}\n`);
      } catch (error) {
        unwatchFile(path);
        reject(error);
      }
    });
  });
}

/** Whether a line, as text or JSON, is of the process. */
function isOf(line: string, name: string | undefined): boolean {
  if (name === undefined) return true;
  return line.split(" ", 3)[1] === name || line.includes(`"process":${JSON.stringify(name)}`);
}
