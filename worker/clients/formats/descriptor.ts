/**
 * The descriptor of a JetBrains plugin with the files that it includes (`xi:include`): from the same archive only, each
 * once, and no more than a few.
 */
import { posix } from "node:path";
import { type Archive, ArchiveError } from "./archive.ts";
import { parseXml, type XmlNode } from "./xml.ts";

export interface Descriptor {
  /** Roots of the descriptor and of what it includes, in that order: where two say something, the first counts. */
  readonly parts: readonly XmlNode[];
  /** What could not be included, with the reason; IDEs have more files to look for it in. */
  readonly notIncluded: readonly string[];
}

const ROOT = "idea-plugin";
const FOLDER = "META-INF";
const MAX_BYTES = 1024 * 1024;
const MAX_INCLUDES = 32;
/** All included files together. */
const MAX_INCLUDED_BYTES = 1024 * 1024;

/** `name`: that of the descriptor, `META-INF/plugin.xml`, in the root of the archive or in a folder. Throws `ArchiveError`. */
export async function readDescriptor(archive: Archive, name: string): Promise<Descriptor> {
  /** The root of the plugin's own files within the archive; empty, or with its last slash. */
  const base = name.slice(0, name.lastIndexOf(`${FOLDER}/`));
  const parts: XmlNode[] = [];
  const notIncluded: string[] = [];
  const seen = new Set([name]);
  let bytesLeft = MAX_INCLUDED_BYTES;

  async function include(file: string, root: string): Promise<void> {
    // Also what includes itself, or is included by several.
    if (seen.has(file)) return;
    seen.add(file);
    const size = archive.entries.get(file)?.uncompressedSize;
    if (size === undefined) throw new ArchiveError("not in the same archive");
    bytesLeft -= size;
    if (bytesLeft < 0 || seen.size > MAX_INCLUDES + 1) {
      throw new ArchiveError("too many includes, or too large");
    }
    await take(file, parseXml(file, await archive.read(file, MAX_BYTES), root));
  }

  async function take(file: string, part: XmlNode): Promise<void> {
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

  await take(name, parseXml(`${FOLDER}/plugin.xml`, await archive.read(name, MAX_BYTES), ROOT));
  return { parts, notIncluded };
}

/** Undefined for pointers at something deeper, which holds none of what is read here. */
function includedRoot(xpointer: string | undefined): string | undefined {
  if (xpointer === undefined) return ROOT;
  return /^xpointer\(\s*\/([\w.-]+)\/\*\s*\)$/.exec(xpointer)?.[1];
}

/** As IDEs look for it: from the plugin's root, or beside the file that includes it. No entry has a name with `..` in it. */
function resolve(href: string, from: string, base: string): string {
  const isFromRoot = href.startsWith("/") || href.startsWith("intellij.");
  const folder = isFromRoot ? base : `${posix.dirname(from)}/`;
  return posix.normalize(folder + href.replace(/^\/+/, ""));
}
