/**
 * The texts of a session: one Yjs document for all of them, as in the IDEs; each file is a text under its path. It outlives
 * connections, and is kept in the browser so that it outlives the page.
 */
import type { ProtocolBroadcastConnection } from "open-collaboration-protocol";
import { OpenCollaborationYjsProvider } from "open-collaboration-yjs";
import { Awareness, removeAwarenessStates } from "y-protocols/awareness";
import * as Y from "yjs";
import { getOrAdd } from "../../../../shared/base/grouping.ts";
import type { Cursors, Person, SharedText } from "../model/session.ts";
import { createPresence } from "./cursors.ts";
import { keepPlain } from "./plain-text.ts";
import { createSyncRelay } from "./sync-relay.ts";

export type SharedDocuments = ReturnType<typeof createSharedDocuments>;

/** As in the IDEs: what was lost on the way is repaired after this time. */
const RESYNC_MS = 10_000;
/** Yjs origin of updates that are not the user's own. */
const LOADED = Symbol("loaded");

const NO_CURSORS: Cursors = { remote: [], onChange: () => () => {}, setLocal() {} };

export function createSharedDocuments(deps: {
  readonly personOf: (peerId: string) => Person | undefined;
  /** Whether the text of `path` stays in this page: what a host keeps from its guests. */
  readonly isPrivate: (path: string) => boolean;
  /** Whether a peer may change the texts now. */
  readonly mayChange: (peerId: string) => boolean;
  /** Updates that were kept, in any order. */
  readonly kept: readonly Uint8Array[];
  readonly keep: (update: Uint8Array) => void;
}) {
  const doc = new Y.Doc();
  Y.transact(doc, () => {
    for (const update of deps.kept) Y.applyUpdate(doc, update, LOADED);
  });
  doc.on("update", (update: Uint8Array, origin: unknown) => {
    if (origin !== LOADED) deps.keep(update);
  });
  const privateDoc = new Y.Doc();
  const textOf = (path: string): Y.Text => (deps.isPrivate(path) ? privateDoc : doc).getText(path);
  const awareness = new Awareness(doc);
  const relay = createSyncRelay(deps.mayChange);
  // The provider uses only `sync` of a connection.
  const connection = relay.connection as ProtocolBroadcastConnection;
  const provider = new OpenCollaborationYjsProvider(connection, doc, awareness, {
    resyncTimer: RESYNC_MS,
  });
  const presence = createPresence({ doc, awareness, personOf: deps.personOf });
  const texts = new Map<string, SharedText>();

  return {
    presence,
    has: (path: string) => doc.share.has(path) && textOf(path).length > 0,
    /** The text of `path`, empty when nobody has shared it. */
    text(path: string): SharedText {
      return getOrAdd(texts, path, () => {
        const text = textOf(path);
        keepPlain(text);
        const undo = new Y.UndoManager(text, { trackedOrigins: new Set() });
        const cursors = deps.isPrivate(path) ? NO_CURSORS : presence.cursorsIn(text, path);
        return { path, text, undo, cursors };
      });
    },
    /** All texts that are not empty, by path. */
    all: () =>
      [...doc.share.keys()]
        .sort()
        .map((path) => ({ path, text: doc.getText(path).toJSON() }))
        .filter(({ text }) => text !== ""),
    /** Changes the text of `path` to `content`, touching only what differs. Not part of anyone's undo. */
    replace(path: string, content: string): void {
      const text = textOf(path);
      const { start, end, insert } = difference(text.toJSON(), content);
      text.doc?.transact(() => {
        if (end > start) text.delete(start, end - start);
        if (insert !== "") text.insert(start, insert);
      });
    },
    /** Sends and receives through `connection` from now on. */
    attach: (next: ProtocolBroadcastConnection | undefined): void => relay.attach(next),
    /** After each reconnect: compares the documents with the others'. */
    resync: (): void => provider.connect(),
    /** Sends all texts to one peer. */
    sendAll: (peerId: string): void => relay.sendAll(peerId),
    setSelf: (peerId: string): void => awareness.setLocalStateField("peer", peerId),
    /** Removes the caret of a peer that has left. */
    removePeer(peerId: string): void {
      const states = [...awareness.getStates()];
      const gone = states.filter(([, state]) => state["peer"] === peerId).map(([id]) => id);
      removeAwarenessStates(awareness, gone, LOADED);
    },
    /** All of it, as one update. */
    encode: () => Y.encodeStateAsUpdate(doc),
    destroy(): void {
      relay.attach(undefined);
      awareness.destroy();
      doc.destroy();
      privateDoc.destroy();
    },
  };
}

/** The part of `before` that differs from `after`, and what is there instead. */
function difference(
  before: string,
  after: string,
): { readonly start: number; readonly end: number; readonly insert: string } {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let kept = 0;
  while (kept < shorter - start && before.at(-1 - kept) === after.at(-1 - kept)) kept++;
  // Not between the two halves of a character outside the basic plane.
  if (start > 0 && /[\ud800-\udbff]/.test(before[start - 1] ?? "")) start--;
  if (kept > 0 && /[\udc00-\udfff]/.test(before.at(-kept) ?? "")) kept--;
  return {
    start,
    end: before.length - kept,
    insert: after.slice(start, after.length - kept),
  };
}
