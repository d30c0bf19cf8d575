/**
 * What is known of the files of the clients folder, kept in one file between two runs, so that a worker that starts again
 * need not read every archive. Without it all is read again.
 */
import { randomBytes } from "node:crypto";
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { z } from "zod";
import { factsSchema } from "./formats/artifact.ts";
import type { Known } from "./formats/scan.ts";

export interface Remembered {
  readonly known: ReadonlyMap<string, Known>;
  /** SHA-256 by `digestKey`. */
  readonly digests: ReadonlyMap<string, string>;
}

/** Another version of this program may read archives in another way: its file does not count. */
const FORMAT = 2;
const MAX_BYTES = 64 * 1024 * 1024;

const fileSchema = z.object({
  format: z.literal(FORMAT),
  known: z.record(
    z.string(),
    z.union([
      z.object({ stamp: z.string(), facts: factsSchema }),
      z.object({ stamp: z.string(), reason: z.string() }),
    ]),
  ),
  digests: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)),
});

/** Nothing, when there is no file or it is of no use. */
export async function readIndexFile(path: string): Promise<Remembered> {
  try {
    if ((await stat(path)).size > MAX_BYTES) throw new Error("too large");
    const { known, digests } = fileSchema.parse(JSON.parse(await readFile(path, "utf8")));
    return {
      known: new Map(Object.entries(known)),
      digests: new Map(Object.entries(digests)),
    };
  } catch {
    return { known: new Map(), digests: new Map() };
  }
}

/** Whoever reads the file sees all of it or what was there before; several workers may write it. */
export async function writeIndexFile(path: string, { known, digests }: Remembered): Promise<void> {
  const text = JSON.stringify({
    format: FORMAT,
    known: Object.fromEntries(known),
    digests: Object.fromEntries(digests),
  });
  const fresh = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    await writeFile(fresh, text, { mode: 0o600 });
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}
