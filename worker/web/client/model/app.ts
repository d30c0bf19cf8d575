/**
 * The page as a whole: which screen it shows, and what its user can do there. `app/` decides; `screens/` show it.
 */
import type { ReadonlySignal } from "@preact/signals";
import type { EdgeInfo, Invitation, Place } from "./place.ts";
import type { EndReason, Session } from "./session.ts";

export interface App {
  readonly place: Place;
  readonly edge: EdgeInfo;
  readonly screen: ReadonlySignal<Screen>;
  /** Sessions of this browser that can be entered again, newest first. */
  readonly remembered: ReadonlySignal<readonly RememberedSession[]>;
  /** The browser keeps nothing (private window, storage full or denied): reloading the page loses the place in a session. */
  readonly isForgetful: ReadonlySignal<boolean>;
  /** Whether this browser can open a folder of the user (File System Access API). */
  readonly canOpenFolder: boolean;
  /** What a link or a code that a user entered leads to. */
  readInvitation(text: string): Invitation;
  showHome(): void;
  showJoin(roomId: string): void;
  /** Opens the folder chooser for `folder`; nothing happens when the user cancels it. */
  startSession(workspace: "scratch" | "folder"): void;
  enterAgain(session: RememberedSession): void;
  forget(session: RememberedSession): void;
}

export interface RememberedSession {
  readonly roomId: string;
  readonly workspaceName: string;
  readonly isHost: boolean;
  readonly lastUsedMs: number;
}

export type Screen =
  | { readonly at: "starting" }
  | { readonly at: "home" }
  /** `insecure`: the page is not a secure context, so the browser has no WebCrypto. */
  | { readonly at: "unsupported"; readonly problem: "insecure" | "browser" }
  /** Before a user joins (`roomId`) or starts a session. */
  | SignInScreen
  | WaitingScreen
  | { readonly at: "workspace"; readonly session: Session }
  | EndedScreen
  | FailedScreen
  /** Another tab of this browser is in the session, as the same person. */
  | {
      readonly at: "other-tab";
      readonly roomId: string;
      /** The other tab leaves the session to this one. */
      takeOver(): void;
      /** Joins as one more person. */
      joinAgain(): void;
    }
  /** The browser must ask the user again before it opens the folder of a session that this page hosts. */
  | {
      readonly at: "folder-permission";
      readonly workspaceName: string;
      allow(): void;
      cancel(): void;
    };

export interface SignInScreen {
  readonly at: "sign-in";
  readonly purpose: "join" | "host";
  readonly roomId: string | undefined;
  /** Undefined while they are requested. */
  readonly ways: ReadonlySignal<readonly SignInWay[] | undefined>;
  /** The user who is signed in already: `proceed` continues without a form. */
  readonly signedInAs: ReadonlySignal<string | undefined>;
  readonly isBusy: ReadonlySignal<boolean>;
  readonly problem: ReadonlySignal<string | undefined>;
  proceed(): void;
  /** Forgets who is signed in, and offers the ways to sign in. */
  signOut(): void;
  retry(): void;
  cancel(): void;
}

/** A sign-in method that the server offers. */
export type SignInWay =
  | {
      readonly kind: "form";
      readonly name: string;
      readonly label: string;
      readonly details: string | undefined;
      readonly fields: readonly {
        readonly name: string;
        readonly label: string;
        readonly placeholder: string | undefined;
        readonly isRequired: boolean;
        readonly isSecret: boolean;
      }[];
      /** A failure appears in `problem`. */
      submit(values: Readonly<Record<string, string>>): void;
    }
  | { readonly kind: "web"; readonly name: string; readonly label: string; open(): void };

export interface WaitingScreen {
  readonly at: "waiting";
  readonly purpose: "join" | "host";
  readonly step: ReadonlySignal<WaitingStep>;
  cancel(): void;
}

export type WaitingStep =
  /** Makes the key pair, which takes seconds; only shown when all else is done. */
  | "key"
  | "server"
  | "host-decides"
  | "connecting"
  /** Connected; the host has not sent the workspace yet. */
  | "workspace";

export interface EndedScreen {
  readonly at: "ended";
  readonly reason: EndReason;
  readonly isHost: boolean;
  readonly workspaceName: string;
  /** Texts as this page had them last. */
  readonly texts: readonly { readonly path: string; readonly text: string }[];
  /** Downloads them as a zip. */
  download(): void;
  /** Undefined when the session is over. */
  readonly rejoin: (() => void) | undefined;
}

export type FailureReason =
  | "not-found"
  | "rejected"
  /** The host did not respond within 5 minutes. */
  | "timeout"
  | "full"
  | "quota"
  | "license"
  | "forbidden"
  | "unreachable"
  | "incompatible"
  | "failed";

export interface FailedScreen {
  readonly at: "failed";
  readonly reason: FailureReason;
  /** Of the server; undefined when `reason` says it all. */
  readonly message: string | undefined;
  readonly purpose: "join" | "host";
  readonly retry: (() => void) | undefined;
}
