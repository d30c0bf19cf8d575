/**
 * The list of the packages in the bundles, with versions, licenses and digests: CycloneDX 1.6 (JSON). `npm sbom` lists what is
 * installed, which is more than what is bundled, and each time with another serial number: docs/adr/0025.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { usedPackages } from "./bundle-licenses.mjs";

/** The namespace of RFC 9562 for names that are URLs. */
const URL_NAMESPACE = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";

/**
 * The same text for the same bundles and the same SOURCE_DATE_EPOCH; without that variable it has no timestamp. `bundles`:
 * esbuild's metafiles by the name of the bundle. Throws when a bundled package is not in package-lock.json.
 */
export function writeSbom(root, bundles) {
  const lock = JSON.parse(readFileSync(`${root}package-lock.json`, "utf8")).packages;
  const product = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
  const bundlesOf = new Map();
  for (const [bundle, metafiles] of Object.entries(bundles)) {
    for (const folder of new Set(metafiles.flatMap(usedPackages))) {
      bundlesOf.set(folder, [...(bundlesOf.get(folder) ?? []), bundle]);
    }
  }
  const folders = [...bundlesOf.keys()].sort(byName);
  const sbom = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      ...timestamp(),
      component: {
        type: "application",
        ...identity(product.name, product.version),
        description: product.description,
        ...licensesOf(product.license),
      },
    },
    components: uniqueByRef(
      folders.map((folder) => describe(root, folder, lock, bundlesOf.get(folder))),
    ),
    dependencies: dependenciesOf(folders, lock, product),
    compositions: [{ aggregate: "complete", assemblies: [refOf(product.name, product.version)] }],
  };
  const name = `https://codetogether-edge.invalid/sbom/${digest("sha256", JSON.stringify(sbom))}`;
  const { $schema, bomFormat, specVersion, ...rest } = sbom;
  const serialNumber = `urn:uuid:${uuidOf(name)}`;
  const text = JSON.stringify({ $schema, bomFormat, specVersion, serialNumber, ...rest }, null, 2);
  return `${text}\n`;
}

function timestamp() {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  if (!epoch) return {};
  return { timestamp: new Date(Number(epoch) * 1000).toISOString() };
}

// --- components ---

function describe(root, folder, lock, bundles) {
  const { version, license, integrity } = entryOf(folder, lock);
  return {
    type: "library",
    ...identity(nameOf(folder, lock), version),
    scope: "required",
    ...hashesOf(integrity),
    ...licensesOf(license ?? formerLicense(`${root}${folder}`)),
    // The programs on the server, or the pages in browsers.
    properties: bundles.map((value) => ({ name: "codetogether-edge:bundle", value })),
  };
}

/** A version that is installed in two folders is one component. */
function uniqueByRef(components) {
  const unique = new Map();
  for (const component of components) {
    const before = unique.get(component["bom-ref"])?.properties ?? [];
    const values = new Set([...before, ...component.properties].map(({ value }) => value));
    const properties = [...values].map((value) => ({ name: "codetogether-edge:bundle", value }));
    unique.set(component["bom-ref"], { ...component, properties });
  }
  return [...unique.values()].sort((a, b) => byName(a["bom-ref"], b["bom-ref"]));
}

function identity(name, version) {
  const [scope, ownName] = name.startsWith("@") ? name.split("/") : [undefined, name];
  const purl = refOf(name, version);
  return { "bom-ref": purl, ...(scope && { group: scope }), name: ownName, version, purl };
}

/** The package's URL (purl), which is also its reference in the list. */
function refOf(name, version) {
  const path = name.split("/").map(encodeURIComponent).join("/");
  return `pkg:npm/${path}@${encodeURIComponent(version)}`;
}

/** An SRI string can have several digests; npm's has one, of the package's archive. */
function hashesOf(integrity) {
  const [, algorithm, base64] = /^sha(\d+)-(\S+)/.exec(integrity ?? "") ?? [];
  if (algorithm === undefined) return {};
  const content = Buffer.from(base64, "base64").toString("hex");
  return { hashes: [{ alg: `SHA-${algorithm}`, content }] };
}

function licensesOf(license) {
  if (typeof license !== "string") return {};
  if (/^SEE /.test(license)) return { licenses: [{ license: { name: license } }] };
  // More than one id is an SPDX expression.
  const licenses = /[\s()]/.test(license) ? { expression: license } : { license: { id: license } };
  return { licenses: [licenses] };
}

/** Of a package.json with the form that npm once had, which the lockfile leaves out. */
function formerLicense(folder) {
  const { licenses } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  return licenses?.map(({ type }) => type).join(" OR ");
}

// --- what uses what ---

function dependenciesOf(folders, lock, product) {
  const own = { ...product.dependencies, ...product.devDependencies };
  const uses = [
    ["", Object.keys(own)],
    ...folders.map((folder) => {
      const { dependencies, peerDependencies, optionalDependencies } = entryOf(folder, lock);
      const all = { ...dependencies, ...peerDependencies, ...optionalDependencies };
      return [folder, Object.keys(all)];
    }),
  ];
  const bundled = new Set(folders);
  const edges = new Map();
  for (const [folder, names] of uses) {
    const ref =
      folder === "" ? refOf(product.name, product.version) : identityOf(folder, lock)["bom-ref"];
    const used = names.flatMap((name) => {
      const found = resolve(folder, name, lock);
      return found !== undefined && bundled.has(found) ? identityOf(found, lock)["bom-ref"] : [];
    });
    edges.set(ref, [...new Set([...(edges.get(ref) ?? []), ...used])].sort(byName));
  }
  return [...edges]
    .map(([ref, dependsOn]) => (dependsOn.length > 0 ? { ref, dependsOn } : { ref }))
    .sort((a, b) => byName(a.ref, b.ref));
}

/** The folder of the package that `name` is in a module of `folder`, by Node's rule: the nearest node_modules upward. */
function resolve(folder, name, lock) {
  for (let at = folder; ; ) {
    const candidate = `${at === "" ? "" : `${at}/`}node_modules/${name}`;
    if (lock[candidate] !== undefined) return candidate;
    if (at === "") return undefined;
    const end = at.lastIndexOf("/node_modules/");
    at = end < 0 ? "" : at.slice(0, end);
  }
}

function identityOf(folder, lock) {
  return identity(nameOf(folder, lock), entryOf(folder, lock).version);
}

/** A package that is installed under an alias has its own name in the lockfile. */
function nameOf(folder, lock) {
  return entryOf(folder, lock).name ?? folder.slice(folder.lastIndexOf("node_modules/") + 13);
}

function entryOf(folder, lock) {
  const entry = lock[folder];
  if (entry === undefined) throw new Error(`${folder} is bundled but not in package-lock.json`);
  return entry;
}

// --- identifiers ---

/** A version 5 UUID (RFC 9562): the same for the same name. */
function uuidOf(name) {
  const namespace = Buffer.from(URL_NAMESPACE.replaceAll("-", ""), "hex");
  const bytes = createHash("sha1").update(namespace).update(name).digest().subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x50;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function digest(algorithm, text) {
  return createHash(algorithm).update(text).digest("hex");
}

function byName(a, b) {
  return a < b ? -1 : Number(a > b);
}
