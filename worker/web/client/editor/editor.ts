/** The editor of one tab: CodeMirror bound to a shared text, or showing a text that cannot be edited. */
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, indentWithTab } from "@codemirror/commands";
import {
  bracketMatching,
  foldGutter,
  foldKeymap,
  indentOnInput,
  syntaxHighlighting,
} from "@codemirror/language";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorSelection, EditorState, type Extension } from "@codemirror/state";
import {
  drawSelection,
  dropCursor,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  type KeyBinding,
  keymap,
  lineNumbers,
  type ViewUpdate,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import { effect } from "@preact/signals";
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
import type { LocalPlace, Session, SharedText, Tab } from "../model/session.ts";
import { remoteCarets } from "./carets.ts";
import { languageFor } from "./languages.ts";

export interface MountedEditor {
  focus(): void;
  destroy(): void;
}

/** Where the user was in a tab, for when it is shown again. */
const lastPlaces = new WeakMap<
  Tab,
  { readonly selection: EditorSelection; readonly scrollTop: number }
>();

/** Shows the tab's text, which is in state `text`, in `parent`. */
export function mountEditor(
  parent: HTMLElement,
  { session, tab }: { readonly session: Session; readonly tab: Tab },
): MountedEditor {
  const file = tab.file.peek();
  if (file.state !== "text") throw new Error(`${tab.path} has no shared text`);
  const { shared } = file;
  const access = new Compartment();
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: shared.text.toJSON(),
      extensions: [
        appearance(tab.path),
        access.of(readOnly(file.isReadOnly)),
        keymap.of([saveKey(session, tab), ...UNDO_KEYS, ...closeBracketsKeymap]),
        keymap.of(searchKeymap),
        keymap.of([...foldKeymap, indentWithTab, ...defaultKeymap]),
        [closeBrackets(), indentOnInput(), dropCursor(), highlightActiveLine()],
        undoGuard,
        yCollab(shared.text, null, { undoManager: shared.undo }),
        remoteCarets(shared.cursors),
        EditorView.updateListener.of((update) => onUpdate(update, session, shared)),
      ],
    }),
  });
  loadLanguage(view, tab.path);
  restorePlace(view, tab);
  const stopAccess = effect(() => {
    const { value } = tab.file;
    const isReadOnly = value.state !== "text" || value.isReadOnly;
    view.dispatch({ effects: access.reconfigure(readOnly(isReadOnly)) });
  });
  const stopFollowing = followIn(view, session, shared);
  shared.cursors.setLocal(placeOf(view));

  return {
    focus: () => view.focus(),
    destroy() {
      lastPlaces.set(tab, {
        selection: view.state.selection,
        scrollTop: view.scrollDOM.scrollTop,
      });
      stopAccess();
      stopFollowing();
      shared.cursors.setLocal(undefined);
      view.destroy();
    },
  };
}

/** Shows a text that cannot be edited in `parent`. */
export function mountPreview(
  parent: HTMLElement,
  { path, text }: { readonly path: string; readonly text: string },
): MountedEditor {
  const view = new EditorView({
    parent,
    doc: text,
    extensions: [appearance(path), readOnly(true), keymap.of([...searchKeymap, ...defaultKeymap])],
  });
  loadLanguage(view, path);
  return { focus: () => view.focus(), destroy: () => view.destroy() };
}

/** A host's files are saved anyway; for guests, it saves the file where the host's IDE has it open. */
function saveKey(session: Session, tab: Tab): KeyBinding {
  return {
    key: "Mod-s",
    preventDefault: true,
    run({ state }) {
      if (!state.readOnly) session.tabs.restore(tab.path).catch(() => {});
      return true;
    },
  };
}

// --- undo: it changes the shared text, without asking the editor whether it may ---

const UNDO_KEYS: readonly KeyBinding[] = yUndoManagerKeymap.map((binding) => ({
  ...binding,
  run: (view) => view.state.readOnly || binding.run?.(view) === true,
}));

