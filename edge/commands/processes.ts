/**
 * `ct-edge restart`, `stop`, `scale` and `reload`: what the supervisor of this machine's edge does when it is told to.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ControlRequest, MAX_WORKERS } from "../control/control.ts";
import { askEdge } from "../control/control-client.ts";
import { createEdgeCommand, type EdgeFlags } from "./edge-command.ts";
import { showProcesses } from "./ps.ts";

/** As a shell says of a program that ended by SIGINT. */
const INTERRUPTED = 130;

export function processCommands(): Command[] {
  return [restartCommand(), stopCommand(), scaleCommand(), reloadCommand()];
}

function restartCommand(): Command {
  return createEdgeCommand({
    name: "restart",
    description:
      "Restarts one process, or all of them one after the other; workers hand their sessions over first.",
    argument: ["[process]", "its id in `ct-edge ps`: balancer, worker-1"],
    async ask({ dataDir }, _flags, name) {
      const about = name === undefined ? {} : { name };
      return change(dataDir, { command: "restart", ...about, progress: true });
    },
  });
}

function stopCommand(): Command {
  return createEdgeCommand({
    name: "stop",
    description: "Ends the edge on this machine; sessions go on when it is started again in 20 s.",
    async ask({ dataDir }) {
      const { pid } = await askEdge(dataDir, { command: "stop" });
      return `The edge (pid ${pid}) has ended.\n`;
    },
  });
}

function scaleCommand(): Command {
  return createEdgeCommand<EdgeFlags & { workerCount: number }>({
    name: "scale",
    description:
      "Starts more workers, or ends the last ones, which hand their sessions over first; until the edge is started again.",
    options: [
      new Option("--worker-count <number>", `How many there shall be, 1 to ${MAX_WORKERS}.`)
        .makeOptionMandatory()
        .argParser((text: string) => {
          const count = Number(text);
          if (/^\d+$/.test(text) && count >= 1 && count <= MAX_WORKERS) return count;
          throw new InvalidArgumentError(`It is a whole number from 1 to ${MAX_WORKERS}.`);
        }),
    ],
    async ask({ dataDir }, { workerCount }) {
      return change(dataDir, { command: "scale", workers: workerCount, progress: true });
    },
  });
}

/**
 * Asks for a change that takes its time, and waits for it: progress goes to standard error, the list of processes that it
 * ends with is the result.
 */
async function change(dataDir: string, request: ControlRequest): Promise<string> {
  process.once("SIGINT", () => {
    process.stderr.write(
      `ct-edge: the edge goes on with the ${request.command}; \`ct-edge ps\` shows its processes\n`,
    );
    process.exit(INTERRUPTED);
  });
  return showProcesses(
    await askEdge(dataDir, request, (line) => process.stderr.write(`${line}\n`)),
  );
}

function reloadCommand(): Command {
  return createEdgeCommand({
    name: "reload",
    description: "Opens certificates and logs anew, as SIGHUP does; for logrotate and renewals.",
    async ask({ dataDir }) {
      await askEdge(dataDir, { command: "reload" });
      return "";
    },
  });
}
