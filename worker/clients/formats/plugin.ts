/**
 * Reads a plugin for JetBrains IDEs: META-INF/plugin.xml is in the .jar itself, or, in a .zip, in the plugin's folder or in one
 * of the jars in its lib/.
 */
import { type Archive, ArchiveError, withArchive } from "./archive.ts";
import { cutShort, cutText, type IntellijFacts, MAX_TEXT_CHARS } from "./artifact.ts";
import { readDescriptor } from "./descriptor.ts";
import type { XmlNode } from "./xml.ts";

const DESCRIPTOR = "META-INF/plugin.xml";
const IN_FOLDER = /^[^/]+\/META-INF\/plugin\.xml$/;
const ICON = "META-INF/pluginIcon.svg";
/** Larger compressed jars within the archive are skipped. */
const MAX_INNER_BYTES = 64 * 1024 * 1024;
/** Of all compressed jars of one archive together. */
const MAX_UNPACKED_BYTES = 256 * 1024 * 1024;
/** The largest plugins have some 300. */
const MAX_JARS = 2000;
/** Descriptors that are tried until a valid one is found. */
const MAX_DESCRIPTORS = 8;
/** Entries with longer names are not read as includes. */
const MAX_NAME_CHARS = 300;
const MAX_NAMES = 3;

/** Reads a .zip or .jar. Throws `ArchiveError` with the reason why it cannot be offered, or the system's error. */
export function readPlugin(path: string): Promise<IntellijFacts> {
  return withArchive(path, isOfInterest, (archive) => {
    const direct = descriptorOf(archive);
    return direct === undefined ? describeInner(archive) : describe(archive, direct);
  });
}

function isOfInterest(name: string): boolean {
  return isDescription(name) || /^[^/]+\/META-INF\/pluginIcon\.svg$/.test(name) || isJar(name);
}

/** Descriptors include other XML files, with any name. */
function isDescription(name: string): boolean {
  return name === ICON || (name.endsWith(".xml") && name.length <= MAX_NAME_CHARS);
}

function isJar(name: string): boolean {
  return /^[^/]+\/lib\/[^/]+\.jar$/.test(name);
}

function descriptorOf(archive: Archive): string | undefined {
  if (archive.entries.has(DESCRIPTOR)) return DESCRIPTOR;
  return [...archive.entries.keys()].find((name) => IN_FOLDER.test(name));
}

// --- in one of the jars ---

async function describeInner(archive: Archive): Promise<IntellijFacts> {
  const tooLarge: string[] = [];
  /** Broken jars matter only when no other jar has the descriptor. */
  const broken: string[] = [];
  const failures: ArchiveError[] = [];
  let leftBytes = MAX_UNPACKED_BYTES;
  for (const name of likelyFirst(archive).slice(0, MAX_JARS)) {
    const entry = archive.entries.get(name);
    const unpacked = entry?.compressionMethod === 0 ? 0 : (entry?.uncompressedSize ?? 0);
    if (unpacked > MAX_INNER_BYTES || unpacked > leftBytes) {
      tooLarge.push(name);
      continue;
    }
    leftBytes -= unpacked;
    const jar = await settle(archive.openInner(name, isDescription, MAX_INNER_BYTES));
    if (jar instanceof ArchiveError) {
      broken.push(`${name}: ${jar.message}`);
    } else if (jar.entries.has(DESCRIPTOR)) {
      const facts = await settle(describe(jar, DESCRIPTOR));
      if (!(facts instanceof ArchiveError)) return facts;
      failures.push(facts);
      if (failures.length === MAX_DESCRIPTORS) break;
    }
  }
  // The error of the likeliest jar says more than that there is no other.
  if (failures[0] !== undefined) throw failures[0];
  const notes = [
    ...(tooLarge.length === 0 ? [] : [`too large to inspect: ${listFew(tooLarge)}`]),
    ...(broken.length === 0 ? [] : [listFew(broken)]),
  ];
  const note = notes.length === 0 ? "" : ` (${notes.join("; ")})`;
  throw new ArchiveError(`no ${DESCRIPTOR} in the archive or in a jar of its lib folder${note}`);
}

/** Returns an `ArchiveError` instead of throwing it; system errors are thrown. */
async function settle<T>(action: Promise<T>): Promise<T | ArchiveError> {
  try {
    return await action;
  } catch (error) {
    if (error instanceof ArchiveError) return error;
    throw error;
  }
}

/** Keeps a reason on one line, however many jars there are. */
function listFew(items: readonly string[]): string {
  const [shown, more] = [items.slice(0, MAX_NAMES), items.length - MAX_NAMES];
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** The jars, first those named like the plugin's folder, then by size: most others are libraries. */
function likelyFirst(archive: Archive): string[] {
  const rank = (name: string): number => {
    const [folder = "", , jar = ""] = name.toLowerCase().split("/");
    return jar.includes(folder) ? 0 : 1;
  };
  const jars = [...archive.entries].filter(([name]) => isJar(name));
  jars.sort(
    ([a, entryA], [b, entryB]) =>
      rank(a) - rank(b) || entryA.uncompressedSize - entryB.uncompressedSize || (a < b ? -1 : 1),
  );
  return jars.map(([name]) => name);
}

// --- the descriptor ---

async function describe(archive: Archive, name: string): Promise<IntellijFacts> {
  const { parts, notIncluded } = await readDescriptor(archive, name);
  const child = (of: string): XmlNode | undefined =>
    parts.map((part) => part.child(of)).find((found) => found !== undefined);
  const text = (of: string): string =>
    parts.map((part) => part.child(of)?.text ?? "").find((found) => found !== "") ?? "";
  const id = text("id") || text("name");
  const version = text("version");
  for (const [what, value] of Object.entries({ id, version })) {
    if (value === "" || value.length > 200 || /\p{Cc}/u.test(value)) {
      const note = notIncluded.length === 0 ? "" : ` (not included: ${listFew(notIncluded)})`;
      throw new ArchiveError(`${DESCRIPTOR} has no valid ${what}${note}`);
    }
  }
  const range = child("idea-version");
  const since = range?.attribute("since-build");
  const until = range?.attribute("until-build");
  const vendor = child("vendor");
  const icon = await readIcon(archive, name);
  return {
    ide: "intellij",
    id,
    name: cutShort(text("name")) || id,
    version,
    ...(since && { sinceBuild: cutShort(since) }),
    ...(until && { untilBuild: cutShort(until) }),
    vendor: {
      name: cutShort(vendor?.text),
      email: cutShort(vendor?.attribute("email")),
      url: cutShort(vendor?.attribute("url")),
    },
    description: cutText(text("description")),
    changeNotes: cutText(text("change-notes")),
    depends: parts
      .flatMap((part) => part.all("depends"))
      .filter((module) => module.attribute("optional") !== "true" && module.text !== "")
      .slice(0, 100)
      .map((module) => cutShort(module.text)),
    ...(icon !== undefined && { icon }),
  };
}

async function readIcon(archive: Archive, descriptor: string): Promise<string | undefined> {
  const name = descriptor.replace(DESCRIPTOR, ICON);
  const entry = archive.entries.get(name);
  if (entry === undefined || entry.uncompressedSize > MAX_TEXT_CHARS) return undefined;
  return (await archive.read(name, MAX_TEXT_CHARS)).toString("utf8");
}
