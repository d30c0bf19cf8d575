/**
 * The charts of the overview: one for each series of the history, drawn by uPlot.
 */
import uPlot from "uplot";
import type { HistoryResponse } from "../../dashboard/responses.ts";
import { element } from "./elements.ts";

interface ChartOf {
  readonly title: string;
  readonly column: "users" | "sessions" | "peakSessions" | "connections" | "lagMs" | "hosted";
}

const CHARTS: readonly ChartOf[] = [
  { title: "People online", column: "users" },
  { title: "Active sessions", column: "sessions" },
  { title: "Connections", column: "connections" },
  { title: "Lag (ms)", column: "lagMs" },
  { title: "Sessions hosted", column: "hosted" },
  { title: "Peak sessions", column: "peakSessions" },
];
/** The width of the charts, however few samples there are. */
const SPANS_MS = { hour: 3_600_000, day: 86_400_000, month: 30 * 86_400_000 } as const;
/** Labels of the time axis, in the browser's time zone. */
const TIME: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit" };
const LABELS = {
  hour: new Intl.DateTimeFormat("en-GB", TIME),
  day: new Intl.DateTimeFormat("en-GB", TIME),
  month: new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" }),
} as const;
const HEIGHT_PX = 150;
const MIN_WIDTH_PX = 240;

export function createCharts(place: HTMLElement) {
  const charts = CHARTS.map((chart) => {
    const box = element("figure");
    box.append(element("figcaption", chart.title));
    place.append(box);
    return { ...chart, box, plot: undefined as uPlot | undefined };
  });
  let last: HistoryResponse | undefined;

  function draw(history: HistoryResponse): void {
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(name).trim();
    const nowMs = Math.max(Date.now(), history.atMs.at(-1) ?? 0);
    const times = history.atMs.map((ms) => ms / 1000);
    for (const chart of charts) {
      const width = Math.max(MIN_WIDTH_PX, chart.box.clientWidth);
      const axis = {
        stroke: color("--muted"),
        grid: { stroke: color("--line"), width: 1 },
        ticks: { stroke: color("--line"), width: 1 },
      };
      chart.plot?.destroy();
      chart.plot = new uPlot(
        {
          width,
          height: HEIGHT_PX,
          // Leaves room for the last label of the time axis.
          padding: [8, 20, 0, 0],
          legend: { show: false },
          cursor: { y: false },
          scales: {
            x: { range: () => [(nowMs - SPANS_MS[history.range]) / 1000, nowMs / 1000] },
            y: { range: (_plot, _min, max) => [0, Math.max(1, (max ?? 0) * 1.1)] },
          },
          axes: [
            {
              ...axis,
              size: 30,
              space: 60,
              values: (_plot, seconds) =>
                seconds.map((at) => LABELS[history.range].format(at * 1000)),
            },
            { ...axis, size: 48 },
          ],
          series: [
            {},
            { stroke: color("--accent"), fill: color("--fill"), width: 2, points: { show: false } },
          ],
        },
        [times, [...history[chart.column]]],
        chart.box,
      );
    }
  }

  const redraw = (): void => {
    if (last !== undefined) draw(last);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(redraw).observe(place);

  return {
    show(history: HistoryResponse): void {
      last = history;
      draw(history);
    },
  };
}
