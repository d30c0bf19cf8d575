/**
 * The lists of workers, links, moves and balancers, with the commands for a worker.
 */
import { linkStateText } from "../../../shared/cluster/link-state.ts";
import { closedCount, reasonsText } from "../../../shared/cluster/resume-text.ts";
import type {
  CommandReply,
  LinkLine,
  ResumeLine,
  WorkerLine,
  WorkersResponse,
} from "../../dashboard/responses.ts";
import { byId, type Cell, element, fillTable } from "./elements.ts";
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
/** `In`: from the worker to balancers. */
const LINK_COLUMNS = [
  "Worker",
  "State",
  "Links",
  "Streams",
  "Frames in",
  "Frames out",
  "Bytes in",
  "Bytes out",
  "Stalls",
  "Resets",
  "Errors",
];
const MOVE_COLUMNS = [
  "Balancer",
  "Waiting now",
  "Kept: planned",
  "Kept: crash",
  "Reconnected",
  "Why",
  "Gap p50",
  "Gap p99",
  "Sent again",
  "Repeats dropped",
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
  const linkTable = byId("link-table", HTMLTableElement);
  const moveTable = byId("move-table", HTMLTableElement);
  const balancerTable = byId("balancer-table", HTMLTableElement);
  const status = byId("worker-status", HTMLParagraphElement);

  function buttons(worker: WorkerLine): HTMLElement[] {
    if (worker.status === "down") return [];
    const actions =
      worker.status === "suspended" || worker.status === "draining"
        ? (["resume"] as const)
        : (["suspend", "drain"] as const);
    return actions.map((action) => {
      const button = element("button", action, "needs-drain");
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
    show({ workers, balancers, resumes }) {
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
        linkTable,
        LINK_COLUMNS,
        workers
          .filter(({ status }) => status !== "down")
          .map(({ id, link }) => ({ key: id, cells: [{ text: id }, ...linkCells(link)] })),
        "No workers.",
      );
      const all = balancers.length > 1 ? [{ id: "all", resumes }] : [];
      fillTable(
        moveTable,
        MOVE_COLUMNS,
        [...balancers, ...all].map(({ id, resumes: line }) => ({
          key: id,
          cells: [{ text: id }, ...moveCells(line)],
        })),
        "No balancers.",
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

function number(text: string): Cell {
  return { text, isNumber: true };
}

function moveCells(line: ResumeLine | null): Cell[] {
  return [
    number(formatCount(line?.waiting ?? null)),
    number(formatCount(line?.moved ?? null)),
    number(formatCount(line?.crashed ?? null)),
    number(formatCount(line === null ? null : closedCount(line.closed))),
    { text: line === null ? "" : reasonsText(line.closed) },
    number(formatMs(line?.gapP50Ms ?? null)),
    number(formatMs(line?.gapP99Ms ?? null)),
    number(formatCount(line?.messages ?? null)),
    number(formatCount(line?.repeats ?? null)),
  ];
}

function linkCells(link: LinkLine | null): Cell[] {
  return [
    link === null ? { text: formatCount(null) } : { text: linkStateText(link), badge: link.state },
    number(formatCount(link?.links ?? null)),
    number(formatCount(link?.streams ?? null)),
    number(formatCount(link?.framesIn ?? null)),
    number(formatCount(link?.framesOut ?? null)),
    number(formatBytes(link?.bytesIn ?? null)),
    number(formatBytes(link?.bytesOut ?? null)),
    number(formatCount(link?.stalls ?? null)),
    number(formatCount(link?.resets ?? null)),
    number(formatCount(link?.errors ?? null)),
  ];
}
