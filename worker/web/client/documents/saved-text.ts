/** A text of the host's that is open: saved shortly after each change, also while other programs change its file. */
import { type Signal, signal } from "@preact/signals";
import { decode, encode, type TextForm } from "../files/text-file.ts";
import { FileError, type Files } from "../model/files.ts";
import type { SaveState } from "../model/session.ts";
import type { SharedDocuments } from "./shared-documents.ts";

export interface SavedTextDeps {
  readonly documents: Pick<SharedDocuments, "text" | "replace">;
  readonly files: Pick<Files, "read" | "write">;
  /** What each file held last, as far as this host knows: a mark of its text, by path. Kept for a reload. */
  readonly saved: Map<string, string>;
  /** `saved` has changed. */
  readonly onSaved: () => void;
}

/** One write for what is typed in a row. */
const SAVE_AFTER_MS = 400;

const SAVED: SaveState = { state: "saved" };

/** Of a text that is not open, or has not changed since. */
export function savedState(): Signal<SaveState> {
  return signal(SAVED);
}

export class SavedText {
  readonly path: string;
  readonly #deps: SavedTextDeps;
  readonly #form: TextForm;
  readonly #state: Signal<SaveState>;
  /** What is in the file, as far as known; undefined after it was deleted. */
  #fileText: string | undefined;
  #isDeleted = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Writes of one file follow each other. */
  #writing: Promise<void> = Promise.resolve();
  readonly #onTyped = (): void => this.#scheduleSave();

  constructor(path: string, form: TextForm, state: Signal<SaveState>, deps: SavedTextDeps) {
    this.path = path;
    this.#form = form;
    this.#state = state;
    this.#deps = deps;
  }

  /** The file's text was read: it and the shared text become the same. */
  begin(fileText: string): void {
    const { documents, saved } = this.#deps;
    const { text } = documents.text(this.path);
    const mark = saved.get(this.path);
    this.#noteFileText(fileText);
    text.observe(this.#onTyped);
    const here = this.#text;
    if (here === fileText) return;
    // What others wrote while the page was away: nothing was typed here since the last save.
    if (text.length === 0 || markOf(here) === mark) documents.replace(this.path, fileText);
    // What guests typed before this host shared the file: it must not take the file's place.
    else if (mark === undefined) text.insert(0, fileText);
    // After a reload the document is what was typed last, and the file may be behind it.
    if (this.#text !== fileText) this.#scheduleSave();
  }

  /** Whether every change is in the file, or the file was deleted. */
  get isSaved(): boolean {
    return this.#isDeleted || this.#text === this.#fileText;
  }

  /** As the file will be. */
  get content(): Uint8Array {
    return encode(this.#text, this.#form);
  }

  /** Saves what is not saved yet, unless the file was deleted. */
  async flush(): Promise<void> {
    if (!this.#isDeleted) await this.#saveNow();
  }

  /** Also when the file was deleted. Rejects with `FileError`. */
  async save(): Promise<void> {
    if (this.#isDeleted) this.#fileText = undefined;
    this.#isDeleted = false;
    await this.#saveNow();
    const state = this.#state.peek();
    if (state.state === "failed") throw new FileError("failed", state.message);
  }

  /** Another program changed the file. */
  async onChanged(): Promise<void> {
    const { documents, files } = this.#deps;
    // Programs that save a file by replacing it delete the one before.
    this.#isDeleted = false;
    if (this.#timer !== undefined) return;
    await this.#writing;
    const known = this.#fileText;
    const file = decode(await files.read(this.path));
    // Saved meanwhile: what was read is older.
    if (this.#fileText !== known) return;
    if (file.kind !== "text" || file.text === this.#fileText) return;
    const isUntouched = this.#text === this.#fileText;
    this.#noteFileText(file.text);
    // What people typed here wins over another program; the next save writes it.
    if (isUntouched) documents.replace(this.path, file.text);
    else this.#scheduleSave();
  }

  /** The file was deleted: it is not saved any more until `save`. */
  onDeleted(): void {
    this.#isDeleted = true;
    this.#stopTimer();
  }

  close(): void {
    this.#stopTimer();
    this.#deps.documents.text(this.path).text.unobserve(this.#onTyped);
  }

  get #text(): string {
    return this.#deps.documents.text(this.path).text.toJSON();
  }

  #noteFileText(text: string): void {
    this.#fileText = text;
    this.#deps.saved.set(this.path, markOf(text));
    this.#deps.onSaved();
  }

  #scheduleSave(): void {
    if (this.#isDeleted) return;
    this.#state.value = { state: "saving" };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#saveNow(), SAVE_AFTER_MS);
  }

  #saveNow(): Promise<void> {
    this.#stopTimer();
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  /** Never rejects: the failure is shown, and the next change tries again. */
  async #write(): Promise<void> {
    const text = this.#text;
    try {
      if (text !== this.#fileText) {
        await this.#deps.files.write(this.path, encode(text, this.#form));
      }
      if (text !== this.#fileText) this.#noteFileText(text);
      const isBehind = this.#timer !== undefined;
      if (!isBehind) this.#state.value = SAVED;
    } catch (error) {
      const message = error instanceof FileError ? error.message : "The file could not be saved.";
      this.#state.value = { state: "failed", message };
    }
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
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
