/** Everything that is generated from this folder: the text of each file by its path from the project's root. Pure. */
import { alertsPage } from "./alerts-page.ts";
import { dashboard } from "./dashboard/dashboard.ts";
import { prometheusRule, rulesFile } from "./rule-file.ts";
import { ruleTests } from "./rule-tests.ts";

export function generatedFiles(): Readonly<Record<string, string>> {
  return {
    "deploy/prometheus/rules.yaml": rulesFile(),
    "deploy/prometheus/rules.test.yaml": ruleTests(),
    "deploy/prometheus/prometheus-rule.yaml": prometheusRule(),
    "deploy/prometheus/grafana-dashboard.json": dashboard(),
    "docs/operators/alerts.md": alertsPage(),
  };
}
