/**
 * Reads the descriptor of a JetBrains plugin and the files that it includes (`xi:include`): only from the same archive, each
 * once, and a bounded number.
 */
import { posix } from "node:path";
import { type Archive, ArchiveError } from "./archive.ts";
import { parseXml, type XmlNode } from "./xml.ts";

export interface Descriptor {
  /** Roots of the descriptor and of the included files, in that order: the first value of a setting counts. */
  readonly parts: readonly XmlNode[];
  /** Includes that were not found, with the reason. Not an error: IDEs also resolve them in their own files. */
  readonly notIncluded: readonly string[];
}

const ROOT = "idea-plugin";
const FOLDER = "META-INF";
const MAX_BYTES = 1024 * 1024;
const MAX_INCLUDES = 32;
/** All included files together. */
const MAX_INCLUDED_BYTES = 1024 * 1024;

/** `name`: the entry `META-INF/plugin.xml`, in the root of the archive or in a folder. Throws `ArchiveError`. */
export async function readDescriptor(archive: Archive, name: string): Promise<Descriptor> {
  /** The folder of the plugin within the archive: empty, or with a trailing slash. */
  const base = name.slice(0, name.lastIndexOf(`${FOLDER}/`));
  const parts: XmlNode[] = [];
  const notIncluded: string[] = [];
  const seen = new Set([name]);
  let bytesLeft = MAX_INCLUDED_BYTES;

  async function include(file: string, root: string): Promise<void> {
    // Includes may be circular or repeated.
    if (seen.has(file)) return;
    seen.add(file);
    const size = archive.entries.get(file)?.uncompressedSize;
    if (size === undefined) throw new ArchiveError("not in the same archive");
    bytesLeft -= size;
    if (bytesLeft < 0 || seen.size > MAX_INCLUDES + 1) {
      throw new ArchiveError("too many includes, or too large");
    }
    await addPart(file, parseXml(file, await archive.read(file, MAX_BYTES), root));
  }

  async function addPart(file: string, part: XmlNode): Promise<void> {
    parts.push(part);
    for (const element of part.all("include")) {
      const href = element.attribute("href");
      const root = includedRoot(element.attribute("xpointer"));
      if (href === undefined || root === undefined) continue;
      try {
        await include(resolve(href, file, base), root);
      } catch (error) {
        if (!(error instanceof ArchiveError)) throw error;
        notIncluded.push(`${href.slice(0, 200)}: ${error.message}`);
      }
    }
  }

  await addPart(name, parseXml(`${FOLDER}/plugin.xml`, await archive.read(name, MAX_BYTES), ROOT));
  return { parts, notIncluded };
}

/** Undefined for pointers to deeper elements, which contain nothing that is read here. */
function includedRoot(xpointer: string | undefined): string | undefined {
  if (xpointer === undefined) return ROOT;
  return /^xpointer\(\s*\/([\w.-]+)\/\*\s*\)$/.exec(xpointer)?.[1];
}

/** As IDEs resolve it: from the plugin's root, or next to the including file. No entry has `..` in its name. */
function resolve(href: string, from: string, base: string): string {
  const isFromRoot = href.startsWith("/") || href.startsWith("intellij.");
  const folder = isFromRoot ? base : `${posix.dirname(from)}/`;
  return posix.normalize(folder + href.replace(/^\/+/, ""));
}
