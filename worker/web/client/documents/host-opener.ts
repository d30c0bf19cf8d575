/**
 * Opens, shares and saves the host's files. A text is shared when the host or a guest opens it, and saved shortly after each
 * change (saved-text.ts), so guests' changes are in the host's files without anyone's doing.
 */
import type { ReadonlySignal, Signal } from "@preact/signals";
import { getOrAdd } from "../../../../shared/base/grouping.ts";
import { oneFlightPerKey } from "../../../../shared/base/one-flight.ts";
import { isWithin } from "../files/paths.ts";
import { decode } from "../files/text-file.ts";
import type { Files } from "../model/files.ts";
import type { SaveState } from "../model/session.ts";
import { SavedText, type SavedTextDeps, savedState } from "./saved-text.ts";
import type { SharedDocuments } from "./shared-documents.ts";
import { type FoundFile, failure, type Opener, uneditable } from "./tab-list.ts";

export interface HostOpener extends Opener {
  /** Shares the text of `path` for a guest. A file that is not text stays as it is: guests read it. */
  share(path: string): Promise<void>;
  /** A guest's write: to the shared text, when there is one. Resolves with whether there is. */
  write(path: string, content: Uint8Array): Promise<boolean>;
  /** Another program changed or deleted the file. */
  onChanged(path: string): Promise<void>;
  /** The file, or each one in the folder, is not saved any more until `save`. */
  onDeleted(path: string): void;
  /** Whether every change is in the files. */
  readonly isSaved: boolean;
  /** Saves what is not saved yet. */
  flush(): Promise<void>;
  close(): void;
}

export function createHostOpener(
  deps: SavedTextDeps & { readonly documents: SharedDocuments; readonly files: Files },
): HostOpener {
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

  return {
    saveStateOf: (path): ReadonlySignal<SaveState> => stateOf(path),
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
    async share(path) {
      await open(path);
    },
    async save(path) {
      await texts.get(path)?.save();
    },
    async content(path) {
      return texts.get(path)?.content ?? files.read(path);
    },
    async write(path, content) {
      const opened = texts.get(path);
      if (opened === undefined) return false;
      const file = decode(content);
      if (file.kind !== "text") return false;
      documents.replace(path, file.text);
      await opened.save();
      return true;
    },
    async onChanged(path) {
      await texts.get(path)?.onChanged();
    },
    onDeleted(path) {
      for (const opened of texts.values()) {
        if (isWithin(opened.path, path)) opened.onDeleted();
      }
    },
    get isSaved() {
      return [...texts.values()].every((opened) => opened.isSaved);
    },
    async flush() {
      await Promise.all([...texts.values()].map((opened) => opened.flush()));
    },
    close() {
      for (const opened of texts.values()) opened.close();
      texts.clear();
    },
  };
}
