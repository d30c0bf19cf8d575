/** What the bundled programs and pages in dist/ contain (dist/modules.json). */
import { readFileSync } from "node:fs";

/** As esbuild reports them. */
type Outputs = Record<
  string,
  {
    readonly imports: readonly { readonly path: string; readonly kind: string }[];
    readonly inputs: Record<string, unknown>;
  }
>;

/** The modules of a program's file, like `dist/edge/main.js`, and of the files that it always loads with it. */
export function loadedModules(program: string): string[] {
  const outputs = readOutputs();
  const files = new Set([program]);
  for (const file of files) {
    for (const { path, kind } of outputs.get(file)?.imports ?? []) {
      if (kind === "import-statement") files.add(path);
    }
  }
  return [...files].flatMap((file) => Object.keys(outputs.get(file)?.inputs ?? {}));
}

/** The modules of all files, also of those that are loaded on demand. */
export function bundledModules(): string[] {
  return [...readOutputs().values()].flatMap(({ inputs }) => Object.keys(inputs));
}

function readOutputs(): ReadonlyMap<string, Outputs[string]> {
  const text = readFileSync(new URL("../../dist/modules.json", import.meta.url), "utf8");
  const outputs = JSON.parse(text) as Outputs;
  return new Map(Object.entries(outputs));
}
