/** Makes zip archives to download. */
import { Zip, ZipDeflate } from "fflate";
import type { Files } from "../model/files.ts";
import { isSafeName } from "./paths.ts";

/** Compressed at a time, which takes a few ms. (fflate's own workers come from `blob:`, which the page's policy forbids.) */
const CHUNK_BYTES = 256 * 1024;
/** After this time the page may draw and receive. */
const BUSY_MS = 16;
const MAX_DEPTH = 64;

interface ZipInput {
  readonly path: string;
  readonly content: Uint8Array;
  /** Wall time in ms. */
  readonly modifiedMs?: number;
}

export interface ZippedFiles {
  readonly blob: Blob;
  /** Files that vanished or could not be read meanwhile; the archive is without them. */
  readonly skipped: readonly string[];
}

/** All files below `folders`. Rejects with a `FileError` when a folder of `folders` itself cannot be listed. */
export async function zipFiles(files: Files, folders: readonly string[]): Promise<ZippedFiles> {
  const skipped: string[] = [];

  async function* below(folder: string, depth: number): AsyncGenerator<ZipInput> {
    const entries = await files.list(folder);
    for (const { name, kind } of entries) {
      const path = `${folder}/${name}`;
      try {
        if (kind === "file") {
          const content = await files.read(path);
          const { modifiedMs } = await files.info(path);
          yield { path, content, modifiedMs };
        } else if (kind === "folder" && depth < MAX_DEPTH) {
          yield* below(path, depth + 1);
        } else {
          // A link may lead back to a folder above it.
          skipped.push(path);
        }
      } catch {
        skipped.push(path);
      }
    }
  }

  async function* all(): AsyncGenerator<ZipInput> {
    for (const folder of folders) yield* below(folder, 0);
  }

  return { blob: await zip(all()), skipped };
}

export function zipTexts(
  texts: readonly { readonly path: string; readonly text: string }[],
): Promise<Blob> {
  const encoder = new TextEncoder();
  return zip(texts.map(({ path, text }) => ({ path, content: encoder.encode(text) })));
}

async function zip(inputs: AsyncIterable<ZipInput> | Iterable<ZipInput>): Promise<Blob> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let failure: Error | null = null;
  // Called during `push` and `end`.
  const archive = new Zip((error, chunk) => {
    failure ??= error;
    if (error === null) parts.push(chunk);
  });
  const names = new Set<string>();
  let since = performance.now();
  for await (const { path, content, modifiedMs = Date.now() } of inputs) {
    const file = new ZipDeflate(uniqueName(safePath(path), names), { level: 6 });
    file.mtime = dateOf(modifiedMs);
    archive.add(file);
    for (let at = 0; at < content.length; at += CHUNK_BYTES) {
      file.push(content.subarray(at, at + CHUNK_BYTES));
      if (performance.now() - since < BUSY_MS) continue;
      await new Promise((resolve) => setTimeout(resolve));
      since = performance.now();
    }
    file.push(new Uint8Array(), true);
  }
  archive.end();
  if (failure !== null) throw failure;
  return new Blob(parts, { type: "application/zip" });
}

/**
 * A path that unpacks below the chosen folder on every system: paths of texts come from peers, and `../` or `C:` in them would
 * write somewhere else.
 */
function safePath(path: string): string {
  const parts = path.split("/").map((part) => part.replace(/[\p{Cc}\\:]/gu, "_"));
  return parts.filter(isSafeName).join("/") || "file";
}

function uniqueName(path: string, names: Set<string>): string {
  let name = path;
  for (let count = 2; names.has(name); count++) {
    const dot = path.lastIndexOf(".");
    const at = dot > path.lastIndexOf("/") + 1 ? dot : path.length;
    name = `${path.slice(0, at)} (${count})${path.slice(at)}`;
  }
  names.add(name);
  return name;
}

/** The format has dates from 1980 to 2099. */
function dateOf(ms: number): Date {
  const date = new Date(ms);
  const year = date.getFullYear();
  return year >= 1980 && year < 2100 ? date : new Date(1980, 0, 1);
}
