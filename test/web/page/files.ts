/** Runs in a page: scratch workspaces, and folders in the browser's own file system, whose handles are those of a disk. */
import {
  folderPermission,
  workspaceNameOf,
} from "../../../worker/web/client/files/folder-access.ts";
import { createFolderFiles } from "../../../worker/web/client/files/folder-files.ts";
import {
  createScratchFiles,
  createScratchWorkspace,
} from "../../../worker/web/client/files/scratch-files.ts";
import { zipFiles } from "../../../worker/web/client/files/zip.ts";
import type {
  FileChange,
  FileError,
  Files,
  OwnFiles,
} from "../../../worker/web/client/model/files.ts";
import { openDatabase } from "../../../worker/web/client/storage/database.ts";

// --- what both kinds of workspaces do ---

export type Kind = "scratch" | "folder" | "folder without move";

/** Every outcome by the name of what was done. */
export async function workWith(kind: Kind) {
  const { files, top } = await openWorkspace(kind);
  const at = (path: string): string => `${top}/${path}`;
  const result: Record<string, unknown> = {};
  await files.makeFolder(at("src/deep"));
  await files.makeFolder(at("src/deep"));
  await files.write(at("src/deep/a.txt"), bytesOf("hello"));
  await files.write(at("B.txt"), bytesOf("first"));
  await files.write(at("B.txt"), bytesOf("second"));
  result["top"] = await files.list("");
  result["listed"] = await files.list(top);
  result["read"] = textOf(await files.read(at("B.txt")));
  const info = await files.info(at("B.txt"));
  result["info"] = { kind: info.kind, bytes: info.bytes };
  result["isRecent"] = Math.abs(Date.now() - info.modifiedMs) < 60_000;
  result["folder"] = (await files.info(at("src"))).kind;
  await files.rename(at("B.txt"), at("src/c.txt"));
  await files.rename(at("src"), at("lib"));
  result["renamed"] = [await files.list(at("lib")), await files.list(at("lib/deep"))];
  result["moved"] = [
    textOf(await files.read(at("lib/c.txt"))),
    textOf(await files.read(at("lib/deep/a.txt"))),
  ];
  result["refusals"] = await refusalsOf(files, at);
  const { blob, skipped } = await zipFiles(files, [top]);
  result["zip"] = { isLarge: blob.size > 200, type: blob.type, skipped };
  await files.remove(at("lib/c.txt"));
  await files.remove(at("lib"));
  result["left"] = await files.list(top);
  return result;
}

async function refusalsOf(files: Files, at: (path: string) => string) {
  const operations: Record<string, Promise<unknown>> = {
    "read a missing file": files.read(at("none")),
    "list a missing folder": files.list(at("none")),
    "read in another workspace": files.read("other/a"),
    "read a folder": files.read(at("lib")),
    "list a file": files.list(at("lib/c.txt")),
    "write a folder": files.write(at("lib"), bytesOf("x")),
    "write below a missing folder": files.write(at("none/a"), bytesOf("x")),
    "write below a file": files.write(at("lib/c.txt/a"), bytesOf("x")),
    "write above": files.write(at("../x"), bytesOf("x")),
    "make a folder of a file": files.makeFolder(at("lib/c.txt")),
    "rename to a taken name": files.rename(at("lib/c.txt"), at("lib/deep")),
    "rename into itself": files.rename(at("lib"), at("lib/deep/lib")),
    "rename a missing file": files.rename(at("none"), at("some")),
    "remove a missing file": files.remove(at("none")),
    "remove everything": files.remove(at("x").slice(0, -2)),
  };
  const entries = Object.entries(operations).map(async ([name, operation]) => [
    name,
    await operation.then(
      () => "done",
      (error: FileError) => error.reason,
    ),
  ]);
  return Object.fromEntries(await Promise.all(entries)) as Record<string, string>;
}

