/**
 * Opens files for a guest. The host shares a text when it is asked to open it; until then the guest sees the file's content
 * and cannot edit it, because the host's text would be inserted beside the guest's.
 */
import { signal } from "@preact/signals";
import { decode } from "../files/text-file.ts";
import type { Files } from "../model/files.ts";
import type { SaveState } from "../model/session.ts";
import type { SharedDocuments } from "./shared-documents.ts";
import { type FoundFile, failure, type Opener, onceFilled, uneditable } from "./tab-list.ts";

/** The host saves. */
const SAVED = signal<SaveState>({ state: "saved" });

export function createGuestOpener(deps: {
  readonly documents: SharedDocuments;
  readonly files: Files;
  /** Asks the host to share the text of `path`. */
  readonly askHost: (path: string) => void;
}): Opener {
  const { documents, files } = deps;

  return {
    saveStateOf: () => SAVED,
    open(path, report) {
      let isEnded = false;
      let stopWaiting = (): void => {};
      const shared = documents.text(path);
      const share = (): void => report({ state: "text", shared });
      deps.askHost(path);
      if (documents.has(path)) {
        share();
      } else {
        read(files, path).then(
          (file) => {
            if (isEnded) return;
            // An empty file has nothing that the host could insert.
            if (file.state === "preview" && file.text === "") return share();
            if (!documents.has(path)) report(file);
            if (file.state === "preview") stopWaiting = onceFilled(shared.text, share);
          },
          (error: unknown) => {
            if (!isEnded) report(failure(error));
          },
        );
      }
      return () => {
        isEnded = true;
        stopWaiting();
      };
    },
    async save(path) {
      await files.write(path, new TextEncoder().encode(documents.text(path).text.toJSON()));
    },
    async content(path) {
      if (!documents.has(path)) return files.read(path);
      return new TextEncoder().encode(documents.text(path).text.toJSON());
    },
  };
}

async function read(
  files: Files,
  path: string,
): Promise<Exclude<FoundFile, { readonly state: "text" }>> {
  const content = await files.read(path);
  const file = decode(content);
  if (file.kind === "text") return { state: "preview", text: file.text };
  return uneditable(content, file);
}
