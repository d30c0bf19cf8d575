/**
 * What the page knows of a session. `session/` fills it from the protocol; `panels/` and `screens/` show it. Values that
 * change are signals.
 */
import type { ReadonlySignal } from "@preact/signals";
import type { Text, UndoManager } from "yjs";
import type { Files } from "./files.ts";

export interface Person {
  /** The peer id: of one connection to one session. */
  readonly id: string;
  readonly name: string;
  readonly email: string | undefined;
  readonly isHost: boolean;
  /** Index into the palette of carets; the same in every part of the page. */
  readonly color: number;
  /** The file that the person looks at. */
  readonly path: string | undefined;
}

export const CARET_COLORS = 8;

/** Someone who asks to join; only the host sees them. */
export interface JoinRequest {
  readonly id: string;
  readonly name: string;
  readonly email: string | undefined;
  /** How the person signed in, as the server names it. */
  readonly signedInBy: string | undefined;
  decide(isAccepted: boolean): void;
}

export interface ChatLine {
  readonly id: number;
  /** Undefined: this page's own. */
  readonly from: Person | undefined;
  readonly text: string;
  readonly atMs: number;
  readonly isDirect: boolean;
}

export type Connection =
  | { readonly state: "live" }
  /** The connection is interrupted; it returns by itself, as the same person, until `untilMs` (performance.now()). */
  | { readonly state: "reconnecting"; readonly untilMs: number }
  /** A guest was away too long and asks the host again; what was typed is kept. */
  | { readonly state: "rejoining"; readonly isWaitingForHost: boolean }
  | { readonly state: "ended"; readonly reason: EndReason };

export type EndReason =
  /** This page left, or ended its session. */
  | "left"
  /** The host ended the session, or was away too long. */
  | "closed"
  /** A host that was away too long: the server closed the session. */
  | "lost"
  /** The host did not accept the guest again. */
  | "rejected"
  /** The session is open in another tab, which has taken over this person. */
  | "moved"
  /** The server ended it for this person, and said why. */
  | { readonly serverSays: string };

/** A text that is shared with the others. */
export interface SharedText {
  readonly path: string;
  readonly text: Text;
  readonly undo: UndoManager;
  readonly cursors: Cursors;
}

/** Where people are in one text. Offsets count UTF-16 units. */
export interface Cursors {
  /** Of the others. */
  readonly remote: readonly RemoteCursor[];
  /** Calls `listener` when `remote` has changed. Returns a function that ends it. */
  onChange(listener: () => void): () => void;
  /** Shows the others where this user is; undefined: nowhere in this text. */
  setLocal(place: LocalPlace | undefined): void;
}

export interface RemoteCursor {
  readonly person: Person;
  readonly ranges: readonly SelectedRange[];
}

export interface SelectedRange {
  readonly anchor: number;
  readonly head: number;
}

export interface LocalPlace {
  readonly ranges: readonly SelectedRange[];
  /** First and last visible line, from 0. */
  readonly visibleLines: { readonly first: number; readonly last: number };
}

export type OpenFile =
  | { readonly state: "loading" }
  /** `isReadOnly`: by the session, or by the file. */
  | { readonly state: "text"; readonly shared: SharedText; readonly isReadOnly: boolean }
  /** The host has not shared the text yet: it can be read, not edited. */
  | { readonly state: "preview"; readonly text: string }
  | { readonly state: "binary"; readonly bytes: number; readonly content: Uint8Array }
  /** Text that is not UTF-8: shown, not edited, because saving it would change bytes that nobody touched. */
  | { readonly state: "foreign-text"; readonly text: string; readonly content: Uint8Array }
  | { readonly state: "too-large"; readonly bytes: number }
  | { readonly state: "failed"; readonly message: string };

export type SaveState =
  | { readonly state: "saved" }
  | { readonly state: "saving" }
  /** Nothing is lost: the text stays in the page. */
  | { readonly state: "failed"; readonly message: string };

/** A file in a tab. */
export interface Tab {
  readonly path: string;
  readonly file: ReadonlySignal<OpenFile>;
  /** The file was deleted or renamed by others; its text stays here. */
  readonly isGone: ReadonlySignal<boolean>;
  /** Of the host's own file. For guests, who do not save, always saved. */
  readonly save: ReadonlySignal<SaveState>;
}

export interface Tabs {
  readonly tabs: ReadonlySignal<readonly Tab[]>;
  readonly active: ReadonlySignal<Tab | undefined>;
  open(path: string): void;
  close(path: string): void;
  /** Reads the file again after a failure. */
  retry(path: string): void;
  /** Saves the text under its path again, after the file was deleted. */
  restore(path: string): Promise<void>;
  /** The bytes to download: the shared text, else the file's content. */
  content(path: string): Promise<Uint8Array>;
}

export interface Session {
  readonly roomId: string;
  /** The link to send to guests. */
  readonly invitation: string;
  readonly meetingUrl: string | undefined;
  readonly isHost: boolean;
  readonly workspace: ReadonlySignal<{
    readonly name: string;
    readonly folders: readonly string[];
  }>;
  readonly connection: ReadonlySignal<Connection>;
  readonly self: ReadonlySignal<Person | undefined>;
  /** The others: the host first, then by name. */
  readonly people: ReadonlySignal<readonly Person[]>;
  /** Names of those who are writing a chat message. */
  readonly writing: ReadonlySignal<readonly string[]>;
  readonly joinRequests: ReadonlySignal<readonly JoinRequest[]>;
  readonly isReadOnly: ReadonlySignal<boolean>;
  /** It is read-only because the server's policy suggests it: a hint, which only this page knows. */
  readonly isReadOnlyHinted: ReadonlySignal<boolean>;
  readonly chat: ReadonlySignal<readonly ChatLine[]>;
  readonly files: Files;
  readonly tabs: Tabs;
  /** The person whose place is followed. Typing, or opening a file, ends it. */
  readonly following: ReadonlySignal<string | undefined>;
  /** A short message to show once, as when a person joined. */
  readonly notices: ReadonlySignal<readonly Notice[]>;
  follow(personId: string | undefined): void;
  say(text: string): Promise<void>;
  /** Tells the others that a chat message is being written; may be called for each key. */
  noteWriting(): void;
  dismiss(notice: Notice): void;
  /** Host only. */
  setReadOnly(isReadOnly: boolean): Promise<void>;
  /** The host ends the session, a guest leaves it. Resolves when the server was told, or after a second. */
  leave(): Promise<void>;
  /** All shared texts that may hold what was typed, for a download at the end. */
  texts(): readonly { readonly path: string; readonly text: string }[];
}

export interface Notice {
  readonly id: number;
  readonly kind: "info" | "problem";
  readonly text: string;
}
