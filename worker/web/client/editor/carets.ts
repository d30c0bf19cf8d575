/**
 * Carets and selections of the others. Colors are classes, because the pages' content security policy refuses style
 * attributes, which the renderer of y-codemirror.next uses.
 */
import { Annotation, type Range, RangeSet } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  type EditorView,
  ViewPlugin,
  type ViewUpdate,
  WidgetType,
} from "@codemirror/view";
import type { Cursors, Person, SelectedRange } from "../model/session.ts";

const moved = Annotation.define<true>();
/** The name is shown for this long after a caret has moved. */
const NAME_MS = 2000;

export function remoteCarets(cursors: Cursors) {
  return ViewPlugin.define((view) => createCarets(view, cursors), {
    decorations: (plugin) => plugin.decorations,
  });
}

function createCarets(view: EditorView, cursors: Cursors) {
  /** Where each person's caret was, and when it moved. */
  const places = new Map<string, { readonly head: number; readonly sinceMs: number }>();
  let isClosed = false;
  let hiding: ReturnType<typeof setTimeout> | undefined;

  function draw(isLater: boolean): DecorationSet {
    const { length } = view.state.doc;
    const nowMs = performance.now();
    const found = cursors.remote.flatMap(({ person, ranges }) => {
      const head = ranges[0]?.head ?? 0;
      const known = places.get(person.id);
      const isMoved = known === undefined || (isLater && known.head !== head);
      const sinceMs = isMoved ? nowMs : known.sinceMs;
      places.set(person.id, { head, sinceMs });
      const isNamed = nowMs - sinceMs < NAME_MS;
      return ranges.flatMap((range) => decorate(view, clamp(range, length), person, isNamed));
    });
    return RangeSet.of(found, true);
  }

  function refresh(): void {
    // Awareness changes also arrive while the view updates, where it accepts no transaction.
    queueMicrotask(() => {
      if (!isClosed) view.dispatch({ annotations: [moved.of(true)] });
    });
  }

  const stop = cursors.onChange(() => {
    refresh();
    clearTimeout(hiding);
    hiding = setTimeout(refresh, NAME_MS + 50);
  });

  return {
    decorations: draw(true),
    update(update: ViewUpdate) {
      const isMoved = update.transactions.some((transaction) => transaction.annotation(moved));
      if (isMoved) this.decorations = draw(true);
      // Between two reports the carets move with the text around them.
      else if (update.docChanged) this.decorations = this.decorations.map(update.changes);
    },
    destroy() {
      isClosed = true;
      clearTimeout(hiding);
      stop();
    },
  };
}

function decorate(
  view: EditorView,
  { anchor, head }: SelectedRange,
  person: Person,
  isNamed: boolean,
): readonly Range<Decoration>[] {
  const from = Math.min(anchor, head);
  const to = Math.max(anchor, head);
  const caret = Decoration.widget({
    widget: new Caret(person, isNamed, view.state.doc.lineAt(head).number === 1),
    side: head > anchor ? -1 : 1,
  }).range(head);
  if (from === to) return [caret];
  const mark = Decoration.mark({ class: `remote-selection caret-${person.color}` });
  return [mark.range(from, to), caret];
}

function clamp({ anchor, head }: SelectedRange, length: number): SelectedRange {
  return { anchor: Math.min(anchor, length), head: Math.min(head, length) };
}

class Caret extends WidgetType {
  readonly #name: string;
  readonly #classes: string;
  readonly #key: string;

  constructor({ id, name, color }: Person, isNamed: boolean, isOnFirstLine: boolean) {
    super();
    this.#name = name;
    const marks = `${isNamed ? " is-named" : ""}${isOnFirstLine ? " is-on-first-line" : ""}`;
    this.#classes = `remote-caret caret-${color}${marks}`;
    this.#key = [id, name, this.#classes].join("\n");
  }

  override eq(other: Caret): boolean {
    return this.#key === other.#key;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = this.#classes;
    caret.setAttribute("aria-hidden", "true");
    const name = document.createElement("span");
    name.className = "remote-caret-name";
    name.textContent = this.#name;
    // Word joiners: the caret takes no room, and lines do not break there.
    caret.append("\u2060", name, "\u2060");
    return caret;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}
