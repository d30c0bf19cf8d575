/**
 * Finds out when other programs change a folder: by the browser's FileSystemObserver, else by looking at the files and folders
 * that the page shows, while it is visible.
 */
import { createChangeListeners, type FileChange } from "../model/files.ts";
import { folderOf, isSafeName, isSwapFile } from "./paths.ts";

export type FolderWatch = ReturnType<typeof createFolderWatch>;

type Listener = (path: string, change: FileChange) => void;

interface WatchOptions {
  readonly handle: FileSystemDirectoryHandle;
  /** The first part of all paths. */
  readonly name: string;
  /** What to look at without an observer. */
  readonly watched: () => Iterable<string>;
  readonly pollMs: number;
  /** A value that changes with the file or the folder's names; undefined if it does not exist. */
  readonly look: (path: string) => Promise<string | undefined>;
}

export function createFolderWatch(options: WatchOptions) {
  const listeners = createChangeListeners();
  const state = createKnown(options.look);
  let stop: (() => void) | undefined;

  function start(): () => void {
    let isStopped = false;
    let isPolling = false;
    let stopSource = (): void => undefined;

    function poll(): void {
      if (isStopped || isPolling) return;
      isPolling = true;
      stopSource();
      stopSource = startPolling(options, state, listeners.notify);
    }

    observe(options, state, listeners.notify, poll).then((stopObserver) => {
      if (stopObserver === undefined) poll();
      else if (isStopped || isPolling) stopObserver();
      else stopSource = stopObserver;
    }, poll);

    return () => {
      isStopped = true;
      stopSource();
    };
  }

  return {
    listen: (listener: Listener): (() => void) => {
      const remove = listeners.add(listener);
      stop ??= start();
      return () => {
        remove();
        if (listeners.size > 0) return;
        stop?.();
        stop = undefined;
      };
    },
    changing: state.changing,
    close: (): void => {
      listeners.clear();
      stop?.();
      stop = undefined;
    },
  };
}

// --- what this page knows ---

type Known = ReturnType<typeof createKnown>;

/** Fingerprints of paths. A path that this page has changed is known as it was after that. */
function createKnown(look: WatchOptions["look"]) {
  const fingerprints = new Map<string, string | undefined>();
  /** How often this page has begun to change a path: a look that a change overlaps says nothing. */
  const changes = new Map<string, number>();
  const busy = new Map<string, number>();

  function count(map: Map<string, number>, path: string, difference: number): void {
    const value = (map.get(path) ?? 0) + difference;
    if (value === 0) map.delete(path);
    else map.set(path, value);
  }

  /** Makes a change of this page, which is not reported. */
  async function changing<T>(paths: readonly string[], change: () => Promise<T>): Promise<T> {
    // The folder's names change too.
    const all = [...new Set(paths.flatMap((path) => [path, folderOf(path)]))];
    for (const path of all) {
      count(changes, path, 1);
      count(busy, path, 1);
    }
    try {
      return await change();
    } finally {
      for (const path of all) {
        const isFolderOfIt = !paths.includes(path);
        // A folder is only looked at if it was before: listing it may take long.
        if (!isFolderOfIt || fingerprints.has(path)) {
          fingerprints.set(path, await look(path).catch(() => undefined));
        }
        count(busy, path, -1);
      }
    }
  }

  return {
    /** Whether this page has changed the path, or looked at it. */
    has: (path: string) => fingerprints.has(path) || busy.has(path),
    changing,
    /** Looks at the path. Undefined when it is as known, or when this page is changing it. */
    async compare(path: string): Promise<FileChange | "first" | undefined> {
      const begun = changes.get(path);
      const current = await look(path);
      if (busy.has(path) || changes.get(path) !== begun) return undefined;
      const isFirst = !fingerprints.has(path);
      const old = fingerprints.get(path);
      fingerprints.set(path, current);
      if (isFirst) return "first";
      if (old === current) return undefined;
      if (current === undefined) return "deleted";
      return old === undefined ? "created" : "changed";
    },
    forgetAllBut(paths: ReadonlySet<string>): void {
      for (const path of fingerprints.keys()) {
        if (paths.has(path) || busy.has(path)) continue;
        fingerprints.delete(path);
        changes.delete(path);
      }
    },
  };
}

// --- polling ---

/** Paths that are looked at in one round, so that a round stays short. */
const MAX_WATCHED = 500;

function startPolling(
  { watched, pollMs }: WatchOptions,
  known: Known,
  report: Listener,
): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;

  async function round(): Promise<void> {
    const paths = new Set([...watched()].slice(0, MAX_WATCHED));
    known.forgetAllBut(paths);
    for (const path of paths) {
      if (isStopped || document.visibilityState === "hidden") return;
      // A folder that may not be read any more says so when the user works in it.
      const change = await known.compare(path).catch(() => undefined);
      if (change !== undefined && change !== "first" && !isStopped) report(path, change);
    }
  }

  function plan(): void {
    clearTimeout(timer);
    if (isStopped || document.visibilityState === "hidden") return;
    timer = setTimeout(() => void round().finally(plan), pollMs);
  }

  document.addEventListener("visibilitychange", plan);
  void round().finally(plan);
  return () => {
    isStopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", plan);
  };
}

// --- observing ---

interface ObserverRecord {
  readonly type: "appeared" | "disappeared" | "modified" | "moved" | "unknown" | "errored";
  readonly relativePathComponents: readonly string[];
  readonly relativePathMovedFrom?: readonly string[] | null;
}

interface Observer {
  observe(handle: FileSystemDirectoryHandle, options: { recursive: boolean }): Promise<void>;
  disconnect(): void;
}

interface ObserverApi {
  readonly FileSystemObserver?: new (
    callback: (records: readonly ObserverRecord[]) => void,
  ) => Observer;
}

const CHANGES: Readonly<Partial<Record<ObserverRecord["type"], FileChange>>> = {
  appeared: "created",
  disappeared: "deleted",
  modified: "changed",
  moved: "created",
};

/** Resolves with a function that ends it; undefined when the browser has no observer. Rejects when it cannot observe this folder. */
async function observe(
  { handle, name }: WatchOptions,
  known: Known,
  report: Listener,
  onFailed: () => void,
): Promise<(() => void) | undefined> {
  const { FileSystemObserver } = globalThis as ObserverApi;
  if (FileSystemObserver === undefined) return undefined;

  async function tell(parts: readonly string[], change: FileChange): Promise<void> {
    if (parts.length === 0 || !parts.every(isSafeName) || isSwapFile(parts.at(-1) ?? "")) return;
    const path = [name, ...parts].join("/");
    // Thousands of files may change at once: only those that this page has changed are looked at.
    if (!known.has(path)) return report(path, change);
    const difference = await known.compare(path).catch(() => undefined);
    if (difference !== undefined) report(path, difference === "first" ? change : difference);
  }

  const observer = new FileSystemObserver((records) => {
    for (const { type, relativePathComponents, relativePathMovedFrom } of records) {
      // Too many folders for the operating system, or the folder itself is gone.
      if (type === "errored") return onFailed();
      const change = CHANGES[type];
      if (relativePathMovedFrom) void tell(relativePathMovedFrom, "deleted");
      if (change !== undefined) void tell(relativePathComponents, change);
    }
  });
  await observer.observe(handle, { recursive: true });
  return () => observer.disconnect();
}
