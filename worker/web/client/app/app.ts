/**
 * The page: decides which screen it shows, and leads a user from the page's URL through sign-in and waiting into a session
 * and out of it.
 */
import { type Signal, signal } from "@preact/signals";
import {
  askFolderPermission,
  canOpenFolder,
  chooseFolder,
  folderPermission,
} from "../files/folder-access.ts";
import { createScratchWorkspace, SCRATCH_FOLDER } from "../files/scratch-files.ts";
import { zipTexts } from "../files/zip.ts";
import type { App, RememberedSession, Screen, WaitingStep } from "../model/app.ts";
import {
  type EdgeInfo,
  invitationLink,
  type Place,
  readInvitation,
  readPlace,
} from "../model/place.ts";
import type { EndReason } from "../model/session.ts";
import { createEntrance, type Entrance, JoinError } from "../session/entry.ts";
import type { GuestEntry, GuestSession, GuestState } from "../session/guest-session.ts";
import type { HostSession, HostState } from "../session/host-session.ts";
import { generateKeys, type Keys } from "../session/keys.ts";
import type { TransportNames } from "../session/transport.ts";
import type { Database } from "../storage/database.ts";
import type { SessionRecord } from "../storage/session-store.ts";
import { download } from "./download.ts";
import { type Entering, enterAsGuest, enterAsHost, type HostWorkspace } from "./enter.ts";
import { meetingUrl } from "./meeting.ts";
import { keepOpenTabs } from "./open-tabs.ts";
import { startSignIn } from "./sign-in.ts";
import { askForSession, lockSession, type TabLock } from "./tab-lock.ts";

export interface StartedApp extends App {
  /** Shows what the page's URL names. */
  start(): void;
}

