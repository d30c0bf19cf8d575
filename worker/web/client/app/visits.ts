/**
 * The ways into a session and out of it, as guests and hosts have them in common: each way is a visit, which shows its
 * screens until the user goes elsewhere; what an abandoned visit still does is ignored.
 */
import { type Signal, signal } from "@preact/signals";
import { zipTexts } from "../files/zip.ts";
import type { Screen, WaitingStep } from "../model/app.ts";
import { type EdgeInfo, invitationLink, type Place } from "../model/place.ts";
import type { EndReason } from "../model/session.ts";
import { saveFile } from "../panels/controls/download.ts";
import { type Entrance, JoinError } from "../session/entry.ts";
import type { GuestSession } from "../session/guest-session.ts";
import type { HostSession } from "../session/host-session.ts";
import type { Keys } from "../session/keys.ts";
import type { TransportNames } from "../session/transport.ts";
import type { Database } from "../storage/database.ts";
import type { Entering } from "./enter.ts";
import { createKeySupply } from "./key-supply.ts";
import { keepOpenTabs } from "./open-tabs.ts";
import { setPageUrl } from "./page-url.ts";
import { startSignIn } from "./sign-in.ts";
import { lockSession, type TabLock } from "./tab-lock.ts";

export type Purpose = "join" | "host";
export type EnteredSession = GuestSession | HostSession;

/** One way into a session. */
export interface Visit {
  readonly isCurrent: () => boolean;
  /** Aborted when the user goes elsewhere. */
  readonly signal: AbortSignal;
}

export interface VisitDeps {
  readonly place: Place;
  readonly edge: EdgeInfo;
  readonly database: Database;
  readonly transports: TransportNames;
}

export type Visits = ReturnType<typeof createVisits>;

interface EnterOptions {
  readonly roomId: string;
  readonly keys: Keys;
  readonly again: (reason: EndReason) => (() => void) | undefined;
}

export function createVisits(deps: VisitDeps) {
  const { place, edge, database } = deps;
  const { baseUrl } = place;
  const screen: Signal<Screen> = signal({ at: "starting" });
  const keys = createKeySupply();
  let abandon = new AbortController();
  let lock: TabLock | undefined;
  let session: EnteredSession | undefined;
  let stopKeepingTabs = (): void => {};

  /** Ends the visit before. */
  function startVisit(): Visit {
    abandon.abort();
    abandon = new AbortController();
    lock?.release();
    lock = undefined;
    const { signal: own } = abandon;
    return { isCurrent: () => !own.aborted, signal: own };
  }

  function showHome(): void {
    startVisit();
    setPageUrl(baseUrl, undefined);
    screen.value = { at: "home" };
  }

  function showFailure(error: unknown, purpose: Purpose, again: () => void): void {
    startVisit();
    if (!(error instanceof JoinError)) console.error(error);
    screen.value = failedScreen(error, purpose, again);
  }

  function showEnd(options: EnterOptions, ended: EnteredSession, reason: EndReason): void {
    stopKeepingTabs();
    session = undefined;
    startVisit();
    const rejoin = options.again(reason);
    setPageUrl(baseUrl, rejoin !== undefined && !ended.isHost ? options.roomId : undefined);
    screen.value = endedScreen(ended, reason, rejoin);
  }

  return {
    screen,
    keys,
    /** The session that the page is in, or enters. */
    get session(): EnteredSession | undefined {
      return session;
    },
    showHome,
    /** Starts a visit; a failure is shown, and `again` tries once more. */
    begin(purpose: Purpose, again: () => void, work: (visit: Visit) => Promise<void>): void {
      const visit = startVisit();
      work(visit).catch((error: unknown) => {
        if (visit.isCurrent()) showFailure(error, purpose, again);
      });
    },
    /** Resolves with false when another tab is in the session as the same person. */
    async lock(roomId: string, { isCurrent }: Visit): Promise<boolean> {
      const taken = await lockSession(roomId, () => {
        if (session === undefined) showHome();
        else session.moveAway();
      });
      if (isCurrent()) lock = taken;
      else taken?.release();
      return taken !== undefined;
    },
    async signIn(purpose: Purpose, roomId: string | undefined, visit: Visit): Promise<Entrance> {
      keys.prepare();
      const signIn = startSignIn({
        baseUrl,
        users: database.users,
        purpose,
        roomId,
        asksEmail: edge.asksEmail === true,
        signal: visit.signal,
        onCancel: showHome,
      });
      screen.value = signIn.screen;
      const { entrance } = await signIn.done;
      return entrance;
    },
    showWaiting(purpose: Purpose): Signal<WaitingStep> {
      const step: Signal<WaitingStep> = signal("server");
      screen.value = { at: "waiting", purpose, step, cancel: showHome };
      return step;
    },
    /**
     * Enters a session, and shows it when it is ready. `again`: how the user returns after its end, if there is a way.
     */
    async enter(
      options: EnterOptions,
      visit: Visit,
      start: (entering: Entering) => Promise<EnteredSession>,
    ): Promise<void> {
      let isReady = false;
      let entered: EnteredSession | undefined;
      // The session may be ready before `start` resolves.
      const show = (): void => {
        isReady = true;
        if (entered === undefined || session !== entered) return;
        if (screen.peek().at === "workspace") return;
        screen.value = { at: "workspace", session: entered };
        stopKeepingTabs = keepOpenTabs(options.roomId, entered.tabs);
        if (entered.tabs.tabs.peek().length === 0) entered.begin();
      };
      entered = await start({
        ...(await surroundings(deps, options)),
        onReady: show,
        onEnded: (reason) => {
          if (entered !== undefined && session === entered) showEnd(options, entered, reason);
        },
      });
      const own = entered;
      if (!visit.isCurrent()) return own.leave();
      visit.signal.addEventListener("abort", () => {
        if (own.connection.peek().state === "ended") return;
        // The user is elsewhere: its end is not shown.
        session = undefined;
        void own.leave();
      });
      session = own;
      const connection = own.connection.peek();
      if (connection.state === "ended") showEnd(options, own, connection.reason);
      else if (isReady) show();
    },
  };
}

