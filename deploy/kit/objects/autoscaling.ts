/**
 * Autoscalers of the workers. The edge itself decides how many workers it wants, with all delays that it needs; Kubernetes only
 * follows: quickly up, and down in one step. Without data it keeps the number, so there is no fallback.
 */
import { builtin, call, type Expression, literal, value } from "../model/expression.ts";
import { count, fields, type Node, note, text, when } from "../model/node.ts";
import {
  isMode,
  type KitObject,
  metadata,
  name,
  nameExpression,
  STATUS_PORT,
  selectorLabels,
} from "./names.ts";

export const WANTED_METRIC = "codetogether_workers_wanted";
const TOKEN = value("autoscaling.token.existingSecret");
/** The namespace of kustomize's overlays. */
const NAMESPACE: Expression = {
  kind: "fixed",
  inBase: "codetogether",
  inChart: builtin("Release.Namespace"),
};

const TARGET: Node = { apiVersion: "apps/v1", kind: "StatefulSet", name: name("worker") };

const BEHAVIOR: Node = {
  scaleUp: rules(0, { type: "Pods", value: 4, periodSeconds: 60 }),
  // All in one step: workers that end together hand no session to each other, so each session moves once.
  scaleDown: rules(60, { type: "Percent", value: 100, periodSeconds: 60 }),
};

function rules(stabilizationWindowSeconds: number, policy: Node): Node {
  return fields(
    { stabilizationWindowSeconds, policies: [policy] },
    when(value("autoscaling.tolerance"), { tolerance: text(value("autoscaling.tolerance")) }),
  );
}

// --- KEDA ---

const STATUS_SERVICE: KitObject = {
  when: isMode("keda"),
  body: fields(
    note(
      "Any balancer knows how many workers are wanted. Only for KEDA: what is in front uses the other service.",
    ),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: metadata({ name: "balancer-status", program: "balancer" }),
      spec: {
        selector: selectorLabels("balancer"),
        ports: [{ name: "status", port: STATUS_PORT, targetPort: "status" }],
      },
    },
  ),
};

const URL = call(
  "printf",
  literal(`http://%s.%s.svc:${STATUS_PORT}/autoscale`),
  nameExpression("balancer-status"),
  NAMESPACE,
);

const SCALED_OBJECT: KitObject = {
  when: isMode("keda"),
  body: {
    apiVersion: "keda.sh/v1alpha1",
    kind: "ScaledObject",
    metadata: metadata({ name: "worker", program: "worker" }),
    spec: fields(
      { scaleTargetRef: TARGET },
      {
        pollingInterval: count(value("autoscaling.pollingIntervalSeconds")),
        minReplicaCount: count(value("autoscaling.minReplicas")),
        maxReplicaCount: count(value("autoscaling.maxReplicas")),
      },
      note(
        "No fallback: while the balancers do not respond, the number of workers stays as it is. The edge waits by itself before it wants fewer, so the window is short.",
      ),
      { advanced: { horizontalPodAutoscalerConfig: { behavior: BEHAVIOR } } },
      {
        triggers: [
          fields(
            {
              type: "metrics-api",
              metricType: "AverageValue",
              metadata: fields(
                { url: text(URL), valueLocation: "wanted", targetValue: "1" },
                when(TOKEN, { authMode: "bearer" }),
              ),
            },
            when(TOKEN, { authenticationRef: { name: name("autoscale") } }),
          ),
        ],
      },
    ),
  },
};

const TRIGGER_AUTHENTICATION: KitObject = {
  when: call("and", isMode("keda"), TOKEN),
  body: {
    apiVersion: "keda.sh/v1alpha1",
    kind: "TriggerAuthentication",
    metadata: metadata({ name: "autoscale", program: "worker" }),
    spec: {
      secretTargetRef: [
        { parameter: "token", name: text(TOKEN), key: text(value("autoscaling.token.key")) },
      ],
    },
  },
};

export const KEDA_OBJECTS: readonly KitObject[] = [
  STATUS_SERVICE,
  SCALED_OBJECT,
  TRIGGER_AUTHENTICATION,
];

// --- HorizontalPodAutoscaler ---

export const HPA_OBJECTS: readonly KitObject[] = [
  {
    when: isMode("hpa"),
    body: fields(
      note(
        "The metric comes from Prometheus by an adapter, the maximum over all processes: docs/operators/kubernetes.md.",
      ),
      {
        apiVersion: "autoscaling/v2",
        kind: "HorizontalPodAutoscaler",
        metadata: metadata({ name: "worker", program: "worker" }),
        spec: {
          scaleTargetRef: TARGET,
          minReplicas: count(value("autoscaling.minReplicas")),
          maxReplicas: count(value("autoscaling.maxReplicas")),
          metrics: [
            {
              type: "External",
              external: {
                metric: { name: WANTED_METRIC },
                target: { type: "AverageValue", averageValue: "1" },
              },
            },
          ],
          behavior: BEHAVIOR,
        },
      },
    ),
  },
];
