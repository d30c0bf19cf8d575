/**
 * The dashboard in the browser: one page with eight views, kept up to date by server-sent events.
 */
import type {
  HistoryRange,
  HistoryResponse,
  OverviewResponse,
  TileName,
} from "../../dashboard/responses.ts";
import { createCharts } from "./charts.ts";
import { createCheckView } from "./check-view.ts";
import { showDownloads } from "./download-view.ts";
import { byId, element } from "./elements.ts";
import { type Feed, getJson, openFeed } from "./feed.ts";
import { formatCount, formatMs } from "./format.ts";
import { createLogView } from "./log-view.ts";
import { leaveIfSignedOut, showOperator } from "./operator.ts";
import { createPolicyView } from "./policy-view.ts";
import { createSessionView } from "./session-view.ts";
import { showUsage } from "./usage-view.ts";
import { createWorkerView } from "./worker-view.ts";

const TILES: readonly (readonly [TileName, string])[] = [
  ["usersOnline", "People online"],
  ["sessionsActive", "Active sessions"],
  ["connectionsActive", "Connections"],
  ["lagMs", "Average lag"],
  ["sessionsHosted", "Sessions hosted"],
  ["downloads", "Downloads"],
];
/** Of what the feed does not send. */
const REFRESH_MS = 10_000;

// --- overview ---

const tiles = byId("tiles", HTMLDListElement);
const tileByName = new Map<TileName, HTMLElement>();
for (const [name, title] of TILES) {
  const box = element("div");
  const value = element("dd", "–");
  value.dataset["tile"] = name;
  box.append(element("dt", title), value);
  tiles.append(box);
  tileByName.set(name, value);
}

function showOverview(overview: OverviewResponse): void {
  const { tiles: values, concerns, store } = overview;
  byId("summary", HTMLParagraphElement).textContent = summarize(overview);
  for (const [name] of TILES) {
    const value = values[name];
    const shown = name === "lagMs" ? formatMs(value) : formatCount(value);
    const tile = tileByName.get(name);
    if (tile !== undefined) {
      tile.textContent = shown;
      tile.title = value === null ? "currently unknown" : "";
    }
  }
  const list = byId("concerns", HTMLUListElement);
  const all =
    store.state === "away"
      ? [
          `The store does not answer (${store.reason ?? "no reason given"}). The data below may be stale.`,
          ...concerns,
        ]
      : concerns;
  if (list.dataset["shown"] === all.join("\n")) return;
  list.dataset["shown"] = all.join("\n");
  list.replaceChildren(...all.map((concern) => element("li", concern)));
}

/** The edge in one line. */
function summarize({
  workerStatuses,
  balancers,
  storeLatencyMs,
  version,
}: OverviewResponse): string {
  const states = Object.entries(workerStatuses).filter(([, count]) => count > 0);
  const shown = states.map(([name, count]) => `${count} ${name}`).join(", ");
  const store = storeLatencyMs === null ? "no response" : `responds in ${formatMs(storeLatencyMs)}`;
  return `Workers: ${shown || "none known"}. Balancers: ${balancers}. Store: ${store}. Version ${version}.`;
}

const charts = createCharts(byId("charts", HTMLDivElement));
let range: HistoryRange = "hour";

async function showHistory(): Promise<void> {
  try {
    charts.show(await getJson<HistoryResponse>(`history?range=${range}`));
  } catch {
    // The connection state shows the failure; the old curves stay, with their times on the axis.
  }
}

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-range]")) {
  const wanted = button.dataset["range"];
  if (wanted !== "hour" && wanted !== "day" && wanted !== "month") continue;
  button.setAttribute("aria-pressed", String(wanted === range));
  button.addEventListener("click", () => {
    range = wanted;
    for (const other of document.querySelectorAll("[data-range]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    void showHistory();
  });
}

// --- views ---

const VIEWS = [
  "overview",
  "workers",
  "sessions",
  "usage",
  "downloads",
  "policy",
  "logs",
  "check",
] as const;
type View = (typeof VIEWS)[number];

const workers = createWorkerView();
const sessions = createSessionView();
const logs = createLogView(openFeedOfView);
const checks = createCheckView();
const policy = createPolicyView();
const connection = byId("connection", HTMLParagraphElement);
let feed: Feed | undefined;

function currentView(): View {
  return VIEWS.find((view) => location.hash === `#${view}`) ?? "overview";
}

/** Subscribes only to the data of the current view: a list of a thousand sessions costs the worker and this page work. */
function openFeedOfView(): void {
  const view = currentView();
  feed?.close();
  feed = openFeed(
    {
      topics: view === "workers" || view === "sessions" ? [view] : [],
      log: view === "logs" ? logs.selected : undefined,
    },
    {
      onOpen: () => logs.clear(),
      onOverview: showOverview,
      onWorkers: workers.show,
      onSessions: sessions.show,
      onLog: (lines) => logs.append(lines),
      onState: showConnection,
    },
  );
}

function showConnection(state: "live" | "lost"): void {
  if (state === "lost") leaveIfSignedOut().catch(() => {});
  if (document.body.dataset["state"] === state) return;
  document.body.dataset["state"] = state;
  connection.dataset["state"] = state;
  connection.textContent = state === "live" ? "live" : "connection lost; showing old data";
}

function showView(): void {
  const view = currentView();
  for (const section of document.querySelectorAll<HTMLElement>("main > section")) {
    section.hidden = section.id !== view;
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  openFeedOfView();
  if (view === "overview") void showHistory();
  if (view === "usage") void showUsage();
  if (view === "downloads") void showDownloads();
  if (view === "policy") void policy.show();
  if (view === "check") checks.run();
}

window.addEventListener("hashchange", showView);
setInterval(() => {
  if (currentView() === "overview") void showHistory();
  if (currentView() === "usage") void showUsage();
}, REFRESH_MS);
showView();
// Else every command is shown, and the worker refuses those that are not allowed.
showOperator().catch(() => {});
