/** The state of the file tree: folders are read when they are expanded, and again when others changed them. */
import { computed, effect, signal } from "@preact/signals";
import { folderOf } from "../../files/paths.ts";
import type { Session } from "../../model/session.ts";
import { messageOf } from "../controls/use-action.ts";
import { type FolderState, rowsOf } from "./tree-rows.ts";

export type FileTree = ReturnType<typeof createFileTree>;

/** Changes of a folder within this time are one reason to read it again. */
const CHANGE_DELAY_MS = 150;

export function createFileTree({ files, workspace }: Pick<Session, "files" | "workspace">) {
  const folders = signal<ReadonlyMap<string, FolderState>>(new Map());
  const expanded = signal<ReadonlySet<string>>(new Set());
  const selected = signal<string | undefined>(undefined);
  const rows = computed(() =>
    rowsOf({
      roots: workspace.value.folders,
      folders: folders.value,
      expanded: expanded.value,
    }),
  );
  const selectedIndex = computed(() =>
    rows.value.findIndex((row) => row.type === "entry" && row.path === selected.value),
  );
  const timers = new Map<string, ReturnType<typeof setTimeout>>();

  function set(folder: string, state: FolderState): void {
    folders.value = new Map(folders.peek()).set(folder, state);
  }

  /** Reads a folder again. */
  async function load(folder: string): Promise<void> {
    const before = folders.peek().get(folder);
    const loading: FolderState = {
      state: "loading",
      entries: before?.state === "failed" ? undefined : before?.entries,
    };
    set(folder, loading);
    const isCurrent = (): boolean => folders.peek().get(folder) === loading;
    try {
      const entries = await files.list(folder);
      if (isCurrent()) set(folder, { state: "ready", entries });
    } catch (error) {
      if (isCurrent()) set(folder, { state: "failed", message: messageOf(error) });
    }
  }

  async function expand(folder: string): Promise<void> {
    expanded.value = new Set(expanded.peek()).add(folder);
    if (folders.peek().get(folder)?.state !== "ready") await load(folder);
  }

  /** Expands the folders above `path` and selects it. */
  async function reveal(path: string): Promise<void> {
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth += 1) {
      const folder = parts.slice(0, depth).join("/");
      if (!expanded.peek().has(folder)) await expand(folder);
    }
    selected.value = path;
  }

  const endRoots = effect(() => {
    const [first] = workspace.value.folders;
    if (first !== undefined && !expanded.peek().has(first)) void expand(first);
  });
  const endWatch = files.watch((path, change) => {
    const folder = folderOf(path);
    if (change === "changed" || !folders.peek().has(folder) || timers.has(folder)) return;
    const timer = setTimeout(() => {
      timers.delete(folder);
      void load(folder);
    }, CHANGE_DELAY_MS);
    timers.set(folder, timer);
  });

  return {
    rows,
    /** Into `rows`; -1 when the selected entry is not shown. */
    selectedIndex,
    select: (path: string | undefined): void => {
      selected.value = path;
    },
    expand: (folder: string): void => void expand(folder),
    collapse: (folder: string): void => {
      const rest = new Set(expanded.peek());
      rest.delete(folder);
      expanded.value = rest;
    },
    load,
    /** Reads all folders that are shown again. */
    refresh: async (): Promise<void> => {
      const shown = [...folders.peek().keys()].filter((folder) => expanded.peek().has(folder));
      // What is collapsed is read when it is expanded again.
      folders.value = new Map([...folders.peek()].filter(([folder]) => shown.includes(folder)));
      await Promise.all(shown.map(load));
    },
    reveal,
    /** Where a new entry belongs: the selected folder, or the folder of the selected file. */
    targetFolder: (): string | undefined => {
      const row = rows.peek()[selectedIndex.peek()];
      if (row?.type !== "entry") return workspace.peek().folders[0];
      return row.kind === "folder" ? row.path : folderOf(row.path);
    },
    dispose: (): void => {
      endRoots();
      endWatch();
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}
