/**
 * Opens, shares and saves the host's files. A text is shared when the host or a guest opens it, and saved shortly after each
 * change (saved-text.ts), so guests' changes are in the host's files without anyone's doing.
 */
import type { Signal } from "@preact/signals";
import { getOrAdd } from "../../../../shared/base/grouping.ts";
import { oneFlightPerKey } from "../../../../shared/base/one-flight.ts";
import { isWithin } from "../files/paths.ts";
import { decode } from "../files/text-file.ts";
import type { Files } from "../model/files.ts";
import type { SaveState } from "../model/session.ts";
import { SavedText, type SavedTextDeps, savedState } from "./saved-text.ts";
import type { SharedDocuments } from "./shared-documents.ts";
import { type FoundFile, failure, type Opener, uneditable } from "./tab-list.ts";

export type HostOpener = ReturnType<typeof createHostOpener>;

export function createHostOpener(
  deps: SavedTextDeps & { readonly documents: SharedDocuments; readonly files: Files },
) {
  const { documents, files } = deps;
  const texts = new Map<string, SavedText>();
  const saveStates = new Map<string, Signal<SaveState>>();

  function stateOf(path: string): Signal<SaveState> {
    return getOrAdd(saveStates, path, savedState);
  }

  /** Reads the file once, also for several who open it at the same time. */
  function open(path: string): Promise<FoundFile> {
    if (texts.has(path)) return Promise.resolve({ state: "text", shared: documents.text(path) });
    return read(path);
  }

  const read = oneFlightPerKey(async (path: string): Promise<FoundFile> => {
    const content = await files.read(path);
    const file = decode(content);
    if (file.kind !== "text") return uneditable(content, file);
    const opened = new SavedText(path, file.form, stateOf(path), deps);
    texts.set(path, opened);
    opened.begin(file.text);
    return { state: "text", shared: documents.text(path) };
  });

  const opener: Opener = {
    saveStateOf: stateOf,
    open(path, report) {
      let isEnded = false;
      open(path).then(
        (file) => {
          if (!isEnded) report(file);
        },
        (error: unknown) => {
          if (!isEnded) report(failure(error));
        },
      );
      return () => {
        isEnded = true;
      };
    },
    async save(path) {
      await texts.get(path)?.save();
    },
    async content(path) {
      return texts.get(path)?.content ?? files.read(path);
    },
  };

  return {
    ...opener,
    /** Shares the text of `path` for a guest. A file that is not text stays as it is: guests read it. */
    async share(path: string): Promise<void> {
      await open(path);
    },
    /** A guest's write: to the shared text, when there is one. Resolves with whether there is. */
    async write(path: string, content: Uint8Array): Promise<boolean> {
      const opened = texts.get(path);
      if (opened === undefined) return false;
      const file = decode(content);
      if (file.kind !== "text") return false;
      documents.replace(path, file.text);
      await opened.save();
      return true;
    },
    /** Another program changed or deleted the file. */
    async onChanged(path: string): Promise<void> {
      await texts.get(path)?.onChanged();
    },
    /** The file, or each one in the folder, is not saved any more until `save`. */
    onDeleted(path: string): void {
      for (const opened of texts.values()) {
        if (isWithin(opened.path, path)) opened.onDeleted();
      }
    },
    /** Whether every change is in the files. */
    get isSaved(): boolean {
      return [...texts.values()].every((opened) => opened.isSaved);
    },
    /** Saves what is not saved yet. */
    async flush(): Promise<void> {
      await Promise.all([...texts.values()].map((opened) => opened.flush()));
    },
    close(): void {
      for (const opened of texts.values()) opened.close();
      texts.clear();
    },
  };
}
