/**
 * The index of the clients folder, kept in a file between two runs, so that a restarted worker need not read every archive.
 * Without it, all archives are read again.
 */
import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { replaceFile } from "../../shared/base/replace-file.ts";
import { type CachedFile, cachedFileSchema } from "./formats/artifact.ts";

export interface ClientsIndex {
  readonly cached: ReadonlyMap<string, CachedFile>;
  /** SHA-256 by `digestKey`. */
  readonly digests: ReadonlyMap<string, string>;
}

/** Raised when a version reads archives differently: it ignores the files of older ones. */
const FORMAT = 2;
const MAX_BYTES = 64 * 1024 * 1024;

const fileSchema = z.object({
  format: z.literal(FORMAT),
  known: z.record(z.string(), cachedFileSchema),
  digests: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)),
});

const EMPTY: ClientsIndex = { cached: new Map(), digests: new Map() };

/** Empty when there is no such file, or it is invalid. */
export async function readIndexFile(path: string | undefined): Promise<ClientsIndex> {
  try {
    if (path === undefined || (await stat(path)).size > MAX_BYTES) return EMPTY;
    const { known, digests } = fileSchema.parse(JSON.parse(await readFile(path, "utf8")));
    return { cached: new Map(Object.entries(known)), digests: new Map(Object.entries(digests)) };
  } catch {
    return EMPTY;
  }
}

/** Replaces the file atomically, because several workers may write it. */
export async function writeIndexFile(
  path: string,
  { cached, digests }: ClientsIndex,
): Promise<void> {
  const known = Object.fromEntries(cached);
  const text = JSON.stringify({ format: FORMAT, known, digests: Object.fromEntries(digests) });
  await replaceFile(path, [text]);
}
