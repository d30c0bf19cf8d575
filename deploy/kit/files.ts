/** All files that the kit makes, by their path in the project. */
import { CHART_NAME, chartFiles } from "./outputs/chart.ts";
import { kustomizeFiles } from "./outputs/kustomize.ts";
import { valuesTable } from "./outputs/values-files.ts";

export const CHART_FOLDER = `deploy/helm/${CHART_NAME}`;
const DOCUMENTATION = "docs/operators/kubernetes.md";
const PLACE = /(<!-- values: [^>]*-->\n)[\s\S]*?(\n<!-- end of values -->)/;

/** `read` gives the text of a file of the project: the version is in package.json, and the documentation has more than ours. */
export function kitFiles(read: (path: string) => string): Readonly<Record<string, string>> {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  const documentation = read(DOCUMENTATION);
  if (!PLACE.test(documentation)) throw new Error(`${DOCUMENTATION} has no place for the values`);
  return {
    ...within("deploy/kubernetes", kustomizeFiles()),
    ...within(CHART_FOLDER, chartFiles(version)),
    [DOCUMENTATION]: documentation.replace(
      PLACE,
      (_, start: string, end: string) => `${start}${valuesTable()}${end}`,
    ),
  };
}

function within(folder: string, files: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(files).map(([path, content]) => [`${folder}/${path}`, content]),
  );
}
