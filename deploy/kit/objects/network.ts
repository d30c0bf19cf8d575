/** Who may reach which port. */
import { call, type Expression, value } from "../model/expression.ts";
import { fields, type Node, note, text, when } from "../model/node.ts";
import type { Program } from "../values/program.ts";
import {
  type KitObject,
  metadata,
  STATUS_PORT,
  selectorLabels,
  TRAFFIC_PORT,
  WORKER_PORT,
} from "./names.ts";

const MONITORING = value("networkPolicy.monitoringNamespace");
const KEDA = value("networkPolicy.kedaNamespace");

function policy(program: Program, why: string, ingress: readonly Node[]): KitObject {
  return {
    when: value("networkPolicy.enabled"),
    body: fields(note(why), {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: metadata({ name: program, program }),
      spec: {
        podSelector: { matchLabels: selectorLabels(program) },
        policyTypes: ["Ingress"],
        ingress,
      },
    }),
  };
}

function statusRule(...more: readonly Node[]): Node {
  return {
    from: [{ podSelector: {} }, when(MONITORING, namespace(MONITORING)), ...more],
    ports: [tcp(STATUS_PORT)],
  };
}

function namespace(expression: Expression): Node {
  return {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": text(expression) } },
  };
}

function tcp(port: number): Node {
  return { port, protocol: "TCP" };
}

export const NETWORK_OBJECTS: readonly KitObject[] = [
  policy(
    "worker",
    "Workers accept traffic from balancers, and owner probes and handovers from each other. Status ports are for this namespace and for monitoring.",
    [
      {
        from: (["balancer", "worker"] as const).map((program) => ({
          podSelector: { matchLabels: selectorLabels(program) },
        })),
        ports: [tcp(WORKER_PORT)],
      },
      statusRule(),
    ],
  ),
  policy(
    "balancer",
    "Everyone may reach the balancers' public port. KEDA asks their status ports how many workers are wanted.",
    [{ ports: [tcp(TRAFFIC_PORT)] }, statusRule(when(KEDA, namespace(KEDA)))],
  ),
];

/** KEDA could not ask the balancers. */
export const KEDA_IS_SHUT_OUT = call("and", value("networkPolicy.enabled"), call("not", KEDA));
/** Prometheus could not read the metrics. */
export const MONITORING_IS_SHUT_OUT = call(
  "and",
  value("networkPolicy.enabled"),
  call("not", MONITORING),
);
