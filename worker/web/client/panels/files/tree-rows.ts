/** The lines of the file tree, from what is known of its folders. Pure. */
import type { Entry, EntryKind } from "../../model/files.ts";

export type FolderState =
  /** `entries`: as they were before, while they are read again. */
  | { readonly state: "loading"; readonly entries: readonly Entry[] | undefined }
  | { readonly state: "ready"; readonly entries: readonly Entry[] }
  | { readonly state: "failed"; readonly message: string };

export interface EntryRow {
  readonly type: "entry";
  readonly path: string;
  readonly name: string;
  readonly kind: EntryKind;
  /** From 1. */
  readonly level: number;
  /** Undefined for what cannot be expanded. */
  readonly isExpanded: boolean | undefined;
  /** From 1, among `setSize` entries of its folder. */
  readonly position: number;
  readonly setSize: number;
}

/** In the place of a folder's entries: it is read, is empty, or could not be read. */
export interface NoteRow {
  readonly type: "note";
  readonly folder: string;
  readonly level: number;
  readonly text: string;
  readonly isFailure: boolean;
}

export type Row = EntryRow | NoteRow;

export interface TreeState {
  /** The workspace's own folders. One alone is not shown: its entries are the top level. */
  readonly roots: readonly string[];
  readonly folders: ReadonlyMap<string, FolderState>;
  readonly expanded: ReadonlySet<string>;
}

export function rowsOf({ roots, folders, expanded }: TreeState): Row[] {
  const rows: Row[] = [];

  function addFolder(folder: string, level: number): void {
    const known = folders.get(folder);
    if (known?.state === "failed") {
      rows.push({ type: "note", folder, level, text: known.message, isFailure: true });
      return;
    }
    const entries = known?.entries;
    if (entries === undefined || entries.length === 0) {
      const text = entries === undefined ? "Loading…" : "Empty folder";
      rows.push({ type: "note", folder, level, text, isFailure: false });
      return;
    }
    addEntries(entries, `${folder}/`, level);
  }

  function addEntries(entries: readonly Entry[], prefix: string, level: number): void {
    for (const [index, { name, kind }] of entries.entries()) {
      const path = prefix + name;
      const isExpanded = kind === "folder" ? expanded.has(path) : undefined;
      const place = { position: index + 1, setSize: entries.length };
      rows.push({ type: "entry", path, name, kind, level, isExpanded, ...place });
      if (isExpanded === true) addFolder(path, level + 1);
    }
  }

  const [only] = roots;
  if (only !== undefined && roots.length === 1) addFolder(only, 1);
  else {
    const entries = roots.map((name) => ({ name, kind: "folder" as const }));
    addEntries(entries, "", 1);
  }
  return rows;
}

/**
 * The entry that a key of the keyboard leads to, per the tree pattern of ARIA's authoring practices; `pageSize` in rows.
 * Undefined for other keys.
 */
export function rowForKey(
  rows: readonly Row[],
  from: number,
  key: string,
  pageSize: number,
): EntryRow | undefined {
  switch (key) {
    case "ArrowDown":
      return nextEntry(rows, from + 1, 1);
    case "ArrowUp":
      return nextEntry(rows, from - 1, -1);
    case "Home":
      return nextEntry(rows, 0, 1);
    case "End":
      return nextEntry(rows, rows.length - 1, -1);
    case "PageDown":
      return nextEntry(rows, Math.min(rows.length - 1, from + pageSize), -1);
    case "PageUp":
      return nextEntry(rows, Math.max(0, from - pageSize), 1);
    default:
      return undefined;
  }
}

/** The next entry after `from` whose name begins with `typed`; starts over at the end. */
export function rowForText(
  rows: readonly Row[],
  from: number,
  typed: string,
): EntryRow | undefined {
  const wanted = typed.toLowerCase();
  // A longer text goes on from the entry that its first letters found.
  const start = typed.length > 1 ? Math.max(0, from) : from + 1;
  for (let step = 0; step < rows.length; step += 1) {
    const row = rows[(start + step) % rows.length];
    if (row?.type === "entry" && row.name.toLowerCase().startsWith(wanted)) return row;
  }
  return undefined;
}

function nextEntry(rows: readonly Row[], from: number, step: 1 | -1): EntryRow | undefined {
  for (let at = from; at >= 0 && at < rows.length; at += step) {
    const row = rows[at];
    if (row?.type === "entry") return row;
  }
  return undefined;
}
