/**
 * The workers and balancers, and what an operator may ask a worker to do.
 */
import type { CommandReply, WorkerLine, WorkersAnswer } from "../../dashboard/answers.ts";
import { byId, element, fillTable } from "./elements.ts";
import { command } from "./feed.ts";
import { shownBytes, shownCount, shownDuration, shownMs, shownTime } from "./shown.ts";

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
  "Up for",
  "Restarts",
  "",
];
const BALANCER_COLUMNS = [
  "Balancer",
  "Connections",
  "Tunnels",
  "Memory",
  "Version",
  "Up for",
  "Ring",
];

export function createWorkerView(): { show: (answer: WorkersAnswer) => void } {
  const workerTable = byId("worker-table", HTMLTableElement);
  const balancerTable = byId("balancer-table", HTMLTableElement);
  const said = byId("command", HTMLParagraphElement);

  function buttons(worker: WorkerLine): HTMLElement[] {
    if (worker.state === "dead") return [];
    const actions =
      worker.state === "suspended" || worker.state === "draining"
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
    said.textContent = `${action} ${id}…`;
    const reply: CommandReply = await command(`workers/${encodeURIComponent(id)}/${action}`).catch(
      (error: unknown) => ({ outcome: "refused", message: String(error) }),
    );
    said.textContent = `${action} ${id}: ${reply.outcome}${reply.message === "" ? "" : `, ${reply.message}`}`;
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
            { text: worker.state, badge: worker.state },
            { text: worker.reason },
            {
              text:
                worker.lastFailure === null
                  ? ""
                  : `${worker.lastFailure.reason} (${shownTime(worker.lastFailure.atMs)})`,
            },
            { text: shownCount(worker.sessions), isNumber: true },
            { text: shownCount(worker.connections), isNumber: true },
            { text: shownMs(worker.lagMs), isNumber: true },
            { text: shownBytes(worker.rssBytes), isNumber: true },
            { text: worker.version },
            { text: shownDuration(worker.uptimeMs) },
            { text: shownCount(worker.restarts), isNumber: true },
            { text: worker.state, content: () => buttons(worker) },
          ],
        })),
        "No worker is there: nobody can open a session.",
      );
      fillTable(
        balancerTable,
        BALANCER_COLUMNS,
        balancers.map((balancer) => ({
          key: balancer.id,
          cells: [
            { text: balancer.id },
            { text: shownCount(balancer.connections), isNumber: true },
            { text: shownCount(balancer.tunnels), isNumber: true },
            { text: shownBytes(balancer.rssBytes), isNumber: true },
            { text: balancer.version },
            { text: shownDuration(balancer.uptimeMs) },
            balancer.ringDiffers ? { text: "differs", badge: "bad" } : { text: "same" },
          ],
        })),
        "No balancer is known.",
      );
    },
  };
}
