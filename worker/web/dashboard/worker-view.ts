/**
 * The lists of workers and balancers, with the commands for a worker.
 */
import type { CommandReply, WorkerLine, WorkersResponse } from "../../dashboard/responses.ts";
import { byId, element, fillTable } from "./elements.ts";
import { postCommand } from "./feed.ts";
import { formatBytes, formatCount, formatDuration, formatMs, formatTime } from "./format.ts";

const WORKER_COLUMNS = [
  "Worker",
  "State",
  "Reason",
  "Last failure",
  "Sessions",
  "Connections",
  "Lag",
  "Memory",
  "Version",
  "Uptime",
  "Restarts",
  "",
];
const BALANCER_COLUMNS = [
  "Balancer",
  "Connections",
  "Tunnels",
  "Memory",
  "Version",
  "Uptime",
  "Ring",
];

export function createWorkerView(): { show: (members: WorkersResponse) => void } {
  const workerTable = byId("worker-table", HTMLTableElement);
  const balancerTable = byId("balancer-table", HTMLTableElement);
  const status = byId("worker-status", HTMLParagraphElement);

  function buttons(worker: WorkerLine): HTMLElement[] {
    if (worker.status === "down") return [];
    const actions =
      worker.status === "suspended" || worker.status === "draining"
        ? (["resume"] as const)
        : (["suspend", "drain"] as const);
    return actions.map((action) => {
      const button = element("button", action);
      button.setAttribute("type", "button");
      button.addEventListener("click", () => void run(worker.id, action, button));
      return button;
    });
  }

  async function run(id: string, action: string, button: HTMLElement): Promise<void> {
    button.setAttribute("disabled", "");
    status.textContent = `${action} ${id}…`;
    const reply: CommandReply = await postCommand(
      `workers/${encodeURIComponent(id)}/${action}`,
    ).catch((error: unknown) => ({ outcome: "refused", message: String(error) }));
    status.textContent = `${action} ${id}: ${reply.outcome}${reply.message === "" ? "" : `, ${reply.message}`}`;
    button.removeAttribute("disabled");
  }

  return {
    show({ workers, balancers }) {
      fillTable(
        workerTable,
        WORKER_COLUMNS,
        workers.map((worker) => ({
          key: worker.id,
          cells: [
            { text: worker.id, title: worker.url },
            { text: worker.status, badge: worker.status },
            { text: worker.reason },
            {
              text:
                worker.lastFailure === null
                  ? ""
                  : `${worker.lastFailure.reason} (${formatTime(worker.lastFailure.atMs)})`,
            },
            { text: formatCount(worker.sessions), isNumber: true },
            { text: formatCount(worker.connections), isNumber: true },
            { text: formatMs(worker.lagMs), isNumber: true },
            { text: formatBytes(worker.rssBytes), isNumber: true },
            { text: worker.version },
            { text: formatDuration(worker.uptimeMs) },
            { text: formatCount(worker.restarts), isNumber: true },
            { text: worker.status, content: () => buttons(worker) },
          ],
        })),
        "No workers: sessions cannot be created.",
      );
      fillTable(
        balancerTable,
        BALANCER_COLUMNS,
        balancers.map((balancer) => ({
          key: balancer.id,
          cells: [
            { text: balancer.id },
            { text: formatCount(balancer.connections), isNumber: true },
            { text: formatCount(balancer.tunnels), isNumber: true },
            { text: formatBytes(balancer.rssBytes), isNumber: true },
            { text: balancer.version },
            { text: formatDuration(balancer.uptimeMs) },
            balancer.ringDiffers ? { text: "differs", badge: "bad" } : { text: "same" },
          ],
        })),
        "No balancers.",
      );
    },
  };
}
