/**
 * Keeps the companion extension up to date: its version in the store, and its file in the data directory, from which it is
 * served like the operator's plugins.
 */
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../shared/base/clock.ts";
import { describeError } from "../../../shared/base/errors.ts";
import { oneFlight } from "../../../shared/base/one-flight.ts";
import { replaceFile } from "../../../shared/base/replace-file.ts";
import type { Log } from "../../../shared/logs/log.ts";
import { type Store, StoreAwayError } from "../../../shared/store/store.ts";
import type { VscodeArtifact } from "../formats/artifact.ts";
import { readVsix } from "../formats/vsix.ts";
import {
  type CompanionContent,
  companionFileName,
  companionVsix,
  dependencyOf,
} from "./package.ts";
import { agreeOnTime, versionAt } from "./version.ts";

export type CompanionState =
  /** CT_SERVER_URL is not set. */
  | { readonly state: "unconfigured" }
  /** The store was not available yet. */
  | { readonly state: "preparing" }
  | { readonly state: "failed"; readonly reason: string }
  | { readonly state: "ready"; readonly artifact: VscodeArtifact };

export type Companion = ReturnType<typeof createCompanion>;

/** How soon a worker adopts the version that another one agreed on meanwhile, and writes a file that was deleted. */
const REFRESH_MS = 60_000;

export function createCompanion(deps: {
  /** `CT_SERVER_URL`. */
  readonly serverUrl: string | undefined;
  /** Where its file is kept; created when it is missing. */
  readonly folder: string;
  readonly store: Pick<Store, "put" | "addToCounters" | "readCounters" | "timeMs">;
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Log;
}) {
  const { folder, store, clock, log } = deps;
  const serverUrl = deps.serverUrl?.replace(/\/+$/, "");
  let state: CompanionState = { state: serverUrl === undefined ? "unconfigured" : "preparing" };
  let current: { readonly dependency: string; readonly untilMs: number } | undefined;
  let writing: Promise<unknown> = Promise.resolve();
  let isClosed = false;

  const update = oneFlight(async (content: CompanionContent) => {
    const { dependency } = content;
    try {
      const isNew = dependency !== current?.dependency;
      const atMs = await agreeOnTime(store, content, { isNew });
      if (isClosed) return;
      const written = writeCompanion(folder, content, atMs);
      writing = written.catch(() => {});
      state = { state: "ready", artifact: await written };
      current = { dependency, untilMs: clock.nowMs() + REFRESH_MS };
    } catch (error) {
      // The catalog refreshes again with its next scan.
      if (error instanceof StoreAwayError) return;
      const reason = describeError(error);
      if (state.state !== "failed" || state.reason !== reason) {
        log.warn(
          { folder, reason },
          "cannot write the companion extension, so it is not offered; make the data directory writable",
        );
      }
      state = { state: "failed", reason };
    }
  });

  return {
    get state(): CompanionState {
      return state;
    },
    /** Brings it up to date for the offered extensions. Cheap when nothing changed; never rejects. */
    async refresh(extensions: readonly VscodeArtifact[]): Promise<void> {
      if (serverUrl === undefined || isClosed) return;
      const dependency = dependencyOf(extensions);
      const isCurrent = current?.dependency === dependency && clock.nowMs() < current.untilMs;
      if (isCurrent) return;
      await update({ serverUrl, dependency });
    },
    /** Resolves when no file is being written any more. */
    async close(): Promise<void> {
      isClosed = true;
      await writing;
    },
  };
}

/** Writes the file unless it is there. Name, bytes and time of change are the same on every worker, and so is its ETag. */
async function writeCompanion(
  folder: string,
  content: CompanionContent,
  atMs: number,
): Promise<VscodeArtifact> {
  const version = versionAt(atMs);
  const bytes = companionVsix(content, version);
  const name = companionFileName(version);
  const path = join(folder, name);
  if (!(await isWritten(path, bytes, atMs))) {
    await mkdir(folder, { recursive: true });
    // Several workers may write it.
    await replaceFile(path, [bytes], { mode: 0o666, modifiedMs: atMs });
  }
  const file = { name, path, bytes: bytes.length, mtimeMs: atMs };
  return { ...(await readVsix(path)), file };
}

async function isWritten(path: string, bytes: Buffer, atMs: number): Promise<boolean> {
  try {
    return (await stat(path)).mtimeMs === atMs && (await readFile(path)).equals(bytes);
  } catch {
    return false;
  }
}
