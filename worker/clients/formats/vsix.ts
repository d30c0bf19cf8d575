/**
 * Reads a .vsix file: `extension.vsixmanifest` describes the extension, and package.json must have the same identity, because
 * VS Code uses it after the installation.
 */
import semver from "semver";
import { z } from "zod";
import { parseJson } from "../../../shared/base/json.ts";
import { type Archive, ArchiveError, normalizeName, withArchive } from "./archive.ts";
import { cutShort, cutText, MAX_SHORT_CHARS, type VscodeFacts } from "./artifact.ts";
import { parseXml, type XmlNode } from "./xml.ts";

const MANIFEST = "extension.vsixmanifest";
const PACKAGE = "extension/package.json";
const MAX_MANIFEST_BYTES = 1024 * 1024;
/** The largest known ones have 600 KiB. */
const MAX_PACKAGE_BYTES = 4 * 1024 * 1024;
const MAX_ASSETS = 64;
/** Of an extension, and of its publisher. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Reads a .vsix file. Throws `ArchiveError` with the reason why it cannot be offered, or the system's error. */
export function readVsix(path: string): Promise<VscodeFacts> {
  const isWanted = (name: string): boolean => name === MANIFEST || name === PACKAGE;
  return withArchive(path, isWanted, async (archive) => {
    const bytes = await archive.read(MANIFEST, MAX_MANIFEST_BYTES);
    const facts = describeManifest(parseXml(MANIFEST, bytes, "PackageManifest"));
    await checkPackage(archive, facts);
    return facts;
  });
}

/**
 * Contents of an asset, by its path in the manifest. Packing tools write such paths with either kind of slash, with percent
 * escapes, and with other capital letters than in the archive; all of these are found. Throws like `readVsix`.
 */
export function readVsixAsset(path: string, assetPath: string, maxBytes: number): Promise<Buffer> {
  const wanted = foldPath(assetPath);
  const isWanted = (name: string): boolean => foldPath(name) === wanted;
  return withArchive(path, isWanted, (archive) => {
    const exact = normalizeName(assetPath);
    const names = [exact, unescapePath(exact), ...archive.entries.keys()];
    const name = names.find((candidate) => archive.entries.has(candidate)) ?? exact;
    return archive.read(name, maxBytes);
  });
}

/** Equal for all spellings of one path: part names are case-insensitive (ECMA-376-2 §6.2.2.3). */
function foldPath(path: string): string {
  const normal = normalizeName(path);
  // The fast path for nearly all entries: ASCII without escapes has one Unicode form.
  if (/^[\x20-\x24\x26-\x7e]*$/.test(normal)) return normal.toLowerCase();
  return unescapePath(normal).normalize("NFC").toLowerCase();
}

function unescapePath(path: string): string {
  try {
    return normalizeName(decodeURIComponent(path));
  } catch {
    // An invalid escape is taken literally.
    return path;
  }
}

function describeManifest(manifest: XmlNode): VscodeFacts {
  const metadata = manifest.child("Metadata");
  const identity = metadata?.child("Identity");
  if (metadata === undefined || identity === undefined) {
    throw new ArchiveError(`${MANIFEST} has no <Identity>`);
  }
  const name = identity.attribute("Id") ?? "";
  const publisher = identity.attribute("Publisher") ?? "";
  const version = identity.attribute("Version") ?? "";
  const targetPlatform = identity.attribute("TargetPlatform") || "universal";
  const check = (what: string, value: string, isValid: boolean, problem = ""): void => {
    if (isValid) return;
    throw new ArchiveError(`invalid ${what}: ${JSON.stringify(cutText(value, 50))}${problem}`);
  };
  check("Id", name, NAME.test(name));
  check("Publisher", publisher, NAME.test(publisher));
  check("TargetPlatform", targetPlatform, /^[a-z0-9][a-z0-9-]{0,31}$/.test(targetPlatform));
  check("Version", version, isSemanticVersion(version), " is not a semantic version");
  const properties = propertiesOf(metadata);
  return {
    ide: "vscode",
    publisher,
    name,
    version,
    targetPlatform,
    preRelease: properties.some(
      ({ key, value }) => key === "Microsoft.VisualStudio.Code.PreRelease" && value === "true",
    ),
    displayName: cutShort(metadata.child("DisplayName")?.text) || name,
    description: cutText(metadata.child("Description")?.text ?? ""),
    categories: listOf(metadata.child("Categories")?.text),
    tags: listOf(metadata.child("Tags")?.text),
    properties,
    assets: assetsOf(manifest),
  };
}

/** Accepts only the canonical spelling, including build metadata (`1.2.3+build.5`), which `semver.valid` would drop. */
function isSemanticVersion(text: string): boolean {
  const parsed = text.length > 100 ? null : semver.parse(text);
  if (parsed === null) return false;
  const build = parsed.build.length === 0 ? "" : `+${parsed.build.join(".")}`;
  return `${parsed.version}${build}` === text;
}

function propertiesOf(metadata: XmlNode): VscodeFacts["properties"] {
  const nodes = metadata.child("Properties")?.all("Property") ?? [];
  return nodes.slice(0, 100).flatMap((node) => {
    const key = node.attribute("Id");
    if (key === undefined || key.length > MAX_SHORT_CHARS) return [];
    return [{ key, value: cutText(node.attribute("Value") ?? "") }];
  });
}

/** Asset types, which clients request by name, to entries of the archive. */
function assetsOf(manifest: XmlNode): Record<string, string> {
  const nodes = manifest.child("Assets")?.all("Asset") ?? [];
  const assets = nodes.slice(0, MAX_ASSETS).flatMap((node) => {
    const type = node.attribute("Type");
    const path = node.attribute("Path");
    const isValid =
      type !== undefined &&
      path !== undefined &&
      /^[A-Za-z0-9.]{1,200}$/.test(type) &&
      path.length <= MAX_SHORT_CHARS &&
      node.attribute("Addressable") !== "false";
    return isValid ? [[type, path] as const] : [];
  });
  return { "Microsoft.VisualStudio.Code.Manifest": PACKAGE, ...Object.fromEntries(assets) };
}

const packageSchema = z.object({
  name: z.string(),
  publisher: z.string().optional(),
  version: z.string(),
});

async function checkPackage(archive: Archive, facts: VscodeFacts): Promise<void> {
  const text = (await archive.read(PACKAGE, MAX_PACKAGE_BYTES)).toString("utf8");
  const parsed = packageSchema.safeParse(parseJson(text.replace(/^\ufeff/, "")));
  if (!parsed.success) {
    throw new ArchiveError(`${PACKAGE} is not valid JSON with a name, a publisher and a version`);
  }
  const { name, publisher, version } = parsed.data;
  if (publisher === undefined || publisher === "") {
    throw new ArchiveError(
      `${PACKAGE} has no publisher; clients cannot find an extension without one`,
    );
  }
  const inside = `${publisher}.${name}@${version}`;
  const outside = `${facts.publisher}.${facts.name}@${facts.version}`;
  if (inside.toLowerCase() !== outside.toLowerCase()) {
    throw new ArchiveError(
      `${MANIFEST} has ${outside}, but ${PACKAGE} has ${cutText(inside, 200)}`,
    );
  }
}

function listOf(text: string | undefined): string[] {
  const items = (text ?? "").split(",").map((item) => item.trim());
  return items.filter((item) => item !== "" && item.length <= MAX_SHORT_CHARS).slice(0, 100);
}
