/**
 * Opens, shares and saves the host's files. A text is shared when the host or a guest opens it, and saved shortly after each
 * change, so guests' changes are in the host's files without anyone's doing.
 */
import { type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { isWithin } from "../files/paths.ts";
import { decode, encode, type TextForm } from "../files/text-file.ts";
import { FileError, type Files } from "../model/files.ts";
import type { SaveState } from "../model/session.ts";
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

/** One write for what is typed in a row. */
const SAVE_AFTER_MS = 400;

interface OpenText {
  readonly path: string;
  readonly form: TextForm;
  /** What is in the file, as far as known; undefined after it was deleted. */
  fileText: string | undefined;
  isDeleted: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
  /** Writes of one file follow each other. */
  writing: Promise<void>;
  stop: () => void;
}

const SAVED: SaveState = { state: "saved" };

export function createHostOpener(deps: {
  readonly documents: SharedDocuments;
  readonly files: Files;
  /** What each file held last, as far as this host knows: a mark of its text, by path. Kept for a reload. */
  readonly saved: Map<string, string>;
  /** `saved` has changed. */
  readonly onSaved: () => void;
}): HostOpener {
  const { documents, files, saved } = deps;
  const texts = new Map<string, OpenText>();
  const opening = new Map<string, Promise<FoundFile>>();
  const saveStates = new Map<string, Signal<SaveState>>();

  function stateOf(path: string): Signal<SaveState> {
    let state = saveStates.get(path);
    if (state === undefined) {
      state = signal(SAVED);
      saveStates.set(path, state);
    }
    return state;
  }

  const textOf = (path: string): string => documents.text(path).text.toJSON();

  /** Reads the file once, also for several who open it at the same time. */
  function open(path: string): Promise<FoundFile> {
    if (texts.has(path)) return Promise.resolve({ state: "text", shared: documents.text(path) });
    let found = opening.get(path);
    if (found === undefined) {
      found = read(path).finally(() => opening.delete(path));
      opening.set(path, found);
    }
    return found;
  }

  async function read(path: string): Promise<FoundFile> {
    const content = await files.read(path);
    const file = decode(content);
    if (file.kind !== "text") return uneditable(content, file);
    track(path, file);
    return { state: "text", shared: documents.text(path) };
  }

  function noteFileText(opened: OpenText, text: string): void {
    opened.fileText = text;
    saved.set(opened.path, markOf(text));
    deps.onSaved();
  }

  function track(path: string, file: { readonly text: string; readonly form: TextForm }): void {
    const { text } = documents.text(path);
    const mark = saved.get(path);
    const observer = (): void => scheduleSave(opened);
    const opened: OpenText = {
      path,
      form: file.form,
      fileText: file.text,
      isDeleted: false,
      timer: undefined,
      writing: Promise.resolve(),
      stop: () => text.unobserve(observer),
    };
    texts.set(path, opened);
    noteFileText(opened, file.text);
    text.observe(observer);
    const here = textOf(path);
    if (here === file.text) return;
    // What others wrote while the page was away: nothing was typed here since the last save.
    if (text.length === 0 || markOf(here) === mark) documents.replace(path, file.text);
    // What guests typed before this host shared the file: it must not take the file's place.
    else if (mark === undefined) text.insert(0, file.text);
    // After a reload the document is what was typed last, and the file may be behind it.
    if (textOf(path) !== file.text) scheduleSave(opened);
  }

  function scheduleSave(opened: OpenText): void {
    if (opened.isDeleted) return;
    stateOf(opened.path).value = { state: "saving" };
    clearTimeout(opened.timer);
    opened.timer = setTimeout(() => void saveNow(opened), SAVE_AFTER_MS);
  }

  function saveNow(opened: OpenText): Promise<void> {
    clearTimeout(opened.timer);
    opened.timer = undefined;
    opened.writing = opened.writing.then(() => write(opened));
    return opened.writing;
  }

  /** Never rejects: the failure is shown, and the next change tries again. */
  async function write(opened: OpenText): Promise<void> {
    const { path } = opened;
    const text = textOf(path);
    try {
      if (text !== opened.fileText) await files.write(path, encode(text, opened.form));
      if (text !== opened.fileText) noteFileText(opened, text);
      const isBehind = opened.timer !== undefined;
      if (!isBehind) stateOf(path).value = SAVED;
    } catch (error) {
      const message = error instanceof FileError ? error.message : "The file could not be saved.";
      stateOf(path).value = { state: "failed", message };
    }
  }

  async function save(path: string): Promise<void> {
    const opened = texts.get(path);
    if (opened === undefined) return;
    if (opened.isDeleted) opened.fileText = undefined;
    opened.isDeleted = false;
    await saveNow(opened);
    const state = stateOf(path).peek();
    if (state.state === "failed") throw new FileError("failed", state.message);
  }

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
    save,
    async content(path) {
      const opened = texts.get(path);
      return opened === undefined ? files.read(path) : encode(textOf(path), opened.form);
    },
    async write(path, content) {
      const opened = texts.get(path);
      if (opened === undefined) return false;
      const file = decode(content);
      if (file.kind !== "text") return false;
      documents.replace(path, file.text);
      await save(path);
      return true;
    },
    async onChanged(path) {
      const opened = texts.get(path);
      if (opened === undefined) return;
      // Programs that save a file by replacing it delete the one before.
      opened.isDeleted = false;
      if (opened.timer !== undefined) return;
      await opened.writing;
      const known = opened.fileText;
      const file = decode(await files.read(path));
      // Saved meanwhile: what was read is older.
      if (opened.fileText !== known) return;
      if (file.kind !== "text" || file.text === opened.fileText) return;
      const isUntouched = textOf(path) === opened.fileText;
      noteFileText(opened, file.text);
      // What people typed here wins over another program; the next save writes it.
      if (isUntouched) documents.replace(path, file.text);
      else scheduleSave(opened);
    },
    onDeleted(path) {
      for (const opened of texts.values()) {
        if (!isWithin(opened.path, path)) continue;
        opened.isDeleted = true;
        clearTimeout(opened.timer);
        opened.timer = undefined;
      }
    },
    get isSaved() {
      return [...texts.values()].every(
        ({ path, fileText, isDeleted }) => isDeleted || textOf(path) === fileText,
      );
    },
    async flush() {
      await Promise.all([...texts.values()].filter(({ isDeleted }) => !isDeleted).map(saveNow));
    },
    close() {
      for (const { stop, timer } of texts.values()) {
        clearTimeout(timer);
        stop();
      }
      texts.clear();
    },
  };
}

/** Tells texts apart, not against intent: 64 bits of two multiplicative hashes, and the length. */
function markOf(text: string): string {
  let low = 0xdeadbeef;
  let high = 0x41c6ce57;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    low = Math.imul(low ^ unit, 2654435761);
    high = Math.imul(high ^ unit, 1597334677);
  }
  return `${text.length}-${(low >>> 0).toString(36)}-${(high >>> 0).toString(36)}`;
}
