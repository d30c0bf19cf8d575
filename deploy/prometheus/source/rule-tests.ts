/** The cases of all alerts as input of `promtool test rules`. Pure. */

import { ALERTS } from "./alerts.ts";
import { annotationsOf, labelsOf, toYaml } from "./rule-file.ts";
import { type Alert, alertName, type Case } from "./rules/alert.ts";

const INTERVAL = "5s";
const DEFAULT_AT = "2m";

/** One test that fires and one that does not, for each alert. */
export function ruleTests(): string {
  return toYaml({
    rule_files: ["rules.yaml"],
    evaluation_interval: INTERVAL,
    tests: ALERTS.flatMap((alert) => [
      testOf(alert, "fires", alert.fires, [expectedOf(alert)]),
      testOf(alert, "stays quiet", alert.staysQuiet, []),
    ]),
  });
}

function testOf(alert: Alert, outcome: string, given: Case, expected: readonly object[]): object {
  const name = alertName(alert);
  return {
    name: `${name} ${outcome}`,
    interval: INTERVAL,
    input_series: given.series,
    alert_rule_test: [{ eval_time: given.at ?? DEFAULT_AT, alertname: name, exp_alerts: expected }],
  };
}

function expectedOf(alert: Alert): object {
  const { labels } = alert.fires;
  const annotations = Object.entries(annotationsOf(alert)).map(([name, text]) => [
    name,
    text.replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) => labels[label] ?? ""),
  ]);
  return {
    exp_labels: { ...labelsOf(alert), ...labels },
    exp_annotations: Object.fromEntries(annotations) as Record<string, string>,
  };
}
