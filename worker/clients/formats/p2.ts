/**
 * Reads an Eclipse p2 repository, which is served as it is: its features for the page, and its problems for operators.
 */
import type { Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errorCode } from "../../../shared/base/errors.ts";
import { ArchiveError, withArchive } from "./archive.ts";
import { cutShort, cutText, type FeatureFacts } from "./artifact.ts";
import { parseXml } from "./xml.ts";

/** The files that p2 requests first; a folder with one of them is a repository. */
const INDEXES = ["content", "artifacts", "compositeContent", "compositeArtifacts"].flatMap((name) =>
  ["jar", "xml", "xml.xz"].map((end) => `${name}.${end}`),
);
/** Lists which of them exist, so that clients need not probe. */
const INDEX_FILE = "p2.index";
const MAX_INDEX_FILE_BYTES = 64 * 1024;
/** A composite has one per child repository. */
const MAX_INDEX_FILES = 100;
const MAX_FEATURE_BYTES = 1024 * 1024;
/** The properties precede the long list of artifacts, which is not parsed. */
const MAX_INDEX_BYTES = 64 * 1024 * 1024;
const MAX_FOLDERS = 2000;
const MAX_DEPTH = 6;

/** The folder's structure. Cheap to read repeatedly: file contents are not read. */
export interface P2Listing {
  /** Changes whenever the contents of the repository change. */
  readonly signature: string;
  readonly isRepository: boolean;
  /** The folder has no file at all. */
  readonly isEmpty: boolean;
  /** Paths of the features' jars, relative to the folder. */
  readonly features: readonly string[];
  /** File names of the jars in the folders `plugins`. */
  readonly bundles: readonly string[];
  /** Paths of the files `p2.index`, relative to the folder. */
  readonly indexes: readonly string[];
}