export function createApp(deps: {
  readonly place: Place;
  readonly edge: EdgeInfo;
  readonly database: Database;
  readonly transports: TransportNames;
}): StartedApp {
  const { place, edge, database } = deps;
  const { baseUrl } = place;
  const screen: Signal<Screen> = signal({ at: "starting" });
  const remembered: Signal<readonly RememberedSession[]> = signal([]);
  /** Each way into a session is a visit; what an abandoned one still does is ignored. */
  let visit = 0;
  let current: GuestSession | HostSession | undefined;
  let lock: TabLock | undefined;
  let keys: Promise<Keys> | undefined;
  let stopKeepingTabs = (): void => {};

  // --- screens without a session ---

  function leaveVisit(): number {
    lock?.release();
    lock = undefined;
    return ++visit;
  }

  function showHome(): void {
    leaveVisit();
    setUrl(undefined);
    screen.value = { at: "home" };
    void listRemembered();
  }

  async function listRemembered(): Promise<void> {
    const records = await database.sessions.list();
    remembered.value = records.map(({ roomId, isHost, workspaceName, lastUsedMs }) => {
      return { roomId, isHost, workspaceName, lastUsedMs };
    });
  }

  function showFailure(error: unknown, purpose: "join" | "host", retry: () => void): void {
    const isKnown = error instanceof JoinError;
    if (!isKnown) console.error(error);
    const reason = isKnown ? error.reason : "failed";
    leaveVisit();
    screen.value = {
      at: "failed",
      reason,
      message: reason === "failed" && error instanceof Error ? error.message : undefined,
      purpose,
      retry: reason === "not-found" ? undefined : retry,
    };
  }

  /** Runs one way into a session; when it fails, the failure is shown unless the user has gone elsewhere. */
  function run(
    purpose: "join" | "host",
    again: () => void,
    work: (isCurrent: () => boolean) => Promise<void>,
  ): void {
    const own = leaveVisit();
    const isCurrent = (): boolean => visit === own;
    work(isCurrent).catch((error: unknown) => {
      if (isCurrent()) showFailure(error, purpose, again);
    });
  }

  // --- waiting ---

  function showWaiting(purpose: "join" | "host"): {
    readonly step: Signal<WaitingStep>;
    readonly signal: AbortSignal;
  } {
    const step: Signal<WaitingStep> = signal("server");
    const cancelled = new AbortController();
    const cancel = (): void => {
      cancelled.abort();
      current?.leave().catch(() => {});
      showHome();
    };
    screen.value = { at: "waiting", purpose, step, cancel };
    return { step, signal: cancelled.signal };
  }

  /** The key pair takes seconds, so it is made while the user types a name. A pair is used once. */
  function prepareKeys(): void {
    keys ??= generateKeys();
    keys.catch(() => {});
  }

  async function takeKeys(step: Signal<WaitingStep>): Promise<Keys> {
    prepareKeys();
    const pending = keys ?? generateKeys();
    keys = undefined;
    const before = step.peek();
    step.value = "key";
    const taken = await pending;
    step.value = before;
    return taken;
  }

  async function signIn(purpose: "join" | "host", roomId: string | undefined): Promise<Entrance> {
    prepareKeys();
    const { screen: shown, done } = startSignIn({
      baseUrl,
      users: database.users,
      purpose,
      roomId,
      onCancel: showHome,
    });
    screen.value = shown;
    const { entrance } = await done;
    return entrance;
  }

  // --- guests ---

  function showJoin(roomId: string): void {
    setUrl(roomId);
    const again = (): void => showJoin(roomId);
    run("join", again, async (isCurrent) => {
      const taken = await lockSession(roomId, () => current?.moveAway());
      if (!isCurrent()) return taken?.release();
      if (taken === undefined) return showOtherTab(roomId);
      lock = taken;
      const record = await database.sessions.get(roomId);
      if (!isCurrent()) return;
      if (record === undefined) await join(roomId, isCurrent, true);
      else await comeBack(record, isCurrent);
    });
  }

  function showOtherTab(roomId: string): void {
    screen.value = {
      at: "other-tab",
      roomId,
      takeOver() {
        void askForSession(roomId).then(() => showJoin(roomId));
      },
      joinAgain() {
        const again = (): void => showJoin(roomId);
        run("join", again, (isCurrent) => join(roomId, isCurrent, false));
      },
    };
  }

  async function join(
    roomId: string,
    isCurrent: () => boolean,
    isRemembered: boolean,
  ): Promise<void> {
    const entrance = await signIn("join", roomId);
    if (!isCurrent()) return;
    const { step, signal: cancelled } = showWaiting("join");
    const entry = await ask(entrance, roomId, cancelled, () => {
      step.value = "host-decides";
    });
    step.value = "connecting";
    const taken = await takeKeys(step);
    if (!isCurrent()) return;
    step.value = "workspace";
    const restored = undefined;
    await enterGuest({ roomId, keys: taken, entry, entrance, restored, isRemembered, isCurrent });
  }

  function ask(
    entrance: Entrance,
    roomId: string,
    cancelled: AbortSignal,
    onWaiting: () => void = () => {},
  ): Promise<GuestEntry> {
    return entrance.join(roomId, cancelled, onWaiting);
  }

  async function enterGuest(options: {
    readonly roomId: string;
    readonly keys: Keys;
    readonly entry: GuestEntry;
    readonly entrance: Entrance;
    readonly restored: GuestState | undefined;
    readonly isRemembered: boolean;
    readonly isCurrent: () => boolean;
  }): Promise<void> {
    const { roomId, entrance } = options;
    await enter(options, async (onReady) =>
      enterAsGuest({
        ...options,
        ...(await enteringOf(roomId, options.keys)),
        askAgain: (cancelled) => ask(entrance, roomId, cancelled),
        onReady,
      }),
    );
  }

  /** Shows the session when it is ready, which may be before `start` resolves. */
  async function enter(
    { isCurrent, restored }: { readonly isCurrent: () => boolean; readonly restored: unknown },
    start: (onReady: () => void) => Promise<GuestSession | HostSession>,
  ): Promise<void> {
    let isReady = false;
    let session: GuestSession | HostSession | undefined;
    const show = (): void => {
      isReady = true;
      if (session === undefined || current !== session || screen.peek().at === "workspace") return;
      screen.value = { at: "workspace", session };
      stopKeepingTabs = keepOpenTabs(session.roomId, session.tabs);
      if (restored === undefined) session.begin();
    };
    session = await start(show);
    if (!isCurrent()) {
      await session.leave();
      return;
    }
    current = session;
    if (isReady) show();
  }

  // --- hosts ---

  function startSession(kind: "scratch" | "folder"): void {
    const again = (): void => startSession(kind);
    run("host", again, async (isCurrent) => {
      // First, because browsers open the chooser only in response to a click.
      const handle = kind === "folder" ? await chooseFolder() : undefined;
      if (!isCurrent() || (kind === "folder" && handle === undefined)) return;
      const entrance = await signIn("host", undefined);
      if (!isCurrent()) return;
      const { step, signal: cancelled } = showWaiting("host");
      const { roomId, roomToken } = await entrance.create(cancelled);
      const taken = await takeKeys(step);
      const tabLock = await lockSession(roomId, () => current?.moveAway());
      if (!isCurrent()) return tabLock?.release();
      lock = tabLock;
      step.value = "connecting";
      const workspace: HostWorkspace =
        handle === undefined
          ? { kind: "scratch", id: await createScratchWorkspace(database) }
          : { kind: "folder", handle };
      const folder = handle?.name ?? SCRATCH_FOLDER;
      setUrl(roomId);
      const restored = undefined;
      await enterHost({ roomId, roomToken, keys: taken, workspace, folder, restored, isCurrent });
    });
  }

  async function enterHost(options: {
    readonly roomId: string;
    readonly roomToken: string;
    readonly keys: Keys;
    readonly workspace: HostWorkspace;
    readonly folder: string;
    readonly restored: HostState | undefined;
    readonly isCurrent: () => boolean;
  }): Promise<void> {
    await enter(options, async (onReady) =>
      enterAsHost({
        ...options,
        ...(await enteringOf(options.roomId, options.keys)),
        onReady,
      }),
    );
  }

  // --- coming back ---

  async function comeBack(record: SessionRecord, isCurrent: () => boolean): Promise<void> {
    const { roomId, workspace } = record;
    const kept: Keys = { pair: record.keys, publicKey: record.publicKey };
    if (workspace.kind === "remote") {
      const restored = record.state as GuestState;
      const user = await database.users.get(baseUrl);
      const entrance = createEntrance(baseUrl, user?.token);
      const own = { roomId, keys: kept, entry: restored.entry, entrance };
      return enterGuest({ ...own, restored, isRemembered: true, isCurrent });
    }
    if (workspace.kind === "folder" && (await folderPermission(workspace.handle)) !== "granted") {
      if (isCurrent()) showFolderPermission(record, workspace.handle);
      return;
    }
    await enterHost({
      roomId,
      roomToken: record.roomToken,
      keys: kept,
      workspace,
      folder: record.workspaceName,
      restored: record.state as HostState,
      isCurrent,
    });
  }

  function showFolderPermission(
    { roomId, workspaceName }: SessionRecord,
    handle: FileSystemDirectoryHandle,
  ): void {
    screen.value = {
      at: "folder-permission",
      workspaceName,
      allow() {
        void askFolderPermission(handle).then((permission) => {
          if (permission === "granted") showJoin(roomId);
        });
      },
      cancel: showHome,
    };
  }

  // --- in a session ---

  async function enteringOf(roomId: string, own: Keys): Promise<Omit<Entering, "onReady">> {
    const { meetingTemplate } = edge;
    return {
      baseUrl,
      roomId,
      invitation: invitationLink(publicUrl(edge, place), roomId),
      meetingUrl:
        meetingTemplate === undefined ? undefined : await meetingUrl(meetingTemplate, roomId),
      keys: own,
      transports: deps.transports,
      database,
      onEnded: (reason) => showEnd(roomId, reason),
    };
  }

  function showEnd(roomId: string, reason: EndReason): void {
    const session = current;
    current = undefined;
    leaveVisit();
    stopKeepingTabs();
    if (session === undefined) return;
    const texts = reason === "left" && !session.isHost ? [] : unsavedTexts(session);
    const workspaceName = session.workspace.peek().name;
    const canRejoin = reason === "moved" || (!session.isHost && reason !== "closed");
    setUrl(canRejoin ? roomId : undefined);
    screen.value = {
      at: "ended",
      reason,
      isHost: session.isHost,
      workspaceName,
      texts,
      download: () => void zipTexts(texts).then((zip) => download(`${workspaceName}.zip`, zip)),
      rejoin: canRejoin ? () => showJoin(roomId) : undefined,
    };
  }

  // --- the page's URL ---

  function setUrl(roomId: string | undefined): void {
    const shown = readPlace(location.href).roomId;
    if (shown === roomId) return;
    const url = roomId === undefined ? `${baseUrl}/` : invitationLink(baseUrl, roomId);
    history.pushState(undefined, "", url);
  }

  function onUrl(): void {
    const { roomId } = readPlace(location.href);
    const shown = screen.peek();
    if (shown.at === "workspace") {
      // A session is left by its button, not by the way back.
      if (roomId !== shown.session.roomId) setUrl(shown.session.roomId);
      return;
    }
    if (roomId === undefined) showHome();
    else showJoin(roomId);
  }

  return {
    place,
    edge,
    screen,
    remembered,
    isForgetful: database.isForgetful,
    canOpenFolder: canOpenFolder(),
    readInvitation: (text) => readInvitation(text, baseUrl),
    showHome,
    showJoin,
    startSession,
    enterAgain: ({ roomId }) => showJoin(roomId),
    forget({ roomId }) {
      void database.sessions.delete(roomId).then(listRemembered);
    },
    signOut() {
      const shown = screen.peek();
      void database.users.delete(baseUrl).then(() => {
        if (shown.at !== "sign-in") return;
        if (shown.roomId === undefined) showHome();
        else showJoin(shown.roomId);
      });
    },
    start() {
      window.addEventListener("popstate", onUrl);
      window.addEventListener("beforeunload", (event) => {
        if (current !== undefined && mayLose(current, database)) event.preventDefault();
      });
      window.addEventListener("pagehide", () => void database.updates.flush());
      onUrl();
    },
  };
}

/** The URL for guests: as the operator has set it, with the key in this page's path. */
function publicUrl({ serverUrl }: EdgeInfo, { baseUrl }: Place): string {
  const key = /\/k\/[^/]+$/.exec(baseUrl)?.[0] ?? "";
  return serverUrl.endsWith(key) ? serverUrl : serverUrl + key;
}

/** Whether closing the page now may lose what somebody typed. */
function mayLose(session: GuestSession | HostSession, database: Database): boolean {
  if ("isSaved" in session && !session.isSaved) return true;
  return session.connection.peek().state !== "live" && database.isForgetful.peek();
}

/** What is nowhere else: a host's texts are in its files. */
function unsavedTexts(session: GuestSession | HostSession) {
  return "isSaved" in session && session.isSaved ? [] : session.texts();
}
