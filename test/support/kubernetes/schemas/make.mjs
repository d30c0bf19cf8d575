// Makes the schemas of this folder from the types of npm packages (see README.md):
//
//     node test/support/kubernetes/schemas/make.mjs FOLDER
//
// FOLDER is where the packages are installed. Plain JavaScript: it runs by hand, with packages that the project does not have.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

/** Of each schema file: the npm package, and the kinds that the kit uses. */
const SOURCES = {
  kubernetes: {
    pack: "kubernetes-models",
    used: {
      v1: ["ConfigMap", "Namespace", "Secret", "Service", "ServiceAccount"],
      "apps/v1": ["Deployment", "StatefulSet"],
      "autoscaling/v2": ["HorizontalPodAutoscaler"],
      "networking.k8s.io/v1": ["Ingress", "NetworkPolicy"],
      "policy/v1": ["PodDisruptionBudget"],
    },
  },
  "gateway-api": {
    pack: "@kubernetes-models/gateway-api",
    used: { "gateway.networking.k8s.io/v1": ["HTTPRoute"] },
  },
  keda: {
    pack: "@kubernetes-models/keda",
    used: { "keda.sh/v1alpha1": ["ScaledObject", "TriggerAuthentication"] },
  },
  "prometheus-operator": {
    pack: "@kubernetes-models/prometheus-operator",
    used: { "monitoring.coreos.com/v1": ["PodMonitor"] },
  },
};

const folder = resolve(process.argv[2] ?? ".");
const { createGenerator } = createRequire(join(folder, "package.json"))("ts-json-schema-generator");

const tsconfig = join(folder, "tsconfig.json");
const compilerOptions = { module: "nodenext", moduleResolution: "nodenext", strict: true };
writeFileSync(tsconfig, JSON.stringify({ compilerOptions }));

for (const [name, { pack, used }] of Object.entries(SOURCES)) {
  const kinds = {};
  const definitions = {};
  for (const [apiVersion, names] of Object.entries(used)) {
    for (const kind of names) {
      const path = join(folder, "node_modules", pack, apiVersion, `${kind}.d.ts`);
      const schema = createGenerator({ path, tsconfig, skipTypeCheck: true }).createSchema(
        `I${kind}`,
      );
      kinds[`${apiVersion}/${kind}`] = schema.$ref;
      Object.assign(definitions, schema.definitions);
    }
  }
  for (const definition of Object.values(definitions)) trim(definition);
  const needed = reachable(kinds, definitions);
  const kept = Object.fromEntries(Object.entries(definitions).filter(([key]) => needed.has(key)));
  const text = JSON.stringify({ kinds, definitions: kept }, null, 1);
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${text}\n`);
}

/** Removes what is only for readers, and what only the cluster writes. */
function trim(schema) {
  if (typeof schema.description === "string") delete schema.description;
  if (schema.properties?.spec !== undefined) delete schema.properties.status;
  for (const value of Object.values(schema)) {
    if (typeof value !== "object" || value === null) continue;
    for (const part of [value, ...Object.values(value)]) {
      if (typeof part === "object" && part !== null) trim(part);
    }
  }
}

/** The names of the definitions that a kind refers to, directly or not. */
function reachable(kinds, definitions) {
  const seen = new Set();
  const waiting = Object.values(kinds);
  for (let ref = waiting.pop(); ref !== undefined; ref = waiting.pop()) {
    const key = decodeURIComponent(ref.slice("#/definitions/".length));
    if (seen.has(key)) continue;
    seen.add(key);
    const refs = JSON.stringify(definitions[key]).matchAll(/"\$ref":"([^"]+)"/g);
    for (const [, other] of refs) waiting.push(other);
  }
  return seen;
}
