/**
 * SHA-256 of the offered files, shown on the page. Computed in the background, one file at a time and with pauses, because
 * the same process relays sessions.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { coalesced } from "../../shared/base/one-flight.ts";
import type { ArtifactFile } from "./formats/artifact.ts";

export type Digests = ReturnType<typeof createDigests>;

/** About 0.2 ms of work. */
const CHUNK_BYTES = 256 * 1024;
/** A pause is this many times as long as the work before it: at most a quarter of a core. */
const PAUSE_FACTOR = 3;

export function createDigests(deps: {
  readonly clock: Clock;
  /** Digests of an earlier run, by `digestKey`. */
  readonly cached: ReadonlyMap<string, string>;
  readonly onDone: () => void;
}) {
  const { clock } = deps;
  const digests = new Map(deps.cached);
  let wanted: readonly ArtifactFile[] = [];
  let isClosed = false;

  const computeAll = coalesced(async () => {
    while (!isClosed) {
      const file = wanted.find((candidate) => !digests.has(digestKey(candidate)));
      if (file === undefined) {
        deps.onDone();
        return;
      }
      // An unreadable file gets an empty digest, so that it is not tried again until it changes.
      digests.set(digestKey(file), await digestOf(file).catch(() => ""));
    }
  });

  async function digestOf({ path }: ArtifactFile): Promise<string> {
    const hash = createHash("sha256");
    const handle = await open(path, "r");
    try {
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
      for (;;) {
        const { bytesRead } = await handle.read({ buffer });
        if (bytesRead === 0 || isClosed) return hash.digest("hex");
        const startMs = clock.nowMs();
        hash.update(buffer.subarray(0, bytesRead));
        await sleep(clock, (clock.nowMs() - startMs) * PAUSE_FACTOR);
      }
    } finally {
      await handle.close();
    }
  }

  return {
    /** Hexadecimal; undefined until it is computed. */
    of: (file: ArtifactFile) => digests.get(digestKey(file)) || undefined,
    /** Computes the digests of these files, and drops all others. */
    setFiles(files: readonly ArtifactFile[]): void {
      wanted = files;
      const keys = new Set(files.map(digestKey));
      for (const key of digests.keys()) if (!keys.has(key)) digests.delete(key);
      void computeAll();
    },
    close(): void {
      isClosed = true;
    },
  };
}

/** Identifies one state of a file: a changed file has another key. */
export function digestKey({ path, bytes, mtimeMs }: ArtifactFile): string {
  return `${path} ${bytes} ${mtimeMs}`;
}
