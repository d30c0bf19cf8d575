/** Kustomize's objects against Kubernetes' schemas and, where kubectl is installed, the overlays and components as it builds them. */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type KubernetesObject, parseObjects } from "../support/helm/chart.ts";
import { isInstalled, run } from "../support/helm/installed.ts";
import { errorsOf } from "../support/kubernetes/schemas.ts";
import { tempFolder } from "../support/temp-folder.ts";

const FOLDER = fileURLToPath(new URL("../../deploy/kubernetes", import.meta.url));

test("every object of the kustomize files is valid for Kubernetes", () => {
  const files = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".yaml") && !file.endsWith("kustomization.yaml"),
  );
  const errors = files
    .filter((file) => !OTHERS.test(file))
    .flatMap((file) =>
      parseObjects(readFileSync(join(FOLDER, file), "utf8")).flatMap((object) =>
        errorsOf(object).map((error) => `${file}: ${error}`),
      ),
    );
  expect(errors).toEqual([]);
});

/** A patch is not a whole object, and Google's own kinds have no schema here. */
const OTHERS = /^components\/(?:prepare-downscale\/worker|gke\/backend-config)\.yaml$/;

test("the schemas refuse fields that do not exist, wrong types, and kinds without a schema", () => {
  const service = { apiVersion: "v1", kind: "Service", metadata: { name: "x" } };
  expect(errorsOf(service)).toEqual([]);
  expect(errorsOf({ ...service, spec: { port: [] } } as typeof service)).not.toEqual([]);
  expect(errorsOf({ ...service, spec: { ports: "80" } } as typeof service)).not.toEqual([]);
  expect(errorsOf({ ...service, kind: "Servise" })).toEqual(["there is no schema for v1/Servise"]);
});

describe.runIf(isInstalled("kubectl"))("with kubectl kustomize", () => {
  const copy = tempFolder();
  cpSync(FOLDER, copy, { recursive: true });

  test("the overlays are valid, and nothing has a number of replicas that an autoscaler sets", () => {
    expect(build("overlays/trial").map(shortName)).toContain("Deployment/redis");
    const production = build("overlays/production");
    expect(production.map(shortName)).toContain("HTTPRoute/balancer");
    expect(replicasOf(production)).toEqual({ balancer: 3, worker: 4 });

    const autoscaled = build("overlays/autoscaled");
    expect(autoscaled.map(shortName)).toContain("ScaledObject/worker");
    expect(replicasOf(autoscaled)).toEqual({ balancer: 3, worker: undefined });
  });

  test("components are added to a copy of the overlay for production", () => {
    const objects = build(layer("all", "hpa", "pod-monitor", "prepare-downscale", "openshift"));
    expect(replicasOf(objects)).toEqual({ balancer: 3, worker: undefined });
    const worker = objects.find((object) => shortName(object) === "StatefulSet/worker");
    expect(worker?.metadata).toMatchObject({
      labels: { "grafana.com/prepare-downscale": "true" },
      annotations: {
        "grafana.com/prepare-downscale-http-path": "prepare-downscale",
        "grafana.com/prepare-downscale-http-port": "1081",
      },
    });
    const pod = podOf(worker);
    expect(pod.securityContext).toEqual({
      runAsNonRoot: true,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(pod.containers[0]?.env).toContainEqual({ name: "CT_PREPARE_DOWNSCALE", value: "on" });
    expect(pod.containers[0]?.env).toHaveLength(3);
  });

  test("KEDA's token is that of the Secret of the overlay", () => {
    const objects = build(layer("token", "keda-token"));
    const authentication = objects.find(({ kind }) => kind === "TriggerAuthentication");
    expect(authentication).toMatchObject({
      spec: { secretTargetRef: [{ name: "codetogether", key: "CT_AUTOSCALE_TOKEN" }] },
    });
  });

  test("the components for load balancers of clouds change the Ingress", () => {
    const production = join(copy, "overlays/production/kustomization.yaml");
    const withIngress = readFileSync(production, "utf8").replace(
      "- httproute.yaml",
      "- ingress.yaml",
    );
    for (const [cloud, expected] of [
      ["alb", { spec: { ingressClassName: "alb" } }],
      ["gke", { metadata: { annotations: { "kubernetes.io/ingress.class": "gce" } } }],
    ] as const) {
      const folder = join(copy, "overlays", cloud);
      cpSync(join(copy, "overlays/production"), folder, { recursive: true });
      const components = `components: [../../components/${cloud}]\n`;
      writeFileSync(join(folder, "kustomization.yaml"), withIngress + components);
      const objects = build(`overlays/${cloud}`);
      expect(objects.find(({ kind }) => kind === "Ingress")).toMatchObject(expected);
      const balancer = objects.find((object) => shortName(object) === "Deployment/balancer");
      expect(podOf(balancer).terminationGracePeriodSeconds).toBe(120);
    }
  });

  /** A layer of its own on top of the overlay for production. */
  function layer(name: string, ...components: readonly string[]): string {
    const folder = join(copy, "overlays", name);
    mkdirSync(folder);
    const list = components.map((component) => `../../components/${component}`).join(", ");
    writeFileSync(
      join(folder, "kustomization.yaml"),
      `namespace: codetogether\nresources: [../production]\ncomponents: [${list}]\n`,
    );
    return `overlays/${name}`;
  }

  /** The objects, which must be valid. */
  function build(path: string): KubernetesObject[] {
    const objects = parseObjects(run("kubectl", "kustomize", join(copy, path)));
    const known = objects.filter(({ kind }) => kind !== "BackendConfig");
    expect(known.flatMap(errorsOf)).toEqual([]);
    return objects;
  }
});

function shortName({ kind, metadata }: KubernetesObject): string {
  return `${kind}/${metadata.name}`;
}

function replicasOf(objects: readonly KubernetesObject[]): Record<string, unknown> {
  const programs = objects.filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet");
  return Object.fromEntries(
    programs.map((object) => [
      object.metadata.name,
      (object as unknown as { spec: { replicas?: number } }).spec.replicas,
    ]),
  );
}

interface Pod {
  readonly securityContext: object;
  readonly terminationGracePeriodSeconds: number;
  readonly containers: readonly { readonly env: readonly { readonly name: string }[] }[];
}

function podOf(object: KubernetesObject | undefined): Pod {
  return (object as unknown as { spec: { template: { spec: Pod } } }).spec.template.spec;
}
