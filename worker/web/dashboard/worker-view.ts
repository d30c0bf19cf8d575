/**
 * The lists of workers, links, moves and balancers, with the commands for a worker.
 */
import { linkStateText } from "../../../shared/cluster/link-state.ts";
import { closedCount, reasonsText } from "../../../shared/cluster/resume-text.ts";
import type {
  BalancerLine,
  CommandReply,
  WorkerLine,
  WorkersResponse,
} from "../../dashboard/responses.ts";
import { button, byId, type Cell, fillTable, number, type TableOf } from "./elements.ts";
import { postCommand } from "./feed.ts";
import { formatBytes, formatCount, formatDuration, formatMs, formatTime } from "./format.ts";

/** `In`: from the worker to balancers. */
const LINK_LINES: TableOf<WorkerLine> = {
  keyOf: ({ id }) => id,
  none: "No workers.",
  columns: [
    ["Worker", ({ id }) => id],
    [
      "State",
      ({ link }) => (link ? { text: linkStateText(link), badge: link.state } : formatCount(null)),
    ],
    ["Links", ({ link }) => count(link?.links)],
    ["Streams", ({ link }) => count(link?.streams)],
    ["Frames in", ({ link }) => count(link?.framesIn)],
    ["Frames out", ({ link }) => count(link?.framesOut)],
    ["Bytes in", ({ link }) => number(formatBytes(link?.bytesIn ?? null))],
    ["Bytes out", ({ link }) => number(formatBytes(link?.bytesOut ?? null))],
    ["Stalls", ({ link }) => count(link?.stalls)],
    ["Resets", ({ link }) => count(link?.resets)],
    ["Errors", ({ link }) => count(link?.errors)],
  ],
};

const MOVE_LINES: TableOf<Pick<BalancerLine, "id" | "resumes">> = {
  keyOf: ({ id }) => id,
  none: "No balancers.",
  columns: [
    ["Balancer", ({ id }) => id],
    ["Waiting now", ({ resumes }) => count(resumes?.waiting)],
    ["Kept: planned", ({ resumes }) => count(resumes?.moved)],
    ["Kept: crash", ({ resumes }) => count(resumes?.crashed)],
    ["Reconnected", ({ resumes }) => count(resumes ? closedCount(resumes.closed) : undefined)],
    ["Why", ({ resumes }) => (resumes ? reasonsText(resumes.closed) : "")],
    ["Gap p50", ({ resumes }) => number(formatMs(resumes?.gapP50Ms ?? null))],
    ["Gap p99", ({ resumes }) => number(formatMs(resumes?.gapP99Ms ?? null))],
    ["Sent again", ({ resumes }) => count(resumes?.messages)],
    ["Repeats dropped", ({ resumes }) => count(resumes?.repeats)],
  ],
};

const BALANCER_LINES: TableOf<BalancerLine> = {
  keyOf: ({ id }) => id,
  none: "No balancers.",
  columns: [
    ["Balancer", ({ id }) => id],
    ["Connections", ({ connections }) => number(formatCount(connections))],
    ["Tunnels", ({ tunnels }) => number(formatCount(tunnels))],
    ["Memory", ({ rssBytes }) => number(formatBytes(rssBytes))],
    ["Version", ({ version }) => version],
    ["Uptime", ({ uptimeMs }) => formatDuration(uptimeMs)],
    ["Ring", ({ ringDiffers }) => (ringDiffers ? { text: "differs", badge: "bad" } : "same")],
  ],
};

export function createWorkerView(): { show: (members: WorkersResponse) => void } {
  const workerTable = byId("worker-table", HTMLTableElement);
  const linkTable = byId("link-table", HTMLTableElement);
  const moveTable = byId("move-table", HTMLTableElement);
  const balancerTable = byId("balancer-table", HTMLTableElement);
  const status = byId("worker-status", HTMLParagraphElement);

  const workerLines: TableOf<WorkerLine> = {
    keyOf: ({ id }) => id,
    none: "No workers: sessions cannot be created.",
    columns: [
      ["Worker", ({ id, url }) => ({ text: id, title: url })],
      ["State", ({ status }) => ({ text: status, badge: status })],
      ["Reason", ({ reason }) => reason],
      [
        "Last failure",
        ({ lastFailure: last }) => (last ? `${last.reason} (${formatTime(last.atMs)})` : ""),
      ],
      ["Sessions", ({ sessions }) => number(formatCount(sessions))],
      ["Connections", ({ connections }) => number(formatCount(connections))],
      ["Lag", ({ lagMs }) => number(formatMs(lagMs))],
      ["Memory", ({ rssBytes }) => number(formatBytes(rssBytes))],
      ["Version", ({ version }) => version],
      ["Uptime", ({ uptimeMs }) => formatDuration(uptimeMs)],
      ["Restarts", ({ restarts }) => number(formatCount(restarts))],
      ["", (worker) => ({ text: worker.status, content: () => buttons(worker) })],
    ],
  };

  function buttons(worker: WorkerLine): HTMLElement[] {
    if (worker.status === "down") return [];
    const actions =
      worker.status === "suspended" || worker.status === "draining"
        ? (["resume"] as const)
        : (["suspend", "drain"] as const);
    return actions.map((action) => {
      const made = button(action, "needs-drain", () => void run(worker.id, action, made));
      return made;
    });
  }

  async function run(id: string, action: string, pressed: HTMLButtonElement): Promise<void> {
    pressed.disabled = true;
    status.textContent = `${action} ${id}…`;
    const reply: CommandReply = await postCommand(
      `workers/${encodeURIComponent(id)}/${action}`,
    ).catch((error: unknown) => ({ outcome: "refused", message: String(error) }));
    status.textContent = `${action} ${id}: ${reply.outcome}${reply.message === "" ? "" : `, ${reply.message}`}`;
    pressed.disabled = false;
  }

  return {
    show({ workers, balancers, resumes }) {
      fillTable(workerTable, workerLines, workers);
      fillTable(
        linkTable,
        LINK_LINES,
        workers.filter(({ status }) => status !== "down"),
      );
      const all = balancers.length > 1 ? [{ id: "all", resumes }] : [];
      fillTable(moveTable, MOVE_LINES, [...balancers, ...all]);
      fillTable(balancerTable, BALANCER_LINES, balancers);
    },
  };
}

function count(value: number | undefined): Cell {
  return number(formatCount(value ?? null));
}
