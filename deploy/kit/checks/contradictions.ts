/** Values of the chart that contradict each other. Helm refuses them with a message that names both and says what to do. */

import { REMOVED_SETTINGS } from "../../../shared/settings/removed-settings.ts";
import { SETTINGS } from "../../../shared/settings/settings.ts";
import {
  asText,
  type Context,
  call,
  type Expression,
  equals,
  evaluate,
  isNull,
  isTrue,
  literal,
  not,
  value,
} from "../model/expression.ts";
import { IS_AUTOSCALED, isMode } from "../objects/names.ts";
import { KEDA_IS_SHUT_OUT, MONITORING_IS_SHUT_OUT } from "../objects/network.ts";

export interface Contradiction {
  readonly when: Expression;
  /** `%s` is replaced by the values of `args`. */
  readonly message: string;
  readonly args: readonly Expression[];
}

const GRACE_MARGIN_MS = 1000;
const DRAIN_DELAY_MS = duration(SETTINGS.drainDelayMs);
const DRAIN_TIMEOUT_MS = duration(SETTINGS.drainTimeoutMs);

/** The setting as the values have it, or its default. */
function duration(setting: { readonly env: string; readonly default: number }): Expression {
  return call("int", call("default", literal(setting.default), set(setting.env)));
}

function both(first: string, second: string): Expression {
  return call("and", value(first), value(second));
}

/** Settings are in a map of any names: the chart's template asks for them by `get`. */
function set(name: string): Expression {
  return call("get", value("settings"), literal(name));
}

/** URLs are secret only if they have a password: CT_REDIS_URL has values of its own, and CT_PROXY need not have one. */
const URLS: readonly string[] = [SETTINGS.redisUrl.env, SETTINGS.proxy.env];
const SECRET_SETTINGS: readonly string[] = Object.values(SETTINGS)
  .filter((setting) => "secret" in setting && !URLS.includes(setting.env))
  .map(({ env }) => env);

