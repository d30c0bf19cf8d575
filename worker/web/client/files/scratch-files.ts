/**
 * Files of a workspace that is kept in the browser. Other tabs that have it open are told about changes.
 */
import { fieldsOf } from "../../../../shared/base/json.ts";
import {
  createChangeListeners,
  type Entry,
  FILE_CHANGES,
  type FileChange,
  FileError,
  type FileInfo,
  type Files,
  type OwnFiles,
} from "../model/files.ts";
import type { Database } from "../storage/database.ts";
import type { ScratchChange, ScratchEntry, ScratchStore } from "../storage/scratch-store.ts";
import {
  folderOf,
  isWithin,
  movedIntoItself,
  nameOf,
  nameTaken,
  partsInFolder,
  partsOf,
  sortEntries,
} from "./paths.ts";
import { STARTER_FILES } from "./starter-files.ts";

/** The one folder of every scratch workspace. */
export const SCRATCH_FOLDER = "scratch";

/** Makes a workspace with a few files to start with; resolves with its id. Rejects with a `FileError`. */
export async function createScratchWorkspace(database: Database): Promise<string> {
  const id = crypto.randomUUID();
  const encoder = new TextEncoder();
  await storing(async () => {
    await database.scratch.touch(id);
    await database.scratch.change(id, [
      { put: entryOf(SCRATCH_FOLDER, "folder", 0) },
      ...STARTER_FILES.map(({ name, text }): ScratchChange => {
        const content = encoder.encode(text);
        return { put: entryOf(`${SCRATCH_FOLDER}/${name}`, "file", content.length), content };
      }),
    ]);
  });
  return id;
}

export function createScratchFiles(database: Database, workspaceId: string): OwnFiles {
  const store = database.scratch;
  const others = new BroadcastChannel(`ct-scratch-${workspaceId}`);
  const listeners = createChangeListeners();
  others.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
    // From this same origin, but perhaps from another version of the page.
    if (!isChange(data)) return;
    listeners.notify(data.path, data.change);
  });

  async function change(changes: readonly ScratchChange[], told: readonly Told[]): Promise<void> {
    await store.change(workspaceId, changes);
    for (const message of told) others.postMessage(message);
  }

  const reads = readsOf(store, workspaceId);
  const writes = writesOf(store, workspaceId, change);
  return {
    list: (folder) => storing(() => reads.list(folder)),
    info: (path) => storing(() => reads.info(path)),
    read: (path) => storing(() => reads.read(path)),
    write: (path, content) => storing(() => writes.write(path, content)),
    makeFolder: (path) => storing(() => writes.makeFolder(path)),
    remove: (path) => storing(() => writes.remove(path)),
    rename: (from, to) => storing(() => writes.rename(from, to)),
    watch: listeners.add,
    close: () => others.close(),
  };
}

/** What other tabs are told. */
interface Told {
  readonly path: string;
  readonly change: FileChange;
}

function readsOf(store: ScratchStore, id: string): Pick<Files, "list" | "info" | "read"> {
  return {
    async list(folder): Promise<readonly Entry[]> {
      if (folder !== "") await needFolder(store, id, folder);
      const below = await store.below(id, folder);
      const children = below.filter(({ path }) => folderOf(path) === folder);
      return sortEntries(children.map(({ path, kind }) => ({ name: nameOf(path), kind })));
    },
    async info(path): Promise<FileInfo> {
      const { kind, bytes, modifiedMs } = await needEntry(store, id, path);
      return { kind, bytes, modifiedMs };
    },
    async read(path) {
      const content = await store.content(id, path);
      if (content !== undefined) return content;
      await needEntry(store, id, path);
      throw new FileError("name", `“${nameOf(path)}” is a folder.`);
    },
  };
}

function writesOf(
  store: ScratchStore,
  id: string,
  change: (changes: readonly ScratchChange[], told: readonly Told[]) => Promise<void>,
): Pick<Files, "write" | "makeFolder" | "remove" | "rename"> {
  return {
    async write(path, content) {
      partsOf(path);
      await needFolder(store, id, folderOf(path));
      const old = await store.entry(id, path);
      if (old?.kind === "folder") throw nameTaken(path);
      await change(
        [{ put: entryOf(path, "file", content.length), content }],
        [{ path, change: old === undefined ? "created" : "changed" }],
      );
    },
    async makeFolder(path) {
      const parts = partsOf(path);
      const made: ScratchEntry[] = [];
      for (let count = 1; count <= parts.length; count++) {
        const at = parts.slice(0, count).join("/");
        const old = await store.entry(id, at);
        if (old?.kind === "file") throw nameTaken(at);
        if (old === undefined && count === 1) throw missing(at);
        if (old === undefined) made.push(entryOf(at, "folder", 0));
      }
      await change(
        made.map((entry) => ({ put: entry })),
        made.map((entry) => ({ path: entry.path, change: "created" })),
      );
    },
    async remove(path) {
      await needEntry(store, id, path);
      partsInFolder(path);
      const below = await store.below(id, path);
      await change(
        [{ remove: path }, ...below.map((entry) => ({ remove: entry.path }))],
        [{ path, change: "deleted" }],
      );
    },
    async rename(from, to) {
      const entry = await needEntry(store, id, from);
      partsOf(to);
      partsInFolder(from);
      if (isWithin(to, from)) throw movedIntoItself();
      if ((await store.entry(id, to)) !== undefined) throw nameTaken(to);
      await needFolder(store, id, folderOf(to));
      const moved = [entry, ...(await store.below(id, from))];
      const changes = await Promise.all(
        moved.map(async (old): Promise<ScratchChange[]> => {
          const put = { ...old, path: to + old.path.slice(from.length) };
          const content = await store.content(id, old.path);
          return [{ remove: old.path }, content === undefined ? { put } : { put, content }];
        }),
      );
      await change(changes.flat(), [
        { path: from, change: "deleted" },
        { path: to, change: "created" },
      ]);
    },
  };
}

// --- refusals ---

async function needEntry(store: ScratchStore, id: string, path: string): Promise<ScratchEntry> {
  partsOf(path);
  const entry = await store.entry(id, path);
  if (entry === undefined) throw missing(path);
  return entry;
}

async function needFolder(store: ScratchStore, id: string, path: string): Promise<void> {
  const entry = await needEntry(store, id, path);
  if (entry.kind !== "folder") throw new FileError("name", `“${nameOf(path)}” is not a folder.`);
}

function entryOf(path: string, kind: "file" | "folder", bytes: number): ScratchEntry {
  return { path, kind, bytes, modifiedMs: Date.now() };
}

function missing(path: string): FileError {
  return new FileError("missing", `“${nameOf(path)}” does not exist any more.`);
}

/** The database's own errors as file errors. */
async function storing<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof FileError) throw error;
    if (error instanceof Error && error.name === "QuotaExceededError") {
      const text = "This browser has no space left. Free some disk space, then save again.";
      throw new FileError("full", text, { cause: error });
    }
    const text = "The browser’s storage failed. Reload the page, or download your files first.";
    throw new FileError("failed", text, { cause: error });
  }
}

function isChange(data: unknown): data is Told {
  const { path, change } = fieldsOf(data);
  return typeof path === "string" && FILE_CHANGES.some((one) => one === change);
}
