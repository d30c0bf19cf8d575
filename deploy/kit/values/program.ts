/** Values that balancers and workers both have. */
import type { Value } from "../model/expression.ts";
import {
  COUNT_OR_PERCENT,
  count,
  define,
  FLAG,
  OBJECT,
  OBJECTS,
  oneOf,
  TEXT,
  TEXT_MAP,
  type ValueDefinition,
} from "./definition.ts";

export type Program = "balancer" | "worker";

export const PROGRAM_VALUES: readonly ValueDefinition[] = [
  define("balancer.replicas", count(1), 2, "Number of balancers."),
  ...programValues("balancer", {
    resources: { requests: { cpu: "250m", memory: "128Mi" }, limits: { memory: "512Mi" } },
    graceSeconds: 90,
    graceWhy:
      "Longer than `balancer.preStopSeconds`, `CT_DRAIN_DELAY_MS` and `CT_DRAIN_TIMEOUT_MS` together.",
  }),
  define(
    "balancer.preStopSeconds",
    count(0),
    10,
    "How long a balancer that ends still accepts connections: longer than what is in front needs to notice.",
  ),
  define(
    "balancer.service.type",
    oneOf("ClusterIP", "NodePort", "LoadBalancer"),
    "ClusterIP",
    "Type of the balancers' Service.",
  ),
  define("balancer.service.port", count(1), 1080, "Port of the balancers' Service."),
  define("balancer.service.annotations", TEXT_MAP, {}, "Annotations of the balancers' Service."),
  define(
    "worker.replicas",
    { type: ["integer", "null"], minimum: 1 },
    null,
    "Number of workers, 2 if it is not set. Only without an autoscaler.",
  ),
  ...programValues("worker", {
    resources: { requests: { cpu: "500m", memory: "256Mi" }, limits: { memory: "1Gi" } },
    graceSeconds: 330,
    graceWhy:
      "Longer than a worker needs to move its sessions to others; one without sessions ends at once. `CT_DRAIN_DELAY_MS` and `CT_DRAIN_TIMEOUT_MS` must fit.",
  }),
  define(
    "worker.emptyBeforeStop",
    FLAG,
    true,
    "Move a worker's sessions to others in its preStop hook (`ct-worker empty`), before it is asked to end.",
  ),
  define(
    "worker.prepareDownscale",
    FLAG,
    false,
    "Let grafana/rollout-operator ask workers before they are scaled away (`CT_PREPARE_DOWNSCALE`).",
  ),
];

function programValues(
  program: Program,
  initial: {
    readonly resources: Value;
    readonly graceSeconds: number;
    readonly graceWhy: string;
  },
): ValueDefinition[] {
  const own = (name: string): string => `${program}.${name}`;
  const pods = `${program}s' pods`;
  return [
    define(own("resources"), OBJECT, initial.resources, `Requests and limits of the ${pods}.`),
    define(
      own("terminationGracePeriodSeconds"),
      count(1),
      initial.graceSeconds,
      `How long the ${pods} may take to end. ${initial.graceWhy}`,
    ),
    define(own("annotations"), TEXT_MAP, {}, `Annotations of the ${kindOf(program)}.`),
    define(own("labels"), TEXT_MAP, {}, `Labels of the ${kindOf(program)}.`),
    define(own("podAnnotations"), TEXT_MAP, {}, `Annotations of the ${pods}.`),
    define(own("podLabels"), TEXT_MAP, {}, `Labels of the ${pods}.`),
    define(own("nodeSelector"), TEXT_MAP, {}, `Labels of the nodes for the ${pods}.`),
    define(own("affinity"), OBJECT, {}, `Affinity of the ${pods}.`),
    define(own("tolerations"), OBJECTS, [], `Tolerations of the ${pods}.`),
    define(
      own("topologySpreadConstraints"),
      OBJECTS,
      [],
      `In place of the usual one, which spreads the ${pods} over nodes.`,
    ),
    define(own("priorityClassName"), TEXT, "", `Priority class of the ${pods}.`),
    define(own("extraEnv"), OBJECTS, [], `More environment of the ${program}.`),
    define(own("extraVolumes"), OBJECTS, [], `More volumes of the ${pods}.`),
    define(own("extraVolumeMounts"), OBJECTS, [], `More mounts of the ${program}'s container.`),
    define(own("extraContainers"), OBJECTS, [], `More containers of the ${pods}.`),
    define(own("extraInitContainers"), OBJECTS, [], `Init containers of the ${pods}.`),
    define(
      own("podDisruptionBudget.enabled"),
      FLAG,
      true,
      `Bound how many ${pods} are evicted at once.`,
    ),
    define(
      own("podDisruptionBudget.maxUnavailable"),
      COUNT_OR_PERCENT,
      null,
      "How many may be away, 1 if neither this nor `minAvailable` is set.",
    ),
    define(
      own("podDisruptionBudget.minAvailable"),
      COUNT_OR_PERCENT,
      null,
      "How many must be there, in place of `maxUnavailable`.",
    ),
  ];
}

function kindOf(program: Program): string {
  return program === "balancer" ? "balancers' Deployment" : "workers' StatefulSet";
}
