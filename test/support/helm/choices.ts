/** Choices of the chart's values: what production uses, and one for each optional value. */
import type { Value } from "../../../deploy/kit/model/expression.ts";
import { REMOVED_SETTINGS } from "../../../shared/settings/removed-settings.ts";

/** Values by their path with dots. */
export type Choice = Readonly<Record<string, Value>>;

export const LEAST: Choice = { existingSecret: "codetogether" };

export const PRODUCTION: Choice = {
  "image.repository": "registry.example.com/codetogether-edge",
  "image.digest": `sha256:${"a".repeat(64)}`,
  imagePullSecrets: [{ name: "registry" }],
  settings: {
    CT_SERVER_URL: "https://edge.example.com",
    CT_TRUSTED_PROXIES: "10.0.0.0/8",
    CT_LOGIN_SIMPLE: "false",
    CT_KEEPALIVE_TIMEOUT_MS: "3660000",
  },
  "secret.existingSecret": "edge-secret",
  "redis.existingSecret": "edge-redis",
  "balancer.replicas": 3,
  "balancer.affinity": { podAntiAffinity: {} },
  "worker.prepareDownscale": true,
  "worker.priorityClassName": "high",
  "autoscaling.mode": "keda",
  "autoscaling.minReplicas": 4,
  "autoscaling.maxReplicas": 20,
  "autoscaling.tolerance": "0.01",
  "autoscaling.token.existingSecret": "edge-autoscale",
  "gateway.enabled": true,
  "gateway.hosts": ["edge.example.com", "edge.example.org"],
  "gateway.parentRefs": [{ name: "public", namespace: "gateways", sectionName: "https" }],
  "podMonitor.enabled": true,
  "podMonitor.labels": { release: "prometheus" },
};

const KEDA: Choice = { "autoscaling.mode": "keda" };
const GATEWAY: Choice = {
  "gateway.enabled": true,
  "gateway.hosts": ["edge.example.com"],
  "gateway.parentRefs": [{ name: "gateway" }],
};
const INGRESS: Choice = { "ingress.enabled": true, "ingress.hosts": ["edge.example.com"] };
const LABELS: Value = { team: "on" };
const MOUNT: Value = [{ name: "plugins", mountPath: "/clients" }];

/** For each value one choice in which it has an effect, beside `LEAST`. */
export const OPTIONAL: Readonly<Record<string, Choice>> = {
  "image.repository": { "image.repository": "registry.example.com/edge" },
  "image.tag": { "image.tag": "1.2.3" },
  "image.digest": { "image.digest": "sha256:00" },
  "image.pullPolicy": { "image.pullPolicy": "Always" },
  imagePullSecrets: { imagePullSecrets: [{ name: "registry" }] },
  fullnameOverride: { fullnameOverride: "other" },
  commonLabels: { commonLabels: LABELS },
  commonAnnotations: { commonAnnotations: { note: "a: b" } },
  settings: { settings: { CT_LOGIN_SIMPLE: "no", CT_MAX_CONNECTIONS: "1000000" } },
  existingSecret: { existingSecret: "other" },
  "secret.existingSecret": { "secret.existingSecret": "one" },
  "secret.key": { "secret.existingSecret": "one", "secret.key": "key" },
  "redis.url": { "redis.url": "redis://redis:6379" },
  "redis.existingSecret": { "redis.existingSecret": "redis" },
  "redis.key": { "redis.existingSecret": "redis", "redis.key": "url" },
  openshift: { openshift: true },
  runAsUser: { runAsUser: 1_000_660_000 },
  runAsGroup: { runAsGroup: 0 },
  fsGroup: { fsGroup: 0 },
  "serviceAccount.create": { "serviceAccount.create": true },
  "serviceAccount.name": { "serviceAccount.name": "edge-account" },
  "serviceAccount.annotations": {
    "serviceAccount.create": true,
    "serviceAccount.annotations": { "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/edge" },
  },
  ...ofProgram("balancer"),
  ...ofProgram("worker"),
  "balancer.preStopSeconds": { "balancer.preStopSeconds": 0 },
  "balancer.service.type": { "balancer.service.type": "LoadBalancer" },
  "balancer.service.port": { ...GATEWAY, "balancer.service.port": 80 },
  "balancer.service.annotations": { "balancer.service.annotations": { note: "yes" } },
  "worker.emptyBeforeStop": { "worker.emptyBeforeStop": false },
  "worker.prepareDownscale": { "worker.prepareDownscale": true },
  "gateway.enabled": GATEWAY,
  "gateway.hosts": { ...GATEWAY, "gateway.hosts": ["a.example.com", "b.example.com"] },
  "gateway.parentRefs": { ...GATEWAY, "gateway.parentRefs": [{ name: "other" }] },
  "gateway.annotations": { ...GATEWAY, "gateway.annotations": { note: "1" } },
  "gateway.requestTimeout": { ...GATEWAY, "gateway.requestTimeout": "" },
  "ingress.enabled": INGRESS,
  "ingress.className": { ...INGRESS, "ingress.className": "traefik" },
  "ingress.hosts": { ...INGRESS, "ingress.hosts": ["a.example.com", "b.example.com"] },
  "ingress.tlsSecret": { ...INGRESS, "ingress.tlsSecret": "edge-tls" },
  "ingress.annotations": {
    ...INGRESS,
    "ingress.annotations": { "haproxy.org/timeout-tunnel": "1h" },
  },
  "autoscaling.mode": { "autoscaling.mode": "hpa" },
  "autoscaling.minReplicas": { ...KEDA, "autoscaling.minReplicas": 3 },
  "autoscaling.maxReplicas": { ...KEDA, "autoscaling.maxReplicas": 12 },
  "autoscaling.tolerance": { "autoscaling.mode": "hpa", "autoscaling.tolerance": "0.01" },
  "autoscaling.pollingIntervalSeconds": { ...KEDA, "autoscaling.pollingIntervalSeconds": 5 },
  "autoscaling.token.existingSecret": { ...KEDA, "autoscaling.token.existingSecret": "token" },
  "autoscaling.token.key": {
    ...KEDA,
    "autoscaling.token.existingSecret": "token",
    "autoscaling.token.key": "key",
  },
  "networkPolicy.enabled": { "networkPolicy.enabled": false },
  "networkPolicy.monitoringNamespace": { "networkPolicy.monitoringNamespace": "" },
  "networkPolicy.kedaNamespace": { "networkPolicy.kedaNamespace": "scalers" },
  "podMonitor.enabled": { "podMonitor.enabled": true },
  "podMonitor.labels": { "podMonitor.enabled": true, "podMonitor.labels": LABELS },
  "podMonitor.interval": { "podMonitor.enabled": true, "podMonitor.interval": "60s" },
};

