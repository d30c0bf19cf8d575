/**
 * Folders of the user's disk (File System Access API): whether this browser has them, choosing one, and its permission. The
 * browser forgets a permission with the page; it is asked for again after a click.
 */
import { isSafeName } from "./paths.ts";

/** Parts of the API that are not in every browser, or not in TypeScript's library. */
interface FolderApi {
  queryPermission?(descriptor: { readonly mode: "readwrite" }): Promise<PermissionState>;
  requestPermission?(descriptor: { readonly mode: "readwrite" }): Promise<PermissionState>;
}

interface PickerApi {
  showDirectoryPicker?(options: {
    readonly id: string;
    readonly mode: "readwrite";
  }): Promise<FileSystemDirectoryHandle>;
}

export function canOpenFolder(): boolean {
  return "showDirectoryPicker" in globalThis;
}

/** Opens the browser's folder chooser; needs a click. Undefined when the user cancels, or when the browser refuses the folder. */
export async function chooseFolder(): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    // One id: the chooser opens where the last folder was.
    const options = { id: "workspace", mode: "readwrite" } as const;
    return await (globalThis as PickerApi).showDirectoryPicker?.(options);
  } catch (error) {
    if (error instanceof DOMException) return undefined;
    throw error;
  }
}

/** The workspace's name, which is the first part of its paths. The root of a disk has none that could be. */
export function workspaceNameOf(handle: FileSystemDirectoryHandle): string {
  return isSafeName(handle.name) ? handle.name : "folder";
}

/** Without asking the user. */
export async function folderPermission(
  handle: FileSystemDirectoryHandle,
): Promise<PermissionState> {
  const api: FileSystemDirectoryHandle & FolderApi = handle;
  // Handles of the browser's own storage need no permission, and have no function in some browsers.
  return (await api.queryPermission?.({ mode: "readwrite" })) ?? "granted";
}

/** Asks the user; needs a click. Never rejects. */
export async function askFolderPermission(
  handle: FileSystemDirectoryHandle,
): Promise<PermissionState> {
  const api: FileSystemDirectoryHandle & FolderApi = handle;
  try {
    return (await api.requestPermission?.({ mode: "readwrite" })) ?? "granted";
  } catch {
    // No click, or the folder does not exist any more.
    return "denied";
  }
}
