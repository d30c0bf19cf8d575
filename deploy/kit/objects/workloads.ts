/** The balancers' Deployment, the workers' StatefulSet, and their services and disruption budgets. */
import { call, type Expression, equals, isNull, literal, not, value } from "../model/expression.ts";
import { count, fields, note, type Part, plain, spread, text, when } from "../model/node.ts";
import type { Program } from "../values/program.ts";
import {
  type KitObject,
  metadata,
  name,
  STATUS_PORT,
  selectorLabels,
  TRAFFIC_PORT,
  WORKER_PORT,
} from "./names.ts";
import { podTemplate } from "./pods.ts";

// --- balancers ---

const BALANCER_DEPLOYMENT: KitObject = {
  body: fields(
    note("Any number of identical balancers: they keep no state that another one needs."),
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: metadata({
        name: "balancer",
        program: "balancer",
        labels: [spread("balancer.labels")],
        annotations: [spread("balancer.annotations")],
      }),
      spec: {
        replicas: count(value("balancer.replicas")),
        selector: { matchLabels: selectorLabels("balancer") },
        strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
        template: podTemplate({
          program: "balancer",
          port: { name: "http", containerPort: TRAFFIC_PORT },
          graceNote:
            "The sleep below, CT_DRAIN_DELAY_MS, CT_DRAIN_TIMEOUT_MS and a margin; a balancer without connections ends at once.",
          dataNote: "Its last snapshot of the members, for a start while Redis is away.",
          lifecycle: preStopSleep(),
        }),
      },
    },
  ),
};

/** `when`, because Kubernetes would run `sleep 0` in vain. */
function preStopSleep(): Part {
  const seconds = value("balancer.preStopSeconds");
  return when(seconds, {
    lifecycle: fields(
      note("Nodes keep sending for a moment after the pod was removed from the service."),
      { preStop: { exec: { command: ["sleep", text(call("int", seconds))] } } },
    ),
  });
}

const BALANCER_SERVICE: KitObject = {
  body: {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata({
      name: "balancer",
      program: "balancer",
      annotations: [spread("balancer.service.annotations")],
    }),
    spec: fields(
      { type: text(value("balancer.service.type")) },
      note("No session affinity: any balancer finds the worker of any session."),
      {
        selector: selectorLabels("balancer"),
        ports: [{ name: "http", port: count(value("balancer.service.port")), targetPort: "http" }],
      },
    ),
  },
};

// --- workers ---

/** What grafana/rollout-operator looks for; it sends POST and DELETE to this path of each pod that would go. */
export const DOWNSCALE_LABELS = { "grafana.com/prepare-downscale": "true" };
export const DOWNSCALE_ANNOTATIONS = {
  "grafana.com/prepare-downscale-http-path": "prepare-downscale",
  "grafana.com/prepare-downscale-http-port": String(STATUS_PORT),
};
export const PREPARE_DOWNSCALE = { name: "CT_PREPARE_DOWNSCALE", value: "on" };
/** For `ct-worker empty` in the pod itself. */
const EMPTY_LOCALLY = { name: "CT_PREPARE_DOWNSCALE", value: "local" };

const WORKER_STATEFUL_SET: KitObject = {
  body: fields(
    note(
      "Workers have stable names (worker-0, worker-1 …), so a restarted worker finds its sessions again. The highest number goes first.",
    ),
    {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      metadata: metadata({
        name: "worker",
        program: "worker",
        labels: [when(value("worker.prepareDownscale"), DOWNSCALE_LABELS), spread("worker.labels")],
        annotations: [
          when(value("worker.prepareDownscale"), DOWNSCALE_ANNOTATIONS),
          spread("worker.annotations"),
        ],
      }),
      spec: fields(
        when(equals("autoscaling.mode", "none"), {
          replicas: count(call("default", literal(2), value("worker.replicas"))),
        }),
        {
          serviceName: name("worker"),
          podManagementPolicy: "Parallel",
          selector: { matchLabels: selectorLabels("worker") },
          template: podTemplate({
            program: "worker",
            port: { name: "traffic", containerPort: WORKER_PORT },
            graceNote: "Time to hand sessions over; a worker without sessions ends at once.",
            dataNote: "Files of its own; sessions are recorded in Redis.",
            lifecycle: when(value("worker.emptyBeforeStop"), {
              lifecycle: fields(
                note("Moves its sessions to other workers. SIGTERM moves what is left."),
                { preStop: { exec: { command: ["ct-worker", "empty"] } } },
              ),
            }),
            env: [
              note("Its record has the pod's own address, however Redis is reached."),
              { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
              { name: "CT_WORKER_URL", value: `http://$(POD_IP):${WORKER_PORT}` },
              when(value("worker.prepareDownscale"), [PREPARE_DOWNSCALE]),
              when(
                call("and", value("worker.emptyBeforeStop"), not(value("worker.prepareDownscale"))),
                [EMPTY_LOCALLY],
              ),
            ],
          }),
        },
      ),
    },
  ),
};

const WORKER_SERVICE: KitObject = {
  body: fields(note("For names only: balancers get the addresses of workers from Redis."), {
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata({ name: "worker", program: "worker" }),
    spec: fields(
      { clusterIP: "None" },
      note(
        "A worker that starts or stops is not ready, and must still be found by its name: it may be asked to be emptied.",
      ),
      {
        publishNotReadyAddresses: true,
        selector: selectorLabels("worker"),
        ports: [
          { name: "traffic", port: WORKER_PORT, targetPort: "traffic" },
          { name: "status", port: STATUS_PORT, targetPort: "status" },
        ],
      },
    ),
  }),
};

// --- disruption budgets ---

function disruptionBudget(program: Program, why: string): KitObject {
  const least = `${program}.podDisruptionBudget.minAvailable`;
  const most = `${program}.podDisruptionBudget.maxUnavailable`;
  return {
    when: value(`${program}.podDisruptionBudget.enabled`),
    body: fields(note(why), {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: metadata({ name: program, program }),
      spec: fields(
        when(not(isNull(least)), { minAvailable: plain(value(least)) }),
        when(not(isNull(most)), { maxUnavailable: plain(value(most)) }),
        when(bothNull(least, most), { maxUnavailable: 1 }),
        { selector: { matchLabels: selectorLabels(program) } },
      ),
    }),
  };
}

function bothNull(first: string, second: string): Expression {
  return call("and", isNull(first), isNull(second));
}

export const BALANCER_OBJECTS: readonly KitObject[] = [
  BALANCER_DEPLOYMENT,
  BALANCER_SERVICE,
  disruptionBudget("balancer", "One at a time, when nodes are drained."),
];

export const WORKER_OBJECTS: readonly KitObject[] = [
  WORKER_STATEFUL_SET,
  WORKER_SERVICE,
  disruptionBudget("worker", "One at a time: the other workers take its sessions over."),
];