function ofProgram(program: "balancer" | "worker"): Record<string, Choice> {
  const budget = `${program}.podDisruptionBudget`;
  const one = (path: string, value: Value): [string, Choice] => [
    `${program}.${path}`,
    { [`${program}.${path}`]: value },
  ];
  return Object.fromEntries([
    one("replicas", 5),
    one("resources", { requests: { cpu: 1 } }),
    one("terminationGracePeriodSeconds", 3600),
    one("annotations", { note: "on" }),
    one("labels", LABELS),
    one("podAnnotations", { note: "123" }),
    one("podLabels", LABELS),
    one("nodeSelector", { "kubernetes.io/arch": "arm64" }),
    one("affinity", { nodeAffinity: {} }),
    one("tolerations", [{ key: "edge", operator: "Exists", effect: "NoSchedule" }]),
    one("topologySpreadConstraints", [
      { maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule" },
    ]),
    one("priorityClassName", "high"),
    one("extraEnv", [{ name: "CT_LOG_LEVEL", value: "debug" }]),
    one("extraVolumes", [{ name: "plugins", emptyDir: {} }]),
    one("extraVolumeMounts", MOUNT),
    one("extraContainers", [{ name: "shipper", image: "shipper:1" }]),
    one("extraInitContainers", [{ name: "fetch", image: "fetch:1" }]),
    one("podDisruptionBudget.enabled", false),
    [`${budget}.maxUnavailable`, { [`${budget}.maxUnavailable`]: 0 }],
    [`${budget}.minAvailable`, { [`${budget}.minAvailable`]: "50%" }],
  ]);
}

/** Values that contradict each other, and the two that the message must name. */
export const CONTRADICTORY: readonly (readonly [Choice, first: string, second: string])[] = [
  [{ ...LEAST, ...KEDA, "worker.replicas": 3 }, "worker.replicas (3)", "autoscaling.mode (keda)"],
  [
    { ...LEAST, "autoscaling.minReplicas": 11 },
    "autoscaling.maxReplicas (10)",
    "autoscaling.minReplicas (11)",
  ],
  [
    { ...LEAST, ...KEDA, "networkPolicy.kedaNamespace": "" },
    "autoscaling.mode (keda)",
    "networkPolicy.kedaNamespace",
  ],
  [
    { ...LEAST, "podMonitor.enabled": true, "networkPolicy.monitoringNamespace": "" },
    "podMonitor.enabled (true)",
    "networkPolicy.monitoringNamespace",
  ],
  [
    { ...LEAST, "redis.url": "redis://r:6379", "redis.existingSecret": "r" },
    "redis.url contradicts",
    "redis.existingSecret (r)",
  ],
  [{ "secret.existingSecret": "s" }, "redis.url (empty)", "redis.existingSecret (empty)"],
  [{ "redis.url": "redis://r:6379" }, "secret.existingSecret (empty)", "existingSecret (empty)"],
  [
    { "secret.existingSecret": "s", "redis.url": "redis://u:word@r" },
    "redis.url (with a password)",
    "redis.existingSecret (empty)",
  ],
  ...[
    ...["CT_ACME_EAB", "CT_SECRET", "CT_SECRET_PREVIOUS", "CT_LOGIN_API_KEY"],
    "CT_OIDC_CLIENT_SECRET",
    ...["CT_OIDC_PROVIDERS", "CT_DASHBOARD_PASSWORD", "CT_DASHBOARD_TOKENS", "CT_LOGS_PASSWORD"],
    "CT_AUTOSCALE_TOKEN",
  ].map(
    (name) =>
      [
        { ...LEAST, settings: { [name]: "x" } },
        `settings.${name}`,
        "existingSecret (codetogether)",
      ] as const,
  ),
  [
    { ...LEAST, settings: { CT_REDIS_URL: "redis://a" } },
    "settings.CT_REDIS_URL contradicts",
    "redis.url",
  ],
  [
    { ...LEAST, "image.tag": "1", "image.digest": "sha256:0" },
    "image.tag (1)",
    "image.digest (sha256:0)",
  ],
  ...["runAsUser", "runAsGroup", "fsGroup"].map(
    (path) =>
      [{ ...LEAST, openshift: true, [path]: 7 }, `${path} (7)`, "openshift (true)"] as const,
  ),
  [
    { ...LEAST, "serviceAccount.annotations": { a: "b" } },
    "serviceAccount.annotations",
    "serviceAccount.create (false)",
  ],
  ...["balancer", "worker"].map((program) => {
    const path = `${program}.podDisruptionBudget`;
    const choice = { ...LEAST, [`${path}.minAvailable`]: 0, [`${path}.maxUnavailable`]: "10%" };
    return [choice, `${path}.minAvailable (0)`, `${path}.maxUnavailable ("10%")`] as const;
  }),
  [
    {
      ...LEAST,
      settings: { CT_DRAIN_TIMEOUT_MS: "600000" },
      "balancer.terminationGracePeriodSeconds": 700,
    },
    "worker.terminationGracePeriodSeconds (330)",
    "settings.CT_DRAIN_TIMEOUT_MS (600000)",
  ],
  [
    { ...LEAST, "worker.emptyBeforeStop": false, "worker.terminationGracePeriodSeconds": 60 },
    "worker.terminationGracePeriodSeconds (60)",
    "settings.CT_DRAIN_TIMEOUT_MS (60000)",
  ],
  [
    { ...LEAST, "worker.terminationGracePeriodSeconds": 100 },
    "worker.terminationGracePeriodSeconds (100)",
    "worker.emptyBeforeStop (true)",
  ],
  ...["CT_PORT", "CT_WORKER_PORT", "CT_STATUS_PORT", "CT_WORKER_URL"].map(
    (name) => [{ ...LEAST, settings: { [name]: "9000" } }, `settings.${name} (9000)`, ""] as const,
  ),
  ...Object.values(REMOVED_SETTINGS).map(
    ({ env, instead }) =>
      [{ ...LEAST, settings: { [env]: "9000" } }, `settings.${env} contradicts`, instead] as const,
  ),
  [
    { ...LEAST, settings: { CT_PREPARE_DOWNSCALE: "on" } },
    "settings.CT_PREPARE_DOWNSCALE (on)",
    "worker.prepareDownscale",
  ],
  [
    { ...LEAST, "balancer.preStopSeconds": 40 },
    "balancer.terminationGracePeriodSeconds (90)",
    "balancer.preStopSeconds (40)",
  ],
  [
    { ...LEAST, "gateway.enabled": true, "gateway.hosts": ["a"] },
    "gateway.enabled (true)",
    "gateway.parentRefs (empty)",
  ],
  [
    { ...LEAST, "gateway.enabled": true, "gateway.parentRefs": [{ name: "g" }] },
    "gateway.enabled (true)",
    "gateway.hosts (empty)",
  ],
  [{ ...LEAST, "ingress.enabled": true }, "ingress.enabled (true)", "ingress.hosts (empty)"],
  [
    { ...LEAST, "autoscaling.tolerance": "0.01" },
    "autoscaling.tolerance (0.01)",
    "autoscaling.mode (none)",
  ],
];
