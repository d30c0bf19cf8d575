/** The generated files of deploy/kubernetes, by their path in it. Kustomizations, overlays and patches are written by hand. */

import { type Context, evaluate, isTrue, type Value } from "../model/expression.ts";
import { fields, type Node, note, resolve } from "../model/node.ts";
import { printYaml } from "../model/print.ts";
import { HPA_OBJECTS, KEDA_OBJECTS } from "../objects/autoscaling.ts";
import { GATEWAY_OBJECTS, INGRESS_OBJECTS } from "../objects/front.ts";
import { MONITORING_OBJECTS } from "../objects/monitoring.ts";
import type { KitObject } from "../objects/names.ts";
import { NETWORK_OBJECTS } from "../objects/network.ts";
import {
  BALANCER_OBJECTS,
  DOWNSCALE_ANNOTATIONS,
  DOWNSCALE_LABELS,
  PREPARE_DOWNSCALE,
  WORKER_OBJECTS,
} from "../objects/workloads.ts";
import { valuesWith } from "../values/values.ts";
import { GENERATED } from "./generated.ts";

/** Files to copy say so: their copies are changed by hand. */
const GENERATED_EXAMPLE = `${GENERATED} In your copy of this overlay, change the names.`;

/** The base's choice of the values. */
export const BASE_VALUES = { existingSecret: "codetogether" };

interface File {
  readonly objects: readonly KitObject[];
  readonly values: Readonly<Record<string, Value>>;
  readonly head?: string;
}

export const KUSTOMIZE_FILES: Readonly<Record<string, File>> = {
  "base/balancer.yaml": { objects: BALANCER_OBJECTS, values: {} },
  "base/worker.yaml": { objects: WORKER_OBJECTS, values: {} },
  "base/network.yaml": { objects: NETWORK_OBJECTS, values: {} },
  "components/keda/keda.yaml": { objects: KEDA_OBJECTS, values: { "autoscaling.mode": "keda" } },
  "components/keda-token/keda.yaml": {
    objects: KEDA_OBJECTS,
    values: { "autoscaling.mode": "keda", "autoscaling.token.existingSecret": "codetogether" },
  },
  "components/hpa/hpa.yaml": { objects: HPA_OBJECTS, values: { "autoscaling.mode": "hpa" } },
  "components/pod-monitor/pod-monitor.yaml": {
    objects: MONITORING_OBJECTS,
    values: { "podMonitor.enabled": true },
  },
  "overlays/production/httproute.yaml": {
    head: GENERATED_EXAMPLE,
    objects: GATEWAY_OBJECTS,
    values: {
      "gateway.enabled": true,
      "gateway.hosts": ["edge.example.com"],
      "gateway.parentRefs": [{ name: "gateway", namespace: "gateway" }],
    },
  },
  "overlays/production/ingress.yaml": {
    head: GENERATED_EXAMPLE,
    objects: INGRESS_OBJECTS,
    values: {
      "ingress.enabled": true,
      "ingress.className": "traefik",
      "ingress.hosts": ["edge.example.com"],
      "ingress.tlsSecret": "edge-tls",
    },
  },
};

export function kustomizeFiles(): Readonly<Record<string, string>> {
  const files = Object.entries(KUSTOMIZE_FILES).map(([path, { objects, values, head }]) => {
    const context = baseContext(values);
    const printed = existing(objects, context).map((body) => printYaml(resolve(body, context)));
    return [path, `# ${head ?? GENERATED}\n${printed.join("---\n")}`];
  });
  return {
    ...(Object.fromEntries(files) as Record<string, string>),
    "components/prepare-downscale/worker.yaml": `# ${GENERATED}\n${printYaml(PREPARE_PATCH)}`,
  };
}

/** The objects that there are with these values. */
export function existing(objects: readonly KitObject[], context: Context): Node[] {
  return objects
    .filter(({ when }) => when === undefined || isTrue(evaluate(when, context)))
    .map(({ body }) => body);
}

export function baseContext(values: Readonly<Record<string, Value>> = {}): Context {
  const none = "";
  return {
    target: "base",
    values: valuesWith({ ...BASE_VALUES, ...values }),
    builtins: {
      "Release.Name": none,
      "Release.Namespace": none,
      "Release.Service": none,
      "Chart.Name": none,
      "Chart.Version": none,
      "Chart.AppVersion": none,
    },
  };
}

/** For kustomize, what the chart's value worker.prepareDownscale does. */
const PREPARE_PATCH: Node = fields(
  note("What grafana/rollout-operator looks for in a StatefulSet."),
  {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "worker", labels: DOWNSCALE_LABELS, annotations: DOWNSCALE_ANNOTATIONS },
    spec: { template: { spec: { containers: [{ name: "worker", env: [PREPARE_DOWNSCALE] }] } } },
  },
);
