/** The files of the Helm chart, by their path in it. */

import { CONTRADICTIONS } from "../checks/contradictions.ts";
import { printExpression } from "../model/expression.ts";
import { printYaml, wrap } from "../model/print.ts";
import { HPA_OBJECTS, KEDA_OBJECTS } from "../objects/autoscaling.ts";
import { GATEWAY_OBJECTS, INGRESS_OBJECTS } from "../objects/front.ts";
import { MONITORING_OBJECTS } from "../objects/monitoring.ts";
import { type KitObject, NAMED } from "../objects/names.ts";
import { NETWORK_OBJECTS } from "../objects/network.ts";
import { RELEASE_OBJECTS } from "../objects/release.ts";
import { BALANCER_OBJECTS, WORKER_OBJECTS } from "../objects/workloads.ts";
import { GENERATED } from "./generated.ts";
import { NOTES } from "./notes.ts";
import { valuesFile, valuesSchema } from "./values-files.ts";

export const CHART_NAME = "codetogether-edge";

/** Templates and the objects in them. */
export const TEMPLATES: Readonly<Record<string, readonly KitObject[]>> = {
  "settings.yaml": RELEASE_OBJECTS,
  "balancer.yaml": BALANCER_OBJECTS,
  "worker.yaml": WORKER_OBJECTS,
  "network.yaml": NETWORK_OBJECTS,
  "httproute.yaml": GATEWAY_OBJECTS,
  "ingress.yaml": INGRESS_OBJECTS,
  "keda.yaml": KEDA_OBJECTS,
  "hpa.yaml": HPA_OBJECTS,
  "pod-monitor.yaml": MONITORING_OBJECTS,
};

export function chartFiles(version: string): Readonly<Record<string, string>> {
  const templates = Object.entries(TEMPLATES).map(([file, objects]) => [
    `templates/${file}`,
    printObjects(objects),
  ]);
  return {
    "Chart.yaml": chartFile(version),
    "values.yaml": `# ${GENERATED}\n${valuesFile()}`,
    "values.schema.json": valuesSchema(),
    "templates/_names.tpl": namedTemplates(),
    "templates/contradictions.yaml": contradictionsTemplate(),
    "templates/NOTES.txt": NOTES,
    ...(Object.fromEntries(templates) as Record<string, string>),
  };
}

function chartFile(version: string): string {
  return printYaml({
    apiVersion: "v2",
    name: CHART_NAME,
    description:
      "A self-hosted edge for live collaborative coding: balancers, and the workers that host the sessions",
    type: "application",
    version,
    appVersion: version,
    kubeVersion: ">=1.25.0-0",
  });
}

function printObjects(objects: readonly KitObject[]): string {
  const printed = objects.map(({ when, body }) => {
    const yaml = `---\n${printYaml(body)}`;
    if (when === undefined) return yaml;
    return `{{- if ${printExpression(when)} }}\n${yaml}{{- end }}\n`;
  });
  return `{{- /* ${GENERATED} */}}\n${printed.join("")}`;
}

function namedTemplates(): string {
  const defined = NAMED.map((named) => {
    if (named.kind !== "named") throw new Error("not a named expression");
    return `{{- define "${named.name}" -}}\n{{ ${printExpression(named.expression)} }}\n{{- end -}}\n`;
  });
  return `{{- /* ${GENERATED} */}}\n${defined.join("")}`;
}

function contradictionsTemplate(): string {
  const checks = CONTRADICTIONS.map(({ when, message, args }) => {
    const printed = args.map((arg) => ` (${printExpression(arg)})`).join("");
    const text = args.length === 0 ? quote(message) : `(printf ${quote(message)}${printed})`;
    return `{{- if ${printExpression(when)} }}\n{{- fail ${text} }}\n{{- end }}\n`;
  });
  const why = wrap(
    `${GENERATED} Values that contradict each other are refused here, and what each means is in values.yaml.`,
    110,
  );
  return `{{- /*\n${why.join("\n")}\n*/}}\n${checks.join("")}`;
}

function quote(content: string): string {
  return JSON.stringify(content);
}