export const CONTRADICTIONS: readonly Contradiction[] = [
  {
    when: call("and", value("worker.replicas"), IS_AUTOSCALED),
    message:
      "worker.replicas (%s) contradicts autoscaling.mode (%s): the autoscaler sets the number of workers. Remove worker.replicas and use autoscaling.minReplicas, or set autoscaling.mode to none.",
    args: [call("toJson", value("worker.replicas")), value("autoscaling.mode")],
  },
  {
    when: call("lt", int("autoscaling.maxReplicas"), int("autoscaling.minReplicas")),
    message:
      "autoscaling.maxReplicas (%s) contradicts autoscaling.minReplicas (%s): it is less. Raise one or lower the other.",
    args: ["autoscaling.maxReplicas", "autoscaling.minReplicas"].map((path) =>
      call("toJson", value(path)),
    ),
  },
  {
    when: call("and", isMode("keda"), KEDA_IS_SHUT_OUT),
    message:
      "autoscaling.mode (%s) contradicts networkPolicy.kedaNamespace (empty): KEDA could not ask the balancers. Set networkPolicy.kedaNamespace to the namespace of KEDA, or networkPolicy.enabled to false.",
    args: [value("autoscaling.mode")],
  },
  {
    when: call("and", value("podMonitor.enabled"), MONITORING_IS_SHUT_OUT),
    message:
      "podMonitor.enabled (true) contradicts networkPolicy.monitoringNamespace (empty): Prometheus could not read the metrics. Set networkPolicy.monitoringNamespace to the namespace of Prometheus, or networkPolicy.enabled to false.",
    args: [],
  },
  {
    // The URL is not shown: it may have a password.
    when: both("redis.url", "redis.existingSecret"),
    message:
      "redis.url contradicts redis.existingSecret (%s): both name the Redis. Remove redis.url if the URL has a password, else redis.existingSecret.",
    args: [value("redis.existingSecret")],
  },
  {
    when: call("contains", literal("@"), value("redis.url")),
    message:
      "redis.url (with a password) contradicts redis.existingSecret (empty): who may read the Deployment could read the password. Put the URL into a Secret, and set redis.existingSecret to its name.",
    args: [],
  },
  {
    when: call(
      "not",
      call("or", ...["redis.url", "redis.existingSecret", "existingSecret"].map(value)),
    ),
    message:
      "redis.url (empty) contradicts redis.existingSecret (empty): balancers and workers need one Redis. Set one of them, or existingSecret to a Secret with the key CT_REDIS_URL.",
    args: [],
  },
  {
    when: not(call("or", ...["secret.existingSecret", "existingSecret"].map(value))),
    message:
      "secret.existingSecret (empty) contradicts existingSecret (empty): balancers and workers need the same CT_SECRET. Create a Secret with the key CT_SECRET, and set one of them to its name.",
    args: [],
  },
  ...SECRET_SETTINGS.map((name) => ({
    when: set(name),
    message: `settings.${name} contradicts existingSecret (%s): settings are in a ConfigMap, which is not secret. Put ${name} into a Secret, and set existingSecret to its name.`,
    args: [call("default", literal("empty"), value("existingSecret"))],
  })),
  {
    when: set("CT_REDIS_URL"),
    message:
      "settings.CT_REDIS_URL contradicts redis.url: the Redis has values of its own. Put the URL into redis.url, or into a Secret if it has a password.",
    args: [],
  },
  ...(
    [
      ["CT_PORT", "balancer.service.port", "probes and the Service expect 1080 in the container"],
      ["CT_WORKER_PORT", "the chart", "balancers expect the port 3001"],
      ["CT_STATUS_PORT", "the chart", "probes, KEDA and the PodMonitor expect the port 1081"],
      ["CT_WORKER_URL", "the chart", "each worker has its pod's own address"],
      ["CT_PREPARE_DOWNSCALE", "worker.prepareDownscale", "that value sets it"],
    ] as const
  ).map(([name, other, why]) => ({
    when: set(name),
    message: `settings.${name} (%s) contradicts ${other}: ${why}. Remove settings.${name}.`,
    args: [set(name)],
  })),
  ...Object.values(REMOVED_SETTINGS).map(({ env, instead }) => ({
    when: set(env),
    message: `settings.${env} contradicts this version, in which it is no longer a setting. ${instead}`,
    args: [],
  })),
  {
    when: both("image.tag", "image.digest"),
    message: "image.tag (%s) contradicts image.digest (%s): both name the image. Remove one.",
    args: [value("image.tag"), value("image.digest")],
  },
  ...(["runAsUser", "runAsGroup", "fsGroup"] as const).map((path) => ({
    when: call("and", value("openshift"), call("ne", int(path), literal(1000))),
    message: `${path} (%s) contradicts openshift (true): OpenShift chooses the ids. Remove ${path}, or set openshift to false.`,
    args: [call("toJson", value(path))],
  })),
  {
    when: call("and", value("serviceAccount.annotations"), not(value("serviceAccount.create"))),
    message:
      "serviceAccount.annotations contradicts serviceAccount.create (false): an existing service account keeps its own. Set serviceAccount.create to true, or remove serviceAccount.annotations.",
    args: [],
  },
  ...(["balancer", "worker"] as const).map((program) => {
    const path = `${program}.podDisruptionBudget`;
    const [least, most] = [`${path}.minAvailable`, `${path}.maxUnavailable`];
    return {
      when: call("and", not(isNull(least)), not(isNull(most))),
      message: `${least} (%s) contradicts ${most} (%s): Kubernetes accepts one of them. Remove one.`,
      args: [call("toJson", value(least)), call("toJson", value(most))],
    };
  }),
  {
    when: call(
      "and",
      value("worker.emptyBeforeStop"),
      tooShort(
        "worker.terminationGracePeriodSeconds",
        ...[DRAIN_DELAY_MS, DRAIN_TIMEOUT_MS, DRAIN_DELAY_MS, DRAIN_TIMEOUT_MS],
      ),
    ),
    message:
      "worker.terminationGracePeriodSeconds (%s) contradicts worker.emptyBeforeStop (true), settings.CT_DRAIN_DELAY_MS (%s) and settings.CT_DRAIN_TIMEOUT_MS (%s): the hook before the stop and the stop may each take the sum of the last two. Raise the first above twice the sum, or lower the last two.",
    args: [grace("worker"), inJson(DRAIN_DELAY_MS), inJson(DRAIN_TIMEOUT_MS)],
  },
  {
    when: call(
      "and",
      not(value("worker.emptyBeforeStop")),
      tooShort("worker.terminationGracePeriodSeconds", DRAIN_DELAY_MS, DRAIN_TIMEOUT_MS),
    ),
    message:
      "worker.terminationGracePeriodSeconds (%s) contradicts settings.CT_DRAIN_DELAY_MS (%s) and settings.CT_DRAIN_TIMEOUT_MS (%s): Kubernetes would kill a worker while it hands sessions over. Raise the first above the sum of the others, or lower these.",
    args: [grace("worker"), inJson(DRAIN_DELAY_MS), inJson(DRAIN_TIMEOUT_MS)],
  },
  {
    when: tooShort(
      "balancer.terminationGracePeriodSeconds",
      call("mul", int("balancer.preStopSeconds"), literal(1000)),
      DRAIN_DELAY_MS,
      DRAIN_TIMEOUT_MS,
    ),
    message:
      "balancer.terminationGracePeriodSeconds (%s) contradicts balancer.preStopSeconds (%s), settings.CT_DRAIN_DELAY_MS (%s) and settings.CT_DRAIN_TIMEOUT_MS (%s): Kubernetes would kill a balancer while it closes connections. Raise the first above the sum of the others, or lower these.",
    args: [
      grace("balancer"),
      call("toJson", int("balancer.preStopSeconds")),
      inJson(DRAIN_DELAY_MS),
      inJson(DRAIN_TIMEOUT_MS),
    ],
  },
  {
    when: call("and", value("gateway.enabled"), not(value("gateway.parentRefs"))),
    message:
      "gateway.enabled (true) contradicts gateway.parentRefs (empty): the route would belong to no Gateway. Set gateway.parentRefs to your Gateway, or gateway.enabled to false.",
    args: [],
  },
  ...(["gateway", "ingress"] as const).map((front) => ({
    when: call("and", value(`${front}.enabled`), not(value(`${front}.hosts`))),
    message: `${front}.enabled (true) contradicts ${front}.hosts (empty): it would catch the requests of every host. Set ${front}.hosts, or ${front}.enabled to false.`,
    args: [],
  })),
  {
    when: call("and", value("autoscaling.tolerance"), equals("autoscaling.mode", "none")),
    message:
      "autoscaling.tolerance (%s) contradicts autoscaling.mode (none): nothing scales the workers. Set autoscaling.mode to keda or hpa, or remove autoscaling.tolerance.",
    args: [value("autoscaling.tolerance")],
  },
];

function int(path: string): Expression {
  return call("int", value(path));
}

function grace(program: string): Expression {
  return call("toJson", int(`${program}.terminationGracePeriodSeconds`));
}

function inJson(expression: Expression): Expression {
  return call("toJson", expression);
}

/** Whether these durations in ms leave no margin within the seconds that a pod has to end. */
function tooShort(path: string, ...durations: readonly Expression[]): Expression {
  const needed = call("add", ...durations, literal(GRACE_MARGIN_MS));
  return call("lt", call("mul", int(path), literal(1000)), needed);
}

/** The messages for certain values; empty if they fit together. */
export function contradictionsOf(context: Context): string[] {
  return CONTRADICTIONS.filter(({ when }) => isTrue(evaluate(when, context))).map(
    ({ message, args }) => {
      const rest = args.map((arg) => asText(evaluate(arg, context)));
      return message.replace(/%s/g, () => rest.shift() ?? "");
    },
  );
}
