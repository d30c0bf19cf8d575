/** The open tabs. What is in a file is found out by an opener: a guest asks the host, the host reads its own files. */
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { FileContent } from "../files/text-file.ts";
import { FileError } from "../model/files.ts";
import type { OpenFile, SaveState, SharedText, Tab, Tabs } from "../model/session.ts";

/** What an opener finds; whether a text may be edited is decided here. */
export type FoundFile =
  | Exclude<OpenFile, { state: "text" }>
  | { readonly state: "text"; readonly shared: SharedText };

export interface Opener {
  /** Finds out what `path` is, and reports it; later reports replace earlier ones. Returns a function that ends it. */
  open(path: string, report: (file: FoundFile) => void): () => void;
  saveStateOf(path: string): ReadonlySignal<SaveState>;
  /** Writes the text under its path, also when the file was deleted. */
  save(path: string): Promise<void>;
  content(path: string): Promise<Uint8Array>;
}

export interface TabList extends Tabs {
  /** Opens a file because a person who is followed went there. */
  show(path: string): void;
  setGone(path: string, isGone: boolean): void;
  /** A file that is open, in this or another form, was changed by others. */
  reread(path: string): void;
}

interface OpenTab extends Tab {
  readonly found: Signal<FoundFile>;
  readonly isGone: Signal<boolean>;
  stop: () => void;
}

export function createTabList(deps: {
  readonly opener: Opener;
  readonly isReadOnly: ReadonlySignal<boolean>;
  /** The user chose a place. */
  readonly onChosen: () => void;
}): TabList {
  const { opener } = deps;
  const tabs = signal<readonly OpenTab[]>([]);
  const active = signal<OpenTab | undefined>(undefined);
  const find = (path: string): OpenTab | undefined => tabs.peek().find((tab) => tab.path === path);

  function show(path: string): void {
    let tab = find(path);
    if (tab === undefined) {
      tab = createTab(path, deps);
      tabs.value = [...tabs.peek(), tab];
      start(tab);
    }
    active.value = tab;
  }

  function start(tab: OpenTab): void {
    tab.stop();
    tab.stop = opener.open(tab.path, (file) => {
      tab.found.value = file;
      if (file.state !== "failed") tab.isGone.value = false;
    });
  }

  return {
    tabs,
    active,
    show,
    open(path) {
      deps.onChosen();
      show(path);
    },
    close(path) {
      const at = tabs.peek().findIndex((tab) => tab.path === path);
      const tab = tabs.peek()[at];
      if (tab === undefined) return;
      tab.stop();
      const rest = tabs.peek().filter((other) => other !== tab);
      if (active.peek() === tab) {
        deps.onChosen();
        active.value = rest[Math.min(at, rest.length - 1)];
      }
      tabs.value = rest;
    },
    retry(path) {
      const tab = find(path);
      if (tab === undefined) return;
      tab.found.value = { state: "loading" };
      start(tab);
    },
    async restore(path) {
      await opener.save(path);
      const tab = find(path);
      if (tab !== undefined) tab.isGone.value = false;
    },
    content: (path) => opener.content(path),
    setGone(path, isGone) {
      const tab = find(path);
      if (tab !== undefined) tab.isGone.value = isGone;
    },
    reread(path) {
      const tab = find(path);
      const state = tab?.found.peek().state;
      // A shared text is changed through its document, which all peers have.
      if (tab !== undefined && state !== "text" && state !== "loading") start(tab);
    },
  };
}

function createTab(
  path: string,
  { opener, isReadOnly }: { readonly opener: Opener; readonly isReadOnly: ReadonlySignal<boolean> },
): OpenTab {
  const found = signal<FoundFile>({ state: "loading" });
  const file = computed<OpenFile>(() =>
    found.value.state === "text" ? { ...found.value, isReadOnly: isReadOnly.value } : found.value,
  );
  return {
    path,
    found,
    file,
    isGone: signal(false),
    save: opener.saveStateOf(path),
    stop: () => {},
  };
}

/** What a tab shows of a file whose content is not a text that can be edited. */
export function uneditable(
  content: Uint8Array,
  file: Exclude<FileContent, { readonly kind: "text" }>,
): Exclude<FoundFile, { readonly state: "text" }> {
  switch (file.kind) {
    case "foreign-text":
      return { state: "foreign-text", text: file.text, content };
    case "binary":
      return { state: "binary", bytes: content.length, content };
    case "too-large":
      return { state: "too-large", bytes: content.length };
  }
}

/** What a tab shows when its file cannot be read. */
export function failure(error: unknown): FoundFile {
  const message =
    error instanceof FileError ? error.message : "The file could not be opened. Try again.";
  return { state: "failed", message };
}

/** Calls `listener` once `text` is not empty; returns a function that ends the waiting. */
export function onceFilled(text: SharedText["text"], listener: () => void): () => void {
  const check = (): void => {
    if (text.length === 0) return;
    text.unobserve(check);
    listener();
  };
  text.observe(check);
  check();
  return () => text.unobserve(check);
}
