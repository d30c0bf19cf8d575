/** Where the Prometheus operator finds the metrics. */
import { value } from "../model/expression.ts";
import { type Node, spread, text } from "../model/node.ts";
import { type KitObject, metadata, selectorLabels } from "./names.ts";

/** Jobs `codetogether-balancer` and `codetogether-worker`, as the rules of deploy/prometheus expect; alerts name pods. */
const RELABELINGS: Node = [
  {
    sourceLabels: ["__meta_kubernetes_pod_label_app_kubernetes_io_component"],
    targetLabel: "job",
    replacement: "codetogether-$1",
  },
  { sourceLabels: ["__meta_kubernetes_pod_name"], targetLabel: "instance" },
];

export const MONITORING_OBJECTS: readonly KitObject[] = [
  {
    when: value("podMonitor.enabled"),
    body: {
      apiVersion: "monitoring.coreos.com/v1",
      kind: "PodMonitor",
      metadata: metadata({ name: "edge", labels: [spread("podMonitor.labels")] }),
      spec: {
        selector: { matchLabels: selectorLabels() },
        podMetricsEndpoints: [
          {
            port: "status",
            path: "/metrics",
            interval: text(value("podMonitor.interval")),
            relabelings: RELABELINGS,
          },
        ],
      },
    },
  },
];
