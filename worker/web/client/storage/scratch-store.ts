/**
 * Workspaces that are kept in the browser. Lists and sizes are apart from contents, so that listing a folder reads no content.
 */
import type { Backend, Change } from "./backend.ts";
import type { ProblemReport } from "./problem.ts";

const KEPT_MS = 30 * 24 * 60 * 60 * 1000;

export interface ScratchWorkspace {
  readonly id: string;
  /** Wall time in ms. */
  readonly lastUsedMs: number;
}

export interface ScratchEntry {
  /** `folder/sub/file.ts`, unique in its workspace. */
  readonly path: string;
  readonly kind: "file" | "folder";
  readonly bytes: number;
  /** Wall time in ms. */
  readonly modifiedMs: number;
}

export type ScratchChange =
  | { readonly put: ScratchEntry; readonly content?: Uint8Array }
  /** The entry itself; not what is below it. */
  | { readonly remove: string };

/** Functions reject when the browser refuses: what a user saves must not seem saved. Failures are reported as well. */
export type ScratchStore = ReturnType<typeof createScratchStore>;

export function createScratchStore(deps: {
  readonly backend: Backend;
  readonly report: ProblemReport;
  readonly now: () => number;
}) {
  const { backend, report, now } = deps;

  async function write(changes: readonly Change[]): Promise<void> {
    const writing = backend.write(changes);
    await report.write(writing);
    await writing;
  }

  return {
    /** Newest first. */
    async list(): Promise<readonly ScratchWorkspace[]> {
      const workspaces = await readWorkspaces(backend);
      return workspaces.sort((a, b) => b.lastUsedMs - a.lastUsedMs);
    },
    /** Creates the workspace, or notes that it is used now. */
    touch: (id: string): Promise<void> =>
      write([{ store: "scratch", put: id, value: { id, lastUsedMs: now() } }]),
    /** With its files. */
    delete: (id: string): Promise<void> => write(removal(id)),
    async entry(id: string, path: string): Promise<ScratchEntry | undefined> {
      const value = await backend.get("entries", `${id}/${path}`);
      return value as ScratchEntry | undefined;
    },
    /** All below `folder`, also in folders of it, without itself; of the whole workspace for "". */
    async below(id: string, folder: string): Promise<readonly ScratchEntry[]> {
      const prefix = folder === "" ? `${id}/` : `${id}/${folder}/`;
      return (await backend.values("entries", prefix)) as readonly ScratchEntry[];
    },
    async content(id: string, path: string): Promise<Uint8Array | undefined> {
      const value = await backend.get("contents", `${id}/${path}`);
      return value instanceof Uint8Array ? value : undefined;
    },
    /** All or none. */
    change: (id: string, changes: readonly ScratchChange[]): Promise<void> =>
      write(changes.flatMap((change) => changesOf(id, change))),
  };
}

export async function removeOldScratch(backend: Backend, now: () => number): Promise<void> {
  const workspaces = await readWorkspaces(backend);
  const old = workspaces.filter(({ lastUsedMs }) => lastUsedMs <= now() - KEPT_MS);
  await backend.write(old.flatMap(({ id }) => removal(id)));
}

async function readWorkspaces(backend: Backend): Promise<ScratchWorkspace[]> {
  return [...((await backend.values("scratch")) as readonly ScratchWorkspace[])];
}

function removal(id: string): readonly Change[] {
  return [
    { store: "scratch", remove: id },
    { store: "entries", removeAll: `${id}/` },
    { store: "contents", removeAll: `${id}/` },
  ];
}

function changesOf(id: string, change: ScratchChange): readonly Change[] {
  if ("remove" in change) {
    const key = `${id}/${change.remove}`;
    return [
      { store: "entries", remove: key },
      { store: "contents", remove: key },
    ];
  }
  const key = `${id}/${change.put.path}`;
  const entry: Change = { store: "entries", put: key, value: change.put };
  if (change.content === undefined) return [entry];
  return [entry, { store: "contents", put: key, value: change.content }];
}
