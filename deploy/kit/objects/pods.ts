/** What the pods of balancers and workers have in common. */
import { call, type Expression, not, value } from "../model/expression.ts";
import {
  count,
  type Fields,
  fields,
  given,
  inChart,
  type Node,
  note,
  Part,
  spread,
  text,
  when,
} from "../model/node.ts";
import type { Program } from "../values/program.ts";
import { FULLNAME, IMAGE, nameExpression, STATUS_PORT, selectorLabels } from "./names.ts";

/** The ConfigMap and the Secret of kustomize's overlays. */
const OVERLAY_NAME = "codetogether";
export const SETTINGS_NAME: Expression = {
  kind: "fixed",
  inBase: OVERLAY_NAME,
  inChart: nameExpression("settings"),
};

/** The pod template of a program; `env`, `lifecycle`, `port` and notes are what differs. */
export function podTemplate(options: {
  readonly program: Program;
  readonly port: { readonly name: string; readonly containerPort: number };
  readonly env?: readonly Node[];
  readonly lifecycle: Part;
  readonly graceNote: string;
  readonly dataNote: string;
}): Fields {
  const { program } = options;
  const own = (path: string): string => `${program}.${path}`;
  return fields(
    {
      metadata: fields(
        {
          labels: fields(
            ...selectorLabels(program).parts,
            spread("commonLabels"),
            spread(own("podLabels")),
          ),
        },
        ...podAnnotations(own("podAnnotations")),
      ),
    },
    {
      spec: fields(
        { automountServiceAccountToken: false, enableServiceLinks: false },
        note(options.graceNote),
        {
          terminationGracePeriodSeconds: count(value(own("terminationGracePeriodSeconds"))),
          securityContext: fields(
            note("Any user id works, with group 0 or 1000."),
            { runAsNonRoot: true },
            when(not(value("openshift")), {
              runAsUser: count(value("runAsUser")),
              runAsGroup: count(value("runAsGroup")),
              fsGroup: count(value("fsGroup")),
            }),
            { seccompProfile: { type: "RuntimeDefault" } },
          ),
        },
        ...serviceAccount(),
        given("imagePullSecrets", "imagePullSecrets"),
        given("nodeSelector", own("nodeSelector")),
        given("affinity", own("affinity")),
        given("tolerations", own("tolerations")),
        when(value(own("priorityClassName")), {
          priorityClassName: text(value(own("priorityClassName"))),
        }),
        ...spreading(program),
        given("initContainers", own("extraInitContainers")),
        {
          containers: [container(options), spread(own("extraContainers"))],
          volumes: [
            note(options.dataNote),
            { name: "data", emptyDir: { sizeLimit: "64Mi" } },
            { name: "tmp", emptyDir: { sizeLimit: "16Mi" } },
            spread(own("extraVolumes")),
          ],
        },
      ),
    },
  );
}

/** In the chart, pods are replaced when a setting changes; kustomize has a hash in the ConfigMap's name for that. */
function podAnnotations(path: string): Part[] {
  const hash = call("sha256sum", call("toJson", value("settings")));
  const inRelease = { annotations: fields({ "checksum/settings": text(hash) }, spread(path)) };
  return [inChart(inRelease)];
}

function serviceAccount(): Part[] {
  const named = call("or", value("serviceAccount.create"), value("serviceAccount.name"));
  return [when(named, { serviceAccountName: text(SERVICE_ACCOUNT_NAME) })];
}

export const SERVICE_ACCOUNT_NAME = call("default", FULLNAME, value("serviceAccount.name"));

function spreading(program: Program): Part[] {
  const path = `${program}.topologySpreadConstraints`;
  const usual = {
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels: selectorLabels(program) },
  };
  return [
    given("topologySpreadConstraints", path),
    when(not(value(path)), { topologySpreadConstraints: [usual] }),
  ];
}

function container(options: Parameters<typeof podTemplate>[0]): Fields {
  const { program, port, env = [] } = options;
  return fields(
    {
      name: program,
      image: text(IMAGE_NAME),
      imagePullPolicy: text(value("image.pullPolicy")),
      command: [`ct-${program}`],
    },
    ...environment(program, env),
    {
      envFrom: [
        { configMapRef: { name: text(SETTINGS_NAME) } },
        when(value("existingSecret"), { secretRef: { name: text(value("existingSecret")) } }),
      ],
      ports: [port, { name: "status", containerPort: STATUS_PORT }],
    },
    note("Liveness checks only the process: a restart would not bring a store back."),
    {
      startupProbe: { ...probe("live"), periodSeconds: 1, failureThreshold: 60 },
      livenessProbe: {
        ...probe("live"),
        periodSeconds: 10,
        timeoutSeconds: 3,
        failureThreshold: 3,
      },
      readinessProbe: {
        ...probe("ready"),
        periodSeconds: 2,
        timeoutSeconds: 2,
        failureThreshold: 2,
      },
    },
    options.lifecycle,
    given("resources", `${program}.resources`),
    {
      securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      },
      volumeMounts: [
        { name: "data", mountPath: "/var/lib/codetogether" },
        { name: "tmp", mountPath: "/tmp" },
        spread(`${program}.extraVolumeMounts`),
      ],
    },
  );
}

/** Kustomize replaces the name of the image in overlays. */
const IMAGE_NAME: Expression = { kind: "fixed", inBase: "codetogether-edge", inChart: IMAGE };

function probe(state: "live" | "ready"): { readonly [key: string]: Node } {
  return { httpGet: { path: `/health/${state}`, port: "status" } };
}

/** Variables with secrets of their own, and those of the program. No `env:` without any: an empty field would be null. */
function environment(program: Program, own: readonly Node[]): readonly (Part | { env: Node })[] {
  const extra = `${program}.extraEnv`;
  const secrets = [
    fromSecret("CT_SECRET", "secret"),
    when(value("redis.url"), { name: "CT_REDIS_URL", value: text(value("redis.url")) }),
    fromSecret("CT_REDIS_URL", "redis"),
    fromSecret("CT_AUTOSCALE_TOKEN", "autoscaling.token"),
  ];
  const env = { env: [...own, ...secrets, spread(extra)] };
  if (own.some((item) => !(item instanceof Part))) return [env];
  const paths = ["secret.existingSecret", "redis.url", "redis.existingSecret"];
  const any = [...paths, "autoscaling.token.existingSecret", extra].map(value);
  return [when(call("or", ...any), env)];
}

function fromSecret(variable: string, path: string): Part {
  const secret = value(`${path}.existingSecret`);
  return when(secret, {
    name: variable,
    valueFrom: { secretKeyRef: { name: text(secret), key: text(value(`${path}.key`)) } },
  });
}