/** The browser's own menu. */
const undoGuard = EditorView.domEventHandlers({
  beforeinput: ({ inputType }, { state }) => state.readOnly && /^history/.test(inputType),
});

// --- extensions ---

const languageSlot = new Compartment();

function appearance(path: string): Extension {
  return [
    // Shared offsets count "\n" and "\r" as they are; what is pasted has "\n" only.
    EditorState.lineSeparator.of("\n"),
    EditorView.clipboardInputFilter.of((text) => text.replace(/\r\n?/g, "\n")),
    EditorView.cspNonce.of(styleNonce()),
    EditorView.contentAttributes.of({ "aria-label": `Text of ${path}` }),
    EditorState.allowMultipleSelections.of(true),
    syntaxHighlighting(classHighlighter),
    [lineNumbers(), highlightActiveLineGutter(), foldGutter()],
    [drawSelection(), bracketMatching(), highlightSelectionMatches()],
    languageSlot.of([]),
  ];
}

function readOnly(isReadOnly: boolean): Extension {
  return [
    EditorState.readOnly.of(isReadOnly),
    EditorView.contentAttributes.of({ "aria-readonly": String(isReadOnly) }),
  ];
}

/** The page's content security policy admits style elements with this nonce. */
function styleNonce(): string {
  return document.querySelector<HTMLElement>("script[nonce]")?.nonce ?? "";
}

function loadLanguage(view: EditorView, path: string): void {
  void languageFor(path).then((language) => {
    if (language === undefined) return;
    view.dispatch({ effects: languageSlot.reconfigure(language) });
  });
}

// --- places ---

function onUpdate(update: ViewUpdate, session: Session, shared: SharedText): void {
  const isTyped = update.transactions.some((transaction) => transaction.isUserEvent("input"));
  if (isTyped) session.follow(undefined);
  const isMoved = update.selectionSet || update.docChanged || update.viewportChanged;
  if (isMoved || update.focusChanged) shared.cursors.setLocal(placeOf(update.view));
}

function placeOf({ state, viewport }: EditorView): LocalPlace {
  return {
    ranges: state.selection.ranges.map(({ anchor, head }) => ({ anchor, head })),
    visibleLines: {
      first: state.doc.lineAt(viewport.from).number - 1,
      last: state.doc.lineAt(viewport.to).number - 1,
    },
  };
}

function restorePlace(view: EditorView, tab: Tab): void {
  const last = lastPlaces.get(tab);
  if (last === undefined) return;
  const { length } = view.state.doc;
  const { anchor, head } = last.selection.main;
  view.dispatch({
    selection: EditorSelection.single(Math.min(anchor, length), Math.min(head, length)),
  });
  view.requestMeasure({
    read: () => last.scrollTop,
    write: (scrollTop, { scrollDOM }) => {
      scrollDOM.scrollTop = scrollTop;
    },
  });
}

/** Scrolls to the caret of the person whom the user follows. */
function followIn(view: EditorView, session: Session, shared: SharedText): () => void {
  let isClosed = false;
  let lastHead: number | undefined;

  function scroll(): void {
    const followed = session.following.peek();
    const cursor = shared.cursors.remote.find(({ person }) => person.id === followed);
    const head = cursor?.ranges[0]?.head;
    if (isClosed || head === undefined || head === lastHead) return;
    lastHead = head;
    const at = Math.min(head, view.state.doc.length);
    view.dispatch({ effects: EditorView.scrollIntoView(at, { y: "center" }) });
  }

  const schedule = (): void => queueMicrotask(scroll);
  const stopEffect = effect(() => {
    lastHead = undefined;
    if (session.following.value !== undefined) schedule();
  });
  const stopChanges = shared.cursors.onChange(schedule);
  return () => {
    isClosed = true;
    stopEffect();
    stopChanges();
  };
}
