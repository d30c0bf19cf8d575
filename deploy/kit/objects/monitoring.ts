/** Where the Prometheus operator finds the metrics. */
import { value } from "../model/expression.ts";
import { spread, text } from "../model/node.ts";
import { type KitObject, metadata, selectorLabels } from "./names.ts";

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
          { port: "status", path: "/metrics", interval: text(value("podMonitor.interval")) },
        ],
      },
    },
  },
];