/** Undefined when there is no such folder. */
export async function listRepository(folder: string): Promise<P2Listing | undefined> {
  const parts: string[] = [];
  const features: string[] = [];
  const bundles: string[] = [];
  const indexes: string[] = [];
  let isRepository = false;
  let isEmpty = true;

  async function walk(relative: string, depth: number): Promise<void> {
    const path = join(folder, relative);
    const [info, entries] = [await stat(path), await readdir(path, { withFileTypes: true })];
    parts.push(`${relative} ${info.mtimeMs}`);
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.name.startsWith(".")) continue;
      const inner = join(relative, entry.name);
      if (entry.isDirectory()) {
        if (depth < MAX_DEPTH && parts.length < MAX_FOLDERS) await walk(inner, depth + 1);
        continue;
      }
      isEmpty = false;
      if (entry.isFile()) await addFile(entry, relative, inner);
    }
  }

  async function addFile(entry: Dirent, parent: string, relative: string): Promise<void> {
    const isIndex = INDEXES.includes(entry.name);
    const isList = entry.name === INDEX_FILE && indexes.length < MAX_INDEX_FILES;
    if (isIndex) isRepository = true;
    if (isList) indexes.push(relative);
    if (isIndex || isList) {
      const { size, mtimeMs } = await stat(join(folder, relative));
      parts.push(`${relative} ${size} ${mtimeMs}`);
    }
    if (!entry.name.endsWith(".jar")) return;
    if (/(^|\/)features$/.test(parent)) features.push(relative);
    if (/(^|\/)plugins$/.test(parent)) bundles.push(entry.name);
  }

  try {
    await walk("", 0);
  } catch (error) {
    // Removed during the listing: the next one sees the new state.
    if (errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
  return { signature: parts.join("\n"), isRepository, isEmpty, features, bundles, indexes };
}

function readEntryOf(path: string, name: string, maxBytes: number): Promise<Buffer> {
  return withArchive(
    path,
    (entry) => entry === name,
    (archive) => archive.read(name, maxBytes),
  );
}

/** Reads feature.xml from a feature's jar. Throws `ArchiveError`, or the system's error. */
export async function readFeature(path: string): Promise<FeatureFacts> {
  const bytes = await readEntryOf(path, "feature.xml", MAX_FEATURE_BYTES);
  const feature = parseXml("feature.xml", bytes, "feature");
  const id = feature.attribute("id") ?? "";
  const version = feature.attribute("version") ?? "";
  if (id === "" || version === "" || id.length > 200 || version.length > 200) {
    throw new ArchiveError("feature.xml has no valid id and version");
  }
  const label = feature.attribute("label") ?? "";
  // A label like %featureName is a key of a translation file.
  const isText = label !== "" && !label.startsWith("%");
  return { ide: "eclipse", id, version, label: isText ? cutShort(label) : id };
}

/**
 * The mirror list that the repository's index points clients to; undefined without one. Copies of public sites often have it,
 * and then clients try to reach the Internet from a closed network. Throws `ArchiveError` when the index is broken.
 */
export async function readMirrors(folder: string): Promise<string | undefined> {
  const bytes = await readIndex(folder);
  if (bytes === undefined) return undefined;
  const repository = parseXml("artifacts.xml", bytes, "repository", ["repository.artifacts"]);
  const properties = repository.child("properties")?.all("property");
  const mirrors = properties?.find((property) => property.attribute("name") === "p2.mirrorsURL");
  return mirrors && cutText(mirrors.attribute("value") ?? "", 500);
}

/** artifacts.xml, plain or in its jar; undefined when there is none, or only one in .xz, which Node cannot decompress. */
async function readIndex(folder: string): Promise<Buffer | undefined> {
  const names = await readdir(folder);
  if (names.includes("artifacts.jar")) {
    return readEntryOf(join(folder, "artifacts.jar"), "artifacts.xml", MAX_INDEX_BYTES);
  }
  const plain = join(folder, "artifacts.xml");
  if (!names.includes("artifacts.xml")) return undefined;
  return (await stat(plain)).size <= MAX_INDEX_BYTES ? readFile(plain) : undefined;
}

/**
 * Checks a `p2.index`: undefined, or the problem when one of its lists names only missing files. `path` is relative to the
 * repository's folder.
 */
export async function indexProblem(folder: string, path: string): Promise<string | undefined> {
  const file = join(folder, path);
  if ((await stat(file)).size > MAX_INDEX_FILE_BYTES)
    return `the file is larger than ${MAX_INDEX_FILE_BYTES} bytes`;
  const properties = parseProperties(await readFile(file, "latin1"));
  const present = new Set(await readdir(dirname(file)));
  for (const kind of ["metadata", "artifact"]) {
    const order = properties.get(`${kind}.repository.factory.order`)?.split(",") ?? [];
    const listed = order.map((name) => name.trim()).filter((name) => name !== "");
    const end = listed.indexOf("!");
    const names = end === -1 ? listed : listed.slice(0, end);
    // For content.xml, clients try content.jar first.
    const exists = (name: string): boolean =>
      present.has(name) || present.has(name.replace(/\.xml$/, ".jar"));
    if (names.length === 0 || names.some(exists)) continue;
    const shown = cutText(names.join(", "), 200);
    const effect =
      end === -1 ? "clients waste requests on them first" : "clients find no repository";
    return `it lists only missing files for ${kind} (${shown}), so ${effect}: fix or remove it`;
  }
  return undefined;
}

/** The subset of Java's .properties format that p2 writes: one per line, continued lines, escaped characters. */
function parseProperties(text: string): ReadonlyMap<string, string> {
  const properties = new Map<string, string>();
  for (const line of text.replace(/\\\r?\n[ \t]*/g, "").split(/\r?\n|\r/)) {
    const [, key, value] = /^\s*([^#!=:\s][^=:\s]*)\s*[=:]?\s*(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) {
      properties.set(key, value.replace(/\\(.)/g, "$1").trim());
    }
  }
  return properties;
}

/** The bundle in a file of a `plugins` folder, by p2's naming scheme ID_VERSION.jar. Undefined for other paths. */
export function bundleOf(
  path: string,
): { readonly id: string; readonly version: string } | undefined {
  const [, id, version] =
    /(?:^|\/)plugins\/([^/]+?)_(\d+(?:\.\d+){0,2}(?:\.[A-Za-z0-9_-]+)?)\.jar$/.exec(path) ?? [];
  return id === undefined || version === undefined ? undefined : { id, version };
}

/**
 * Whether fetching this bundle counts as a download of the plugin. An installation fetches several bundles; if one is named
 * `.core`, only that one counts.
 */
export function countsAsDownload(id: string, bundles: readonly string[]): boolean {
  const isCore = (name: string): boolean => /\.core(_|$)/.test(name);
  return isCore(id) || !bundles.some(isCore);
}
