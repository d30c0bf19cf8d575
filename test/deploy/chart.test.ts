/**
 * The Helm chart: what it renders for each choice of values, compared with the source that it is made from, with Kubernetes'
 * schemas and, where it is installed, with Helm itself.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { CONTRADICTIONS, contradictionsOf } from "../../deploy/kit/checks/contradictions.ts";
import type { Context } from "../../deploy/kit/model/expression.ts";
import { evaluate, isTrue } from "../../deploy/kit/model/expression.ts";
import { resolve, toPlain } from "../../deploy/kit/model/node.ts";
import { TEMPLATES } from "../../deploy/kit/outputs/chart.ts";
import { baseContext, existing, KUSTOMIZE_FILES } from "../../deploy/kit/outputs/kustomize.ts";
import { nest, VALUES, valuesWith } from "../../deploy/kit/values/values.ts";
import { type KubernetesObject, loadChart, parseObjects } from "../support/helm/chart.ts";
import {
  type Choice,
  CONTRADICTORY,
  LEAST,
  OPTIONAL,
  PRODUCTION,
} from "../support/helm/choices.ts";
import { RenderFailure } from "../support/helm/evaluate.ts";
import { isInstalled, run } from "../support/helm/installed.ts";
import { errorsOf } from "../support/kubernetes/schemas.ts";
import { tempFolder } from "../support/temp-folder.ts";

const FOLDER = fileURLToPath(new URL("../../deploy/helm/codetogether-edge", import.meta.url));
const RELEASE = { name: "release", namespace: "somewhere" };
const chart = loadChart(FOLDER);
/** By choice: several tests look at the same ones. */
const renderings = new Map<string, KubernetesObject[]>();

const choices: readonly (readonly [name: string, choice: Choice])[] = [
  ["least", LEAST],
  ["production", PRODUCTION],
  ...Object.entries(OPTIONAL).map(([path, choice]) => [path, { ...LEAST, ...choice }] as const),
];

// --- every choice ---

test("every object of every choice is valid for Kubernetes", () => {
  const errors = choices.flatMap(([name, choice]) =>
    render(choice).flatMap((object) =>
      errorsOf(object).map((error) => `${name}: ${object.metadata.name}: ${error}`),
    ),
  );
  expect(errors).toEqual([]);
});

test("the templates render what their source says", () => {
  for (const [name, choice] of choices) {
    expect(sorted(render(choice)), name).toEqual(sorted(objectsOfSource(choice)));
  }
});

test("every value has an effect", () => {
  expect(Object.keys(OPTIONAL).toSorted()).toEqual(VALUES.map(({ path }) => path).toSorted());
  for (const [path, choice] of Object.entries(OPTIONAL)) {
    const { [path]: _, ...without } = { ...LEAST, ...choice };
    const before = outcome(path === "existingSecret" ? LEAST : without);
    expect(outcome({ ...LEAST, ...choice }), path).not.toEqual(before);
  }
});

test("the chart renders the objects of kustomize's base for the same values", () => {
  const files = Object.entries(KUSTOMIZE_FILES).filter(([path]) => path.startsWith("base/"));
  const base = files.flatMap(([, { objects, values }]) => {
    const context = baseContext(values);
    return existing(objects, context).map((body) => toPlain(resolve(body, context)));
  });
  const rendered = chart
    .render(LEAST, { name: "release", namespace: "codetogether" })
    .filter(({ kind }) => kind !== "ConfigMap");
  expect(sorted(rendered.map(withNamesOfBase))).toEqual(sorted(base as never));
});