async function openWorkspace(kind: Kind) {
  if (kind === "scratch") {
    const database = await openDatabase({ name: "files" });
    const files = createScratchFiles(database, await createScratchWorkspace(database));
    for (const { name } of await files.list("scratch")) await files.remove(`scratch/${name}`);
    return { files, top: "scratch" };
  }
  if (kind === "folder without move") {
    Reflect.deleteProperty(FileSystemHandle.prototype, "move");
    Reflect.deleteProperty(FileSystemFileHandle.prototype, "move");
    if ("move" in FileSystemFileHandle.prototype) throw new Error("move is still there");
  }
  return { files: createFolderFiles(await newFolder(), "work"), top: "work" };
}

// --- scratch workspaces ---

let scratch: OwnFiles | undefined;
let seenInScratch: [string, FileChange][] = [];

export async function startScratch() {
  const database = await openDatabase({ name: "two-tabs" });
  const id = await createScratchWorkspace(database);
  await openScratch(id);
  return { id, names: (await scratch?.list("scratch"))?.map(({ name }) => name) };
}

export async function openScratch(id: string): Promise<void> {
  scratch = createScratchFiles(await openDatabase({ name: "two-tabs" }), id);
  seenInScratch = [];
  scratch.watch((path, change) => seenInScratch.push([path, change]));
}

export async function writeScratch(path: string, text: string): Promise<void> {
  await scratch?.write(path, bytesOf(text));
}

export async function readScratch(path: string) {
  return textOf((await scratch?.read(path)) ?? new Uint8Array());
}

export function changesInScratch() {
  return seenInScratch;
}

// --- changes by other programs ---

let watchedFolder: FileSystemDirectoryHandle | undefined;
let seen: [string, FileChange][] = [];
let files: ReturnType<typeof createFolderFiles> | undefined;

/** Watches with the browser's observer, or without it. */
export async function watchFolder(isObserved: boolean) {
  if (!isObserved) Reflect.deleteProperty(globalThis, "FileSystemObserver");
  const hasObserver = "FileSystemObserver" in globalThis;
  watchedFolder = await newFolder();
  await writeDirectly("open.txt", "one");
  await watchedFolder.getDirectoryHandle("sub", { create: true });
  const watched = (): string[] => ["work", "work/open.txt", "work/sub"];
  files = createFolderFiles(watchedFolder, "work", { watched, pollMs: isObserved ? 600_000 : 20 });
  seen = [];
  files.watch((path, change) => seen.push([path, change]));
  return hasObserver;
}

/** As another program does. */
export async function writeDirectly(name: string, text: string): Promise<void> {
  const file = await watchedFolder?.getFileHandle(name, { create: true });
  const stream = await file?.createWritable();
  await stream?.write(text);
  await stream?.close();
}

export async function removeDirectly(name: string): Promise<void> {
  await watchedFolder?.removeEntry(name);
}

/** As the page does itself. */
export async function writeByPage(name: string, text: string): Promise<void> {
  await files?.write(`work/${name}`, bytesOf(text));
}

export async function workByPage(): Promise<void> {
  await files?.makeFolder("work/made");
  await files?.rename("work/made", "work/renamed");
  await files?.remove("work/renamed");
}

export function changes() {
  return seen;
}

export function stopWatching(): void {
  files?.close();
}

// --- other ---

export async function listManyFiles(count: number) {
  const folder = await newFolder();
  const numbers = Array.from({ length: count }, (_, index) => index);
  await Promise.all(numbers.map((number) => folder.getFileHandle(`f${number}`, { create: true })));
  const started = performance.now();
  const entries = await createFolderFiles(folder, "work").list("work");
  return {
    ms: performance.now() - started,
    isSorted: entries.every(({ name }, index) => name === `f${index}`),
    count: entries.length,
  };
}

export async function permissionOfOwnFolder() {
  return folderPermission(await newFolder());
}

export async function namesOfWorkspaces() {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle("my work", { create: true });
  return [workspaceNameOf(folder), workspaceNameOf(root)];
}

/** A handle to a folder that was deleted. */
export async function useAVanishedFolder() {
  const folder = await newFolder();
  const vanished = createFolderFiles(folder, "work");
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(folder.name, { recursive: true });
  return vanished.list("work").catch((error: FileError) => error.reason);
}

async function newFolder(): Promise<FileSystemDirectoryHandle> {
  const root = await navigator.storage.getDirectory();
  return root.getDirectoryHandle(crypto.randomUUID(), { create: true });
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
