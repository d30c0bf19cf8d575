/** Checks Kubernetes objects against the schemas of this project: fields that do not exist, wrong types and missing fields. */
import { readFileSync } from "node:fs";
import { Ajv, type ValidateFunction } from "ajv";

interface SchemaFile {
  /** `apiVersion/kind`, and the reference to its definition. */
  readonly kinds: Readonly<Record<string, string>>;
  readonly definitions: object;
}

const FILES = ["kubernetes", "gateway-api", "keda", "prometheus-operator"] as const;
const validators = new Map<string, ValidateFunction>();

/** What is wrong with an object, one line each; empty if nothing is. */
export function errorsOf(object: { readonly apiVersion: string; readonly kind: string }): string[] {
  if (validators.size === 0) loadSchemas();
  const kind = `${object.apiVersion}/${object.kind}`;
  const isValid = validators.get(kind);
  if (isValid === undefined) return [`there is no schema for ${kind}`];
  if (isValid(object)) return [];
  return (isValid.errors ?? []).map(
    ({ instancePath, message, params }) =>
      `${kind}${instancePath} ${message} ${JSON.stringify(params)}`,
  );
}

function loadSchemas(): void {
  for (const file of FILES) {
    const url = new URL(`./schemas/${file}.json`, import.meta.url);
    const { kinds, definitions } = JSON.parse(readFileSync(url, "utf8")) as SchemaFile;
    const ajv = new Ajv({ allErrors: true, strict: false });
    ajv.addSchema({ $id: file, definitions });
    for (const [kind, reference] of Object.entries(kinds)) {
      validators.set(kind, ajv.compile({ $ref: `${file}${reference}` }));
    }
  }
}
