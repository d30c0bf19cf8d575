/**
 * Where people are, in the protocol's form: each peer shares its file and its selections as positions relative to Yjs items.
 * What peers send is untrusted.
 */
import type { ClientTextSelection } from "open-collaboration-protocol";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { fieldsOf } from "../../../../shared/base/json.ts";
import type { Cursors, LocalPlace, Person, RemoteCursor, SelectedRange } from "../model/session.ts";

const LEFT_TO_RIGHT = 1;
const RIGHT_TO_LEFT = 2;
/** Moves of the caret within this time are sent once. */
const SEND_AFTER_MS = 30;
const MAX_RANGES = 100;

export function createPresence(deps: {
  readonly doc: Y.Doc;
  readonly awareness: Awareness;
  readonly personOf: (peerId: string) => Person | undefined;
}) {
  const { doc, awareness, personOf } = deps;
  let localPath: string | undefined;
  let sending: ReturnType<typeof setTimeout> | undefined;
  let unsent: { readonly text: Y.Text; readonly place: LocalPlace } | undefined;

  function onChange(listener: () => void): () => void {
    awareness.on("change", listener);
    return () => awareness.off("change", listener);
  }

  function others(): { readonly peerId: string; readonly selection: Selection }[] {
    return [...awareness.getStates()].flatMap(([clientId, state]) => {
      const peerId: unknown = state["peer"];
      const selection = readSelection(state["selection"]);
      const isOther = clientId !== doc.clientID && typeof peerId === "string";
      return isOther && selection !== undefined ? [{ peerId, selection }] : [];
    });
  }

  function rangesOf({ textSelections }: Selection, text: Y.Text): SelectedRange[] {
    return textSelections.slice(0, MAX_RANGES).flatMap((selected) => {
      const range = absoluteRange(selected, doc, text);
      return range === undefined ? [] : [range];
    });
  }

  function sendLocal(): void {
    sending = undefined;
    if (localPath === undefined || unsent === undefined) return;
    awareness.setLocalStateField("selection", selectionOf(localPath, unsent.text, unsent.place));
  }

  return {
    onChange,
    /** Peer ids by Yjs client id are claims of the peers; so are paths. */
    pathOf: (peerId: string) => others().find((other) => other.peerId === peerId)?.selection.path,
    cursorsIn: (text: Y.Text, path: string): Cursors => ({
      get remote(): readonly RemoteCursor[] {
        return others().flatMap(({ peerId, selection }) => {
          const person = selection.path === path ? personOf(peerId) : undefined;
          return person === undefined ? [] : [{ person, ranges: rangesOf(selection, text) }];
        });
      },
      onChange,
      setLocal(place) {
        if (place === undefined) {
          if (localPath !== path) return;
          localPath = undefined;
          awareness.setLocalStateField("selection", undefined);
          return;
        }
        localPath = path;
        unsent = { text, place };
        if (sending === undefined) sending = setTimeout(sendLocal, SEND_AFTER_MS);
      },
    }),
  };
}

function selectionOf(path: string, text: Y.Text, place: LocalPlace): ClientTextSelection {
  const position = (offset: number) =>
    Y.createRelativePositionFromTypeIndex(text, Math.min(offset, text.length));
  return {
    path,
    textSelections: place.ranges.map(({ anchor, head }) => ({
      start: position(Math.min(anchor, head)),
      end: position(Math.max(anchor, head)),
      direction: anchor <= head ? LEFT_TO_RIGHT : RIGHT_TO_LEFT,
    })),
    // Clients that follow this user scroll to these lines.
    visibleRanges: [
      {
        start: { line: place.visibleLines.first, character: 0 },
        end: { line: place.visibleLines.last, character: 0 },
      },
    ],
  };
}

// --- what others claim ---

interface Selection {
  readonly path: string;
  readonly textSelections: readonly unknown[];
}

function readSelection(value: unknown): Selection | undefined {
  const { path, textSelections } = fieldsOf(value);
  if (typeof path !== "string" || path.length > 4096) return undefined;
  return { path, textSelections: Array.isArray(textSelections) ? textSelections : [] };
}

function absoluteRange(selected: unknown, doc: Y.Doc, text: Y.Text): SelectedRange | undefined {
  const { start, end, direction } = fieldsOf(selected);
  const first = absoluteOffset(start, doc, text);
  const last = absoluteOffset(end, doc, text);
  if (first === undefined || last === undefined) return undefined;
  return direction === RIGHT_TO_LEFT
    ? { anchor: last, head: first }
    : { anchor: first, head: last };
}

function absoluteOffset(value: unknown, doc: Y.Doc, text: Y.Text): number | undefined {
  try {
    const relative = Y.createRelativePositionFromJSON(value);
    const absolute = Y.createAbsolutePositionFromRelativePosition(relative, doc);
    // The position may belong to another file, or to text that has not arrived yet.
    return absolute?.type === text ? absolute.index : undefined;
  } catch {
    return undefined;
  }
}
