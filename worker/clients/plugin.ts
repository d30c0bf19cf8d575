/**
 * What a plugin for JetBrains IDEs says of itself: META-INF/plugin.xml, which is in a plain .jar, or in one of the jars
 * below lib/ of the one folder in a .zip, or beside that.
 */
import { type Archive, ArchiveError, openArchive } from "./archive.ts";
import { cutText, type IntellijFacts, MAX_TEXT_CHARS } from "./artifact.ts";
import { parseXml } from "./xml.ts";

const DESCRIPTOR = "META-INF/plugin.xml";
const ICON = "META-INF/pluginIcon.svg";
const MAX_DESCRIPTOR_BYTES = 1024 * 1024;
/** A jar within the archive that must be unpacked to be looked into; a larger one is passed over. */
const MAX_INNER_BYTES = 64 * 1024 * 1024;
/** All such jars of one archive. */
const MAX_UNPACKED_BYTES = 256 * 1024 * 1024;
const MAX_SHORT_CHARS = 1024;

/** Reads a plugin file, .zip or .jar. Throws `ArchiveError` with the reason why it cannot be offered, or the system's error. */
export async function readPlugin(path: string): Promise<IntellijFacts> {
  const archive = await openArchive(path, isOfInterest);
  try {
    const direct = [...archive.entries.keys()].find((name) => name.endsWith(DESCRIPTOR));
    if (direct !== undefined) return await describe(archive, direct);
    return await describeInner(archive);
  } finally {
    await archive.close();
  }
}

function isOfInterest(name: string): boolean {
  return (
    isDescription(name) || /^[^/]+\/META-INF\/plugin(\.xml|Icon\.svg)$/.test(name) || isJar(name)
  );
}

function isDescription(name: string): boolean {
  return name === DESCRIPTOR || name === ICON;
}

function isJar(name: string): boolean {
  return /^[^/]+\/lib\/[^/]+\.jar$/.test(name);
}

// --- in one of the jars ---

async function describeInner(archive: Archive): Promise<IntellijFacts> {
  const passedOver: string[] = [];
  let leftBytes = MAX_UNPACKED_BYTES;
  for (const name of likelyFirst(archive)) {
    const entry = archive.entries.get(name);
    const unpacked = entry?.compressionMethod === 0 ? 0 : (entry?.uncompressedSize ?? 0);
    if (unpacked > MAX_INNER_BYTES || unpacked > leftBytes) {
      passedOver.push(name);
      continue;
    }
    leftBytes -= unpacked;
    const jar = await archive.openInner(name, isDescription, MAX_INNER_BYTES);
    if (jar.entries.has(DESCRIPTOR)) return describe(jar, DESCRIPTOR);
  }
  const note =
    passedOver.length === 0 ? "" : ` (too large to be looked into: ${passedOver.join(", ")})`;
  throw new ArchiveError(`there is no ${DESCRIPTOR} in it nor in a jar of its lib folder${note}`);
}

/** The jars, those first that are named like the plugin's folder, then small ones: most others are libraries. */
function likelyFirst(archive: Archive): string[] {
  const rank = (name: string): number => {
    const [folder = "", , jar = ""] = name.toLowerCase().split("/");
    return jar.includes(folder) ? 0 : 1;
  };
  const jars = [...archive.entries.values()].filter(({ fileName }) => isJar(fileName));
  jars.sort(
    (a, b) =>
      rank(a.fileName) - rank(b.fileName) ||
      a.uncompressedSize - b.uncompressedSize ||
      (a.fileName < b.fileName ? -1 : 1),
  );
  return jars.map(({ fileName }) => fileName);
}

// --- the descriptor ---

async function describe(archive: Archive, name: string): Promise<IntellijFacts> {
  const plugin = parseXml(
    DESCRIPTOR,
    await archive.read(name, MAX_DESCRIPTOR_BYTES),
    "idea-plugin",
  );
  const text = (child: string): string => plugin.child(child)?.text ?? "";
  const id = text("id") || text("name");
  const version = text("version");
  for (const [what, value] of Object.entries({ id, version })) {
    if (value === "" || value.length > 200 || /\p{Cc}/u.test(value)) {
      throw new ArchiveError(`${DESCRIPTOR} has no usable ${what}`);
    }
  }
  const range = plugin.child("idea-version");
  const since = range?.attribute("since-build");
  const until = range?.attribute("until-build");
  const vendor = plugin.child("vendor");
  const icon = await readIcon(archive, name);
  return {
    ide: "intellij",
    id,
    name: short(text("name")) || id,
    version,
    ...(since && { sinceBuild: short(since) }),
    ...(until && { untilBuild: short(until) }),
    vendor: {
      name: short(vendor?.text),
      email: short(vendor?.attribute("email")),
      url: short(vendor?.attribute("url")),
    },
    description: cutText(text("description")),
    changeNotes: cutText(text("change-notes")),
    depends: plugin
      .all("depends")
      .filter((module) => module.attribute("optional") !== "true" && module.text !== "")
      .slice(0, 100)
      .map((module) => short(module.text)),
    ...(icon !== undefined && { icon }),
  };
}

/** The icon beside the descriptor; a plugin is offered without one too. */
async function readIcon(archive: Archive, descriptor: string): Promise<string | undefined> {
  const name = descriptor.replace(DESCRIPTOR, ICON);
  const entry = archive.entries.get(name);
  if (entry === undefined || entry.uncompressedSize > MAX_TEXT_CHARS) return undefined;
  return (await archive.read(name, MAX_TEXT_CHARS)).toString("utf8");
}

function short(text: string | undefined): string {
  return cutText(text ?? "", MAX_SHORT_CHARS);
}