/** Removes what the chart adds: the release in names and labels, and the hash of the settings. */
function withNamesOfBase(object: KubernetesObject): KubernetesObject {
  const ADDED = /^(?:app\.kubernetes\.io\/(?:instance|managed-by)|helm\.sh\/chart|checksum\/.*)$/;
  const text = JSON.stringify(object, (key, inner: unknown) => {
    if (ADDED.test(key)) return undefined;
    const isEmpty = typeof inner === "object" && inner !== null && key === "annotations";
    if (isEmpty && Object.keys(inner).every((name) => ADDED.test(name))) return undefined;
    return inner;
  });
  return JSON.parse(
    text
      .replaceAll('"release-settings"', '"codetogether"')
      .replaceAll('"codetogether-edge:0.2.0"', '"codetogether-edge"')
      .replaceAll('"release-', '"'),
  ) as KubernetesObject;
}

// --- autoscaling ---

test("the number of workers is set by the chart or by the autoscaler, never by both", () => {
  const replicas = (choice: Choice): unknown => specOf(choice, "StatefulSet")["replicas"];
  expect(replicas(LEAST)).toBe(2);
  expect(replicas({ ...LEAST, "worker.replicas": 5 })).toBe(5);
  for (const mode of ["keda", "hpa"]) {
    expect(replicas({ ...LEAST, "autoscaling.mode": mode })).toBeUndefined();
  }
});

test("KEDA asks the balancers of its release, and has a token if the values name one", () => {
  const open = { ...LEAST, "autoscaling.mode": "keda" };
  const metadata = {
    url: "http://release-balancer-status.somewhere.svc:1081/autoscale",
    valueLocation: "wanted",
    targetValue: "1",
  };
  const trigger = { type: "metrics-api", metricType: "AverageValue" };
  expect(specOf(open, "ScaledObject")["triggers"]).toEqual([{ ...trigger, metadata }]);

  const closed = { ...open, "autoscaling.token.existingSecret": "token" };
  expect(specOf(closed, "ScaledObject")["triggers"]).toEqual([
    {
      ...trigger,
      metadata: { ...metadata, authMode: "bearer" },
      authenticationRef: { name: "release-autoscale" },
    },
  ]);
  expect(specOf(closed, "TriggerAuthentication")).toEqual({
    secretTargetRef: [{ parameter: "token", name: "token", key: "CT_AUTOSCALE_TOKEN" }],
  });
});

test("workers are scaled away in one step, so that each session moves once", () => {
  const { behavior } = specOf(
    { ...LEAST, "autoscaling.mode": "hpa" },
    "HorizontalPodAutoscaler",
  ) as {
    behavior: { scaleDown: unknown };
  };
  expect(behavior.scaleDown).toEqual({
    stabilizationWindowSeconds: 60,
    policies: [{ type: "Percent", value: 100, periodSeconds: 60 }],
  });
  const { advanced } = specOf({ ...LEAST, "autoscaling.mode": "keda" }, "ScaledObject") as {
    advanced: { horizontalPodAutoscalerConfig: { behavior: unknown } };
  };
  expect(advanced.horizontalPodAutoscalerConfig.behavior).toEqual(behavior);
});

// --- what is refused ---

test("values that contradict each other are refused with a message that names both and says what to do", () => {
  for (const [choice, first, second] of CONTRADICTORY) {
    expect(() => render(choice)).toThrow(RenderFailure);
    const message = refusal(choice);
    expect(message).toContain(first);
    expect(message).toContain(second);
    expect(message).toMatch(/\. (?:Set|Remove|Raise|Put|Keep|Create) /);
    expect(contradictionsOf(contextOf(choice))[0]).toBe(message);
    // Of the URL of Redis, and of settings that are secret.
    expect(message).not.toMatch(/word@|\(x\)/);
  }
});

test("every contradiction has an example", () => {
  const without = CONTRADICTIONS.filter(
    ({ when }) => !CONTRADICTORY.some(([choice]) => isTrue(evaluate(when, contextOf(choice)))),
  );
  expect(without.map(({ message }) => message)).toEqual([]);
});

test("values that fit together contradict nothing", () => {
  for (const [name, choice] of choices) {
    expect(contradictionsOf(contextOf(choice)), name).toEqual([]);
  }
});