function failedScreen(error: unknown, purpose: Purpose, again: () => void): Screen {
  const reason = error instanceof JoinError ? error.reason : "failed";
  return {
    at: "failed",
    reason,
    message: reason === "failed" && error instanceof Error ? error.message : undefined,
    purpose,
    retry: reason === "not-found" ? undefined : again,
  };
}

function endedScreen(
  ended: EnteredSession,
  reason: EndReason,
  rejoin: (() => void) | undefined,
): Screen {
  const workspaceName = ended.workspace.peek().name;
  // A host's texts are in its files; a guest who leaves knows that they stay with the others.
  const isKept = "isSaved" in ended ? ended.isSaved : reason === "left";
  const texts = isKept ? [] : ended.texts();
  return {
    at: "ended",
    reason,
    isHost: ended.isHost,
    workspaceName,
    texts,
    download: () => void zipTexts(texts).then((zip) => saveFile(`${workspaceName}.zip`, zip)),
    rejoin,
  };
}

/** What a session needs of the page. */
async function surroundings(
  { place, edge, transports, database }: VisitDeps,
  { roomId, keys }: EnterOptions,
): Promise<Omit<Entering, "onReady" | "onEnded">> {
  return {
    baseUrl: place.baseUrl,
    roomId,
    invitation: invitationLink(edge.serverUrl, roomId),
    meetingUrl: edge.meetingTemplate && (await meetingUrl(edge.meetingTemplate, roomId)),
    keys,
    transports,
    database,
  };
}

/**
 * The meeting of a session: `CT_MEETING_URL` with `{room}` replaced. The name is a hash of the session's key, so that people
 * who see the meeting's name cannot ask to join the session.
 */
async function meetingUrl(template: string, roomId: string): Promise<string> {
  const bytes = new TextEncoder().encode(`meeting ${roomId}`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const name = [...digest.subarray(0, 10)].map((byte) => byte.toString(16).padStart(2, "0"));
  return template.replaceAll("{room}", name.join(""));
}
