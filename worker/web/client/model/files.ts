/**
 * The files of a session's workspace, as both sides see them: the host owns them (a folder, or a workspace kept in the
 * browser), a guest asks the host for them. Paths are the protocol's: `folder/sub/file.ts`, the first part is one of the
 * workspace's folders, no slash in front, `/` between.
 */
import { createListeners, type Listeners } from "../../../../shared/base/listeners.ts";

export type EntryKind = "file" | "folder" | "link" | "unknown";

export interface Entry {
  readonly name: string;
  readonly kind: EntryKind;
}

export interface FileInfo {
  readonly kind: EntryKind;
  /** As the host claims. */
  readonly bytes: number;
  /** Wall time in ms. */
  readonly modifiedMs: number;
}

/** In the protocol's order. */
export const FILE_CHANGES = ["created", "changed", "deleted"] as const;
export type FileChange = (typeof FILE_CHANGES)[number];

/** Reads and changes files. Every function rejects with a `FileError`. */
export interface Files {
  /** Sorted: folders first, then by name. */
  list(folder: string): Promise<readonly Entry[]>;
  info(path: string): Promise<FileInfo>;
  read(path: string): Promise<Uint8Array>;
  /** Creates the file if it is missing; its folder exists. */
  write(path: string, content: Uint8Array): Promise<void>;
  makeFolder(path: string): Promise<void>;
  /** Also a folder with all it contains. */
  remove(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Reports changes by others: other programs, other peers. Returns a function that ends it. */
  watch(listener: (path: string, change: FileChange) => void): () => void;
}

/** Files of this page, which the page ends with the session: their watch, or the exchange with other tabs. */
export type OwnFiles = Files & { close(): void };

/** Those of `watch`. What one of them throws is an uncaught error of the page. */
export function createChangeListeners(): Listeners<[path: string, change: FileChange]> {
  return createListeners((error) => {
    queueMicrotask(() => {
      throw error;
    });
  });
}

export type FileErrorReason =
  | "missing"
  /** The name is taken, or invalid. */
  | "name"
  /** The user, the browser or the host does not permit it. */
  | "denied"
  | "read-only"
  | "full"
  | "too-large"
  /** No response: the host or its connection is gone. */
  | "unreachable"
  | "failed";

export class FileError extends Error {
  readonly reason: FileErrorReason;
  constructor(reason: FileErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "FileError";
    this.reason = reason;
  }
}
