/** Files in memory, with the least that a test of their users needs. */
import { type FileChange, FileError, type Files } from "../../../worker/web/client/model/files.ts";

export interface MemoryFiles extends Files {
  /** Text by path; folders are undefined. */
  readonly content: Map<string, string | undefined>;
  /** Another program changes a file. */
  change(path: string, text: string): void;
}

export function createMemoryFiles(texts: Readonly<Record<string, string>>): MemoryFiles {
  const content = new Map<string, string | undefined>();
  const listeners = new Set<(path: string, change: FileChange) => void>();
  for (const [path, text] of Object.entries(texts)) {
    const parts = path.split("/");
    for (let count = 1; count < parts.length; count++) {
      content.set(parts.slice(0, count).join("/"), undefined);
    }
    content.set(path, text);
  }

  function need(path: string): string | undefined {
    if (!content.has(path)) throw new FileError("missing", "missing");
    return content.get(path);
  }

  const below = (folder: string): string[] =>
    [...content.keys()].filter((path) => path.startsWith(`${folder}/`));

  return {
    content,
    async list(folder) {
      need(folder);
      return below(folder)
        .filter((path) => !path.slice(folder.length + 1).includes("/"))
        .map((path) => ({
          name: path.slice(folder.length + 1),
          kind: content.get(path) === undefined ? "folder" : "file",
        }));
    },
    async info(path) {
      const text = need(path);
      return {
        kind: text === undefined ? "folder" : "file",
        bytes: text?.length ?? 0,
        modifiedMs: 1_700_000_000_000,
      };
    },
    async read(path) {
      return new TextEncoder().encode(need(path));
    },
    async write(path, bytes) {
      need(path.slice(0, path.lastIndexOf("/")));
      content.set(path, new TextDecoder().decode(bytes));
    },
    async makeFolder(path) {
      content.set(path, undefined);
    },
    async remove(path) {
      need(path);
      for (const each of [path, ...below(path)]) content.delete(each);
    },
    async rename(from, to) {
      if (content.has(to)) throw new FileError("name", "taken");
      for (const path of [from, ...below(from)]) {
        content.set(to + path.slice(from.length), need(path));
        content.delete(path);
      }
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    change(path, text) {
      content.set(path, text);
      for (const listener of listeners) listener(path, "changed");
    },
  };
}