test("misspelled values and wrong types are refused", () => {
  expect(() => chart.render({ ...LEAST, worker: { replica: 3 } })).toThrow("additional properties");
  expect(() => chart.render({ ...LEAST, worker: { replicas: "3" } })).toThrow("/worker/replicas");
  expect(() => chart.render({ ...LEAST, settings: { CT_PORT: 1 } })).toThrow("/settings/CT_PORT");
  expect(() => chart.render({ ...LEAST, autoscaling: { mode: "on" } })).toThrow(
    "/autoscaling/mode",
  );
});

// --- notes ---

test("the notes say how to reach an edge that nothing leads to", () => {
  expect(chart.notes(LEAST, RELEASE)).toContain(
    "kubectl -n somewhere port-forward service/release-balancer 1080:1080",
  );
  expect(chart.notes(nest(Object.entries(PRODUCTION)), RELEASE)).not.toContain("port-forward");
});

// --- Helm itself ---

describe.runIf(isInstalled("helm"))("with Helm", () => {
  const folder = tempFolder();

  function helm(choice: Choice, verb: "lint" | "template"): string {
    const values = join(folder, "values.json");
    writeFileSync(values, JSON.stringify(nest(Object.entries(choice))));
    const place = ["--namespace", RELEASE.namespace, "--values", values];
    return verb === "lint"
      ? run("helm", "lint", FOLDER, "--strict", ...place)
      : run("helm", "template", RELEASE.name, FOLDER, ...place);
  }

  test("helm lint accepts the chart", () => {
    expect(helm(PRODUCTION, "lint")).toContain("0 chart(s) failed");
  });

  test("helm renders the same objects", () => {
    const SOME =
      /^(?:least|production|settings|commonLabels|runAsUser|.*minAvailable|ingress\.hosts)$/;
    for (const [name, choice] of choices.filter(([name]) => SOME.test(name))) {
      const rendered = parseObjects(helm(choice, "template"));
      expect(sorted(rendered), name).toEqual(sorted(render(choice)));
    }
  });

  test("helm refuses contradictory values with the same message", () => {
    const [choice] = CONTRADICTORY[0] ?? [LEAST];
    expect(() => helm(choice, "template")).toThrow(refusal(choice));
  });
});

// --- parts ---

function render(choice: Choice): KubernetesObject[] {
  const key = JSON.stringify(choice);
  const known = renderings.get(key);
  if (known !== undefined) return known;
  const objects = chart.render(nest(Object.entries(choice)), RELEASE);
  renderings.set(key, objects);
  return objects;
}

/** The objects, or why there are none. */
function outcome(choice: Choice): unknown {
  try {
    return sorted(render(choice));
  } catch (error) {
    if (error instanceof RenderFailure) return error.message;
    throw error;
  }
}

function refusal(choice: Choice): string {
  try {
    render(choice);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("it is not refused");
}

function specOf(choice: Choice, kind: string): Record<string, unknown> {
  const object = render(choice).find((one) => one.kind === kind);
  return (object as unknown as { spec: Record<string, unknown> }).spec;
}

function contextOf(choice: Choice): Context {
  return {
    target: "chart",
    values: valuesWith(choice),
    builtins: {
      "Release.Name": RELEASE.name,
      "Release.Namespace": RELEASE.namespace,
      "Release.Service": "Helm",
      "Chart.Name": "codetogether-edge",
      "Chart.Version": "0.2.0",
      "Chart.AppVersion": "0.2.0",
    },
  };
}

function objectsOfSource(choice: Choice): KubernetesObject[] {
  const context = contextOf(choice);
  return Object.values(TEMPLATES)
    .flatMap((objects) => existing(objects, context))
    .map((body) => toPlain(resolve(body, context)) as unknown as KubernetesObject);
}

function sorted(objects: readonly KubernetesObject[]): KubernetesObject[] {
  const nameOf = ({ kind, metadata }: KubernetesObject): string => `${kind}/${metadata.name}`;
  return objects.toSorted((a, b) => nameOf(a).localeCompare(nameOf(b)));
}
