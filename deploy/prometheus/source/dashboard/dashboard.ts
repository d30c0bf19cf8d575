/** The Grafana dashboard as JSON that Grafana imports. Pure. */
import { metric } from "../rules/metric.ts";
import { type Panel, ROWS, type Row } from "./panels.ts";

const WIDTH = 8;
const HEIGHT = 8;
const PER_LINE = 3;
const SOURCE = { type: "prometheus", uid: "$datasource" };

export function dashboard(): string {
  const content = {
    title: "CodeTogether (Prometheus)",
    uid: "codetogether-prometheus",
    schemaVersion: 39,
    version: 1,
    editable: true,
    refresh: "10s",
    time: { from: "now-2h", to: "now" },
    timezone: "browser",
    annotations: { list: [firingAlerts()] },
    templating: { list: variables() },
    panels: placed(),
  };
  return `${JSON.stringify(content, undefined, 2)}\n`;
}

/** Alerts are marked on every panel. */
function firingAlerts(): object {
  return {
    name: "Alerts",
    enable: true,
    iconColor: "red",
    datasource: SOURCE,
    expr: 'ALERTS{alertname=~"CodeTogether.*",alertstate="firing"}',
    titleFormat: "{{alertname}}",
    textFormat: "{{instance}} {{severity}}",
  };
}

function variables(): readonly object[] {
  const of = metric("process.rss_bytes");
  return [
    { name: "datasource", label: "Prometheus", type: "datasource", query: "prometheus" },
    variable("namespace", "Namespace", `label_values(${of}, namespace)`),
    variable("job", "Job", `label_values(${of}{namespace=~"$namespace"}, job)`),
  ];
}

/** `.*` for all, so that it includes targets without the label. */
function variable(name: string, label: string, query: string): object {
  return {
    name,
    label,
    type: "query",
    datasource: SOURCE,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    includeAll: true,
    multi: true,
    allValue: ".*",
    current: { text: "All", value: "$__all" },
  };
}

/** Rows below each other, three panels beside each other. */
function placed(): object[] {
  const all: object[] = [];
  let y = 0;
  for (const row of ROWS) {
    all.push(headingOf(row, all.length + 1, y));
    y += 1;
    for (const [index, panel] of row.panels.entries()) {
      const x = (index % PER_LINE) * WIDTH;
      const line = Math.floor(index / PER_LINE);
      const gridPos = { h: HEIGHT, w: WIDTH, x, y: y + line * HEIGHT };
      all.push(chartOf(panel, all.length + 1, gridPos));
    }
    y += Math.ceil(row.panels.length / PER_LINE) * HEIGHT;
  }
  return all;
}

function headingOf({ title }: Row, id: number, y: number): object {
  return {
    id,
    type: "row",
    title,
    collapsed: false,
    gridPos: { h: 1, w: 24, x: 0, y },
    panels: [],
  };
}

function chartOf(panel: Panel, id: number, gridPos: object): object {
  const stacking = { mode: panel.stacked === true ? "normal" : "none" };
  const fillOpacity = panel.stacked === true ? 30 : 0;
  return {
    id,
    type: "timeseries",
    title: panel.title,
    datasource: SOURCE,
    gridPos,
    fieldConfig: {
      defaults: { unit: panel.unit, min: 0, custom: { stacking, fillOpacity } },
      overrides: [],
    },
    options: { tooltip: { mode: "multi", sort: "desc" }, legend: { displayMode: "list" } },
    targets: panel.queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode("A".charCodeAt(0) + index),
      datasource: SOURCE,
      expr,
      legendFormat: legend,
    })),
  };
}
