/** The files of a guest's session over connections that follow each other. */
import { createChangeListeners, FileError, type Files } from "../model/files.ts";

export interface CurrentFiles extends Files {
  /** Asks these files from now on. */
  use(files: Files): void;
}

export function createCurrentFiles(): CurrentFiles {
  let current: Files | undefined;
  let stopWatching = (): void => {};
  const listeners = createChangeListeners();

  function now(): Files {
    if (current !== undefined) return current;
    throw new FileError("unreachable", "There is no connection to the host.");
  }

  return {
    use(files) {
      stopWatching();
      current = files;
      stopWatching = files.watch(listeners.notify);
    },
    list: async (folder) => now().list(folder),
    info: async (path) => now().info(path),
    read: async (path) => now().read(path),
    write: async (path, content) => now().write(path, content),
    makeFolder: async (path) => now().makeFolder(path),
    remove: async (path) => now().remove(path),
    rename: async (from, to) => now().rename(from, to),
    watch: listeners.add,
  };
}
