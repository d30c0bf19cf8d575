/**
 * Files of a folder on the user's disk, which other programs read and change at the same time.
 */
import { type Entry, FileError, type FileInfo, type Files, type OwnFiles } from "../model/files.ts";
import { storageError } from "./folder-errors.ts";
import { createFolderWatch, type FolderWatch } from "./folder-watch.ts";
import {
  isSwapFile,
  movedIntoItself,
  nameTaken,
  partsInFolder,
  partsOf,
  sortEntries,
} from "./paths.ts";

/** Larger files are not read into the page. */
const MAX_READ_BYTES = 256 * 1024 * 1024;

/** Moving is missing in some browsers, and for folders in most. */
interface Movable {
  move?(parent: FileSystemDirectoryHandle, name: string): Promise<void>;
}

/**
 * `name` is the first part of all paths. Needs a granted permission, else functions reject as denied. `watched` returns the
 * open files and the listed folders: where the browser cannot observe a folder, only these are looked at for changes.
 */
export function createFolderFiles(
  handle: FileSystemDirectoryHandle,
  name: string,
  options: { readonly watched?: () => Iterable<string>; readonly pollMs?: number } = {},
): OwnFiles {
  const tree = createTree(handle, name);
  const { watched = () => [], pollMs = 2_000 } = options;
  const look = (path: string): Promise<string | undefined> => tree.fingerprint(path);
  const watch = createFolderWatch({ handle, name, watched, pollMs, look });
  return { ...operationsOf(tree, watch), watch: watch.listen, close: watch.close };
}

// --- finding ---

type Tree = ReturnType<typeof createTree>;

function createTree(root: FileSystemDirectoryHandle, name: string) {
  async function folder(parts: readonly string[], isMade = false) {
    const [first, ...rest] = parts;
    if (first !== name) throw new DOMException("not a folder of this workspace", "NotFoundError");
    let at = root;
    for (const part of rest) at = await at.getDirectoryHandle(part, { create: isMade });
    return at;
  }

  /** The folder in which the path is, and its name there. */
  async function place(parts: readonly string[]) {
    return { parent: await folder(parts.slice(0, -1)), last: parts.at(-1) ?? "" };
  }

  /** A file or a folder. */
  async function find(parts: readonly string[]) {
    if (parts.length === 1) return folder(parts);
    const { parent, last } = await place(parts);
    try {
      return await parent.getFileHandle(last);
    } catch (error) {
      if (!isNamed(error, "TypeMismatchError")) throw error;
      return parent.getDirectoryHandle(last);
    }
  }

  return {
    name,
    folder,
    place,
    find,
    async exists(parts: readonly string[]): Promise<boolean> {
      try {
        await find(parts);
        return true;
      } catch (error) {
        if (isNamed(error, "NotFoundError")) return false;
        throw error;
      }
    },
    /** A value that changes with a file's content or a folder's names; undefined if there is none. */
    async fingerprint(path: string): Promise<string | undefined> {
      try {
        const found = await find(partsOf(path));
        if (found.kind === "file") {
          const { lastModified, size } = await found.getFile();
          return `${lastModified} ${size}`;
        }
        const names: string[] = [];
        for await (const child of found.keys()) if (!isSwapFile(child)) names.push(child);
        return names.sort().join("/");
      } catch (error) {
        // Also while another program replaces the file.
        if (isNamed(error, "NotFoundError", "NotReadableError")) return undefined;
        throw error;
      }
    },
  };
}

// --- changing ---

