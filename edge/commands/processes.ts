/**
 * `ct-edge restart`, `stop`, `scale` and `reload`: what the supervisor of this machine's edge does when it is told to.
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import { askEdge } from "../ask-edge.ts";
import { MAX_WORKERS } from "../control.ts";
import { createEdgeCommand, type EdgeFlags } from "./edge-command.ts";
import { showProcesses } from "./ps.ts";

export function processCommands(): Command[] {
  return [restartCommand(), stopCommand(), scaleCommand(), reloadCommand()];
}

function restartCommand(): Command {
  return createEdgeCommand({
    name: "restart",
    description: "Starts one process anew, or all of them one after the other; sessions go on.",
    argument: ["[process]", "its id in `ct-edge ps`: balancer, worker-1"],
    async ask({ dataDir }, _flags, name) {
      const request = { command: "restart", ...(name !== undefined && { name }) } as const;
      return showProcesses(await askEdge(dataDir, request));
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
    description: "Starts more workers, or ends the last ones, until the edge is started anew.",
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
      return showProcesses(await askEdge(dataDir, { command: "scale", workers: workerCount }));
    },
  });
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
