/** The license texts of the packages in a bundle: their licenses require that every copy has them. */
import { readdirSync, readFileSync } from "node:fs";

/** The innermost package of an input of esbuild: `node_modules/a/node_modules/@b/c`. */
const PACKAGE = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/;
const LICENSE_FILE = /^(?:licen[cs]e|copying|notice)/i;

/**
 * One text, the same for the same packages. `metafiles`: esbuild's, of all bundles; only packages of which something is in
 * an output count.
 */
export function licensesOf(root, metafiles) {
  const packages = new Set(metafiles.flatMap(usedPackages));
  const names = new Map();
  for (const folder of [...packages].sort((a, b) => (a < b ? -1 : 1))) {
    const text = licenseText(root + folder);
    names.set(text, [...(names.get(text) ?? []), nameOf(root + folder)]);
  }
  const sections = [...names].map(([text, [...users]]) => `${users.join("\n")}\n\n${text}`);
  return `This product contains these packages.\n\n${sections.join(`\n\n${"-".repeat(72)}\n\n`)}\n`;
}

/** Folders of the packages of which something is in an output of one bundle, with repetitions. */
export function usedPackages({ outputs }) {
  return Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([input, { bytesInOutput }]) =>
      bytesInOutput > 0 ? (PACKAGE.exec(input) ?? []) : [],
    ),
  );
}

function nameOf(folder) {
  const { name, version } = readManifest(folder);
  return `${name} ${version}`;
}

/** The license's name for a package without the text. */
function licenseText(folder) {
  const files = readdirSync(folder).filter((file) => LICENSE_FILE.test(file));
  const texts = files.map((file) => readFileSync(`${folder}/${file}`, "utf8").trim());
  return texts.join("\n\n") || `License: ${readManifest(folder).license}`;
}

function readManifest(folder) {
  return JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
}