function operationsOf(tree: Tree, watch: FolderWatch): Omit<Files, "watch"> {
  return {
    list: (path) =>
      guard(path, async () => {
        if (path === "") return [{ name: tree.name, kind: "folder" }];
        const folder = await tree.folder(partsOf(path));
        const entries: Entry[] = [];
        for await (const [name, { kind }] of folder.entries()) {
          if (isSwapFile(name)) continue;
          entries.push({ name, kind: kind === "file" ? "file" : "folder" });
        }
        return sortEntries(entries);
      }),
    info: (path) =>
      guard(path, async (): Promise<FileInfo> => {
        const found = await tree.find(partsOf(path));
        if (found.kind === "directory") return { kind: "folder", bytes: 0, modifiedMs: 0 };
        const { size, lastModified } = await found.getFile();
        return { kind: "file", bytes: size, modifiedMs: lastModified };
      }),
    read: (path) =>
      guard(path, async () => {
        const { parent, last } = await tree.place(partsOf(path));
        const handle = await parent.getFileHandle(last);
        try {
          return await readFile(handle);
        } catch (error) {
          // Another program changed the file in between.
          if (!isNamed(error, "NotReadableError")) throw error;
          return await readFile(handle);
        }
      }),
    write: (path, content) =>
      guard(path, async () => {
        const { parent, last } = await tree.place(partsOf(path));
        await watch.changing([path], async () => {
          await writeFile(await parent.getFileHandle(last, { create: true }), content);
        });
      }),
    makeFolder: (path) =>
      guard(path, async () => {
        await watch.changing([path], () => tree.folder(partsOf(path), true));
      }),
    remove: (path) =>
      guard(path, async () => {
        const { parent, last } = await tree.place(partsInFolder(path));
        await watch.changing([path], () => parent.removeEntry(last, { recursive: true }));
      }),
    rename: (from, to) =>
      guard(from, async () => {
        const [source, target] = [partsInFolder(from), partsInFolder(to)];
        if (isInto(to, from)) throw movedIntoItself();
        const isTaken = await guard(to, async () => {
          await tree.place(target);
          // Also finds the file itself under a name that differs in capitals only, which copying would destroy.
          return tree.exists(target);
        });
        if (isTaken) throw nameTaken(to);
        await watch.changing([from, to], () => move(tree, source, target));
      }),
  };
}

async function move(
  tree: Tree,
  source: readonly string[],
  target: readonly string[],
): Promise<void> {
  const { parent, last: name } = await tree.place(source);
  const { parent: newParent, last: newName } = await tree.place(target);
  const found = await tree.find(source);
  const movable: typeof found & Movable = found;
  try {
    if (movable.move !== undefined) return await movable.move(newParent, newName);
  } catch (error) {
    if (
      !isNamed(error, "NotSupportedError", "InvalidModificationError", "AbortError", "TypeError")
    ) {
      throw error;
    }
  }
  try {
    await copy(found, newParent, newName);
  } catch (error) {
    // Half a copy must not look like the file; the original is untouched.
    await newParent.removeEntry(newName, { recursive: true }).catch(() => undefined);
    throw error;
  }
  await parent.removeEntry(name, { recursive: true });
}

async function copy(
  source: FileSystemFileHandle | FileSystemDirectoryHandle,
  parent: FileSystemDirectoryHandle,
  name: string,
): Promise<void> {
  if (source.kind === "file") {
    const target = await parent.getFileHandle(name, { create: true });
    return writeFile(target, await source.getFile());
  }
  const target = await parent.getDirectoryHandle(name, { create: true });
  for await (const [childName, child] of source.entries()) await copy(child, target, childName);
}

async function readFile(handle: FileSystemFileHandle): Promise<Uint8Array> {
  const file = await handle.getFile();
  if (file.size > MAX_READ_BYTES) {
    throw new FileError("too-large", `“${file.name}” is too large to open here.`);
  }
  return new Uint8Array(await file.arrayBuffer());
}

/** The browser writes to a second file and swaps the two at the end: other programs see the old content or the new one. */
async function writeFile(handle: FileSystemFileHandle, content: Uint8Array | Blob): Promise<void> {
  const stream = await handle.createWritable();
  try {
    await stream.write(content as Uint8Array<ArrayBuffer> | Blob);
  } catch (error) {
    await stream.abort().catch(() => undefined);
    throw error;
  }
  await stream.close();
}

/** In any capitals: on many disks `A/b` is in `a`, and copying it there would not end. */
function isInto(to: string, from: string): boolean {
  return to === from || to.toLowerCase().startsWith(`${from.toLowerCase()}/`);
}

async function guard<T>(path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw storageError(error, path);
  }
}

function isNamed(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof Error && names.includes(error.name);
}
