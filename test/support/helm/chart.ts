/** Renders the chart as `helm template` does: values over the defaults, checked by the schema, then each template. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { parse, parseAllDocuments } from "yaml";
import { type Data, loadTemplates } from "./evaluate.ts";

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

export interface Chart {
  /** The objects for these values. Throws `RenderFailure` when the chart refuses them, as Helm does. */
  readonly render: (values: Values, release?: Release) => KubernetesObject[];
  readonly notes: (values: Values, release?: Release) => string;
}

interface Values {
  readonly [key: string]: unknown;
}

interface Release {
  readonly name: string;
  readonly namespace: string;
}

const RELEASE: Release = { name: "edge", namespace: "codetogether" };

export function loadChart(folder: string): Chart {
  const read = (path: string): string => readFileSync(join(folder, path), "utf8");
  const about = parse(read("Chart.yaml")) as { name: string; version: string; appVersion: string };
  const defaults = parse(read("values.yaml")) as Values;
  const isValid = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(
    JSON.parse(read("values.schema.json")) as object,
  );
  const files = readdirSync(join(folder, "templates")).toSorted();
  const templates = loadTemplates(
    Object.fromEntries(files.map((file) => [file, read(join("templates", file))])),
  );

  function rootOf(values: Values, { name, namespace }: Release): Data {
    const merged = merge(defaults, values);
    if (!isValid(merged)) {
      const errors = isValid.errors ?? [];
      throw new Error(errors.map((error) => `${error.instancePath} ${error.message}`).join("\n"));
    }
    return {
      Values: merged,
      Release: { Name: name, Namespace: namespace, Service: "Helm" },
      Chart: { Name: about.name, Version: about.version, AppVersion: about.appVersion },
    };
  }

  return {
    render: (values, release = RELEASE) => {
      const root = rootOf(values, release);
      return files
        .filter((file) => file.endsWith(".yaml"))
        .flatMap((file) => parseObjects(templates.render(file, root)));
    },
    notes: (values, release = RELEASE) => templates.render("NOTES.txt", rootOf(values, release)),
  };
}

/** The objects of a YAML text; refuses what is no YAML, and keys that are there twice. */
export function parseObjects(text: string): KubernetesObject[] {
  return parseAllDocuments(text, { version: "1.1" }).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw new Error(`${error.message}\n${text}`, { cause: error });
    const object = document.toJS() as KubernetesObject | null;
    return object === null ? [] : [object];
  });
}

/** As Helm: maps are merged, all else is replaced, and null removes a default. */
function merge(defaults: Values, values: Values): Values {
  const merged: Record<string, unknown> = { ...defaults };
  for (const [key, content] of Object.entries(values)) {
    const initial = merged[key];
    if (content === null) delete merged[key];
    else merged[key] = isMap(initial) && isMap(content) ? merge(initial, content) : content;
  }
  return merged;
}

function isMap(content: unknown): content is Values {
  return typeof content === "object" && content !== null && !Array.isArray(content);
}
