/** docs/operators/alerts.md: a section for each alert. Pure. */

import { ALERT_GROUPS } from "./alerts.ts";
import { anchorOf } from "./rule-file.ts";
import { type Alert, alertName } from "./rules/alert.ts";

const INTRODUCTION = `# Alerts

\`npm run docs\` generates this page from \`deploy/prometheus/source\`. How to load the rules and the dashboard into Prometheus and
Grafana: [deploy/prometheus](../../deploy/prometheus/README.md).

\`critical\`: people are affected now. \`warning\`: somebody should look today. \`info\`: explains what people may notice.
By symptom instead of by alert: [troubleshooting](troubleshooting.md).
`;

export function alertsPage(): string {
  return [
    INTRODUCTION,
    "| alert | severity | it says |",
    "| --- | --- | --- |",
    ...ALERT_GROUPS.flatMap(({ alerts }) => alerts.map(rowOf)),
    ...ALERT_GROUPS.flatMap(({ title, alerts }) => [
      "",
      `## ${title}`,
      ...alerts.flatMap(sectionOf),
    ]),
    "",
  ].join("\n");
}

function rowOf(alert: Alert): string {
  return `| [${alertName(alert)}](#${anchorOf(alert)}) | ${alert.severity} | ${plain(alert.summary)} |`;
}

function sectionOf(alert: Alert): string[] {
  const lasting = alert.for === "0s" ? "" : `, for ${alert.for}`;
  const text = alert.runbook.map((entry, index) =>
    // A blank line ends a paragraph; list items stay together.
    entry.startsWith("- ") && alert.runbook[index - 1]?.startsWith("- ") ? entry : `\n${entry}`,
  );
  return [
    "",
    `### ${alertName(alert)}`,
    "",
    `**${plain(alert.summary)}** (${alert.severity}${lasting})`,
    "",
    "```promql",
    alert.expr,
    "```",
    ...text.flatMap((entry) => entry.split("\n")),
  ];
}

/** Names of labels instead of templates. */
function plain(summary: string): string {
  return summary.replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) =>
    label === "instance" ? "X" : label.toUpperCase(),
  );
}
