/**
 * SHA-256 of the files that are offered, for people who compare it. Worked out in the background, one file at a time and
 * with pauses, because the same process relays sessions.
 */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import type { ArtifactFile } from "./formats/artifact.ts";

export interface Digests {
  /** Hexadecimal; undefined while it is not known. */
  of(file: ArtifactFile): string | undefined;
  /** Makes sure that the digests of these files become known, and forgets all others. */
  want(files: readonly ArtifactFile[]): void;
  close(): void;
}

/** About 0.2 ms of work. */
const CHUNK_BYTES = 256 * 1024;
/** Pauses are so many times as long as the work between them: a quarter of a core at most. */
const PAUSE_FACTOR = 3;

export function createDigests(needs: {
  readonly clock: Clock;
  /** Known from before, by `digestKey`. */
  readonly known: ReadonlyMap<string, string>;
  /** Called when there is nothing left to work out. */
  readonly onDone: () => void;
}): Digests {
  const { clock } = needs;
  const digests = new Map(needs.known);
  let wanted: readonly ArtifactFile[] = [];
  let isWorking = false;
  let isClosed = false;

  async function work(): Promise<void> {
    for (;;) {
      const file = wanted.find((candidate) => !digests.has(digestKey(candidate)));
      if (file === undefined || isClosed) return;
      const digest = await digestOf(file).catch(() => "");
      // A file that cannot be read (any more) is not tried again until it changes.
      digests.set(digestKey(file), digest);
    }
  }

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
    of: (file) => digests.get(digestKey(file)) || undefined,
    want(files) {
      wanted = files;
      const keys = new Set(files.map(digestKey));
      for (const key of digests.keys()) if (!keys.has(key)) digests.delete(key);
      if (isWorking) return;
      isWorking = true;
      work()
        .then(() => {
          if (!isClosed) needs.onDone();
        })
        .finally(() => {
          isWorking = false;
        })
        .catch(() => {});
    },
    close() {
      isClosed = true;
    },
  };
}

/** A file as it is now; another state of it has another key. */
export function digestKey({ path, bytes, mtimeMs }: ArtifactFile): string {
  return `${path} ${bytes} ${mtimeMs}`;
}
