/** The page: what its URL names is shown, and what its user can do is connected to the ways into sessions. */
import { type Signal, signal } from "@preact/signals";
import { canOpenFolder } from "../files/folder-access.ts";
import type { App, RememberedSession } from "../model/app.ts";
import { readInvitation } from "../model/place.ts";
import type { Database } from "../storage/database.ts";
import { createHosting } from "./host.ts";
import { createJoining } from "./join.ts";
import { roomInUrl, setPageUrl } from "./page-url.ts";
import { createVisits, type EnteredSession, type VisitDeps } from "./visits.ts";

export interface StartedApp extends App {
  /** Shows what the page's URL names. */
  start(): void;
}

export function createApp(deps: VisitDeps): StartedApp {
  const { place, edge, database } = deps;
  const { baseUrl } = place;
  const visits = createVisits(deps);
  const hosting = createHosting({ ...deps, visits, showSession: (roomId) => joining.show(roomId) });
  const joining = createJoining({ ...deps, visits, hosting });
  const remembered: Signal<readonly RememberedSession[]> = signal([]);

  function showHome(): void {
    visits.showHome();
    void listRemembered();
  }

  async function listRemembered(): Promise<void> {
    const records = await database.sessions.list();
    remembered.value = records.map(({ roomId, isHost, workspaceName, lastUsedMs }) => {
      return { roomId, isHost, workspaceName, lastUsedMs };
    });
  }

  function showPlace(): void {
    const roomId = roomInUrl();
    const shown = visits.screen.peek();
    if (shown.at === "workspace") {
      // A session is left by its button, not by the way back.
      setPageUrl(baseUrl, shown.session.roomId);
      return;
    }
    if (roomId === undefined) showHome();
    else joining.show(roomId);
  }

  return {
    place,
    edge,
    screen: visits.screen,
    remembered,
    isForgetful: database.isForgetful,
    canOpenFolder: canOpenFolder(),
    readInvitation: (text) => readInvitation(text, baseUrl),
    showHome,
    showJoin: (roomId) => joining.show(roomId),
    startSession: (kind) => hosting.start(kind),
    enterAgain: ({ roomId }) => joining.show(roomId),
    forget({ roomId }) {
      void database.sessions.delete(roomId).then(listRemembered);
    },
    start() {
      window.addEventListener("popstate", showPlace);
      window.addEventListener("beforeunload", (event) => {
        if (visits.session !== undefined && mayLose(visits.session, database)) {
          event.preventDefault();
        }
      });
      window.addEventListener("pagehide", () => void database.updates.flush());
      showPlace();
    },
  };
}

/** Whether closing the page now may lose what somebody typed. */
function mayLose(session: EnteredSession, database: Database): boolean {
  if ("isSaved" in session && !session.isSaved) return true;
  const isRemembered = !("isRemembered" in session) || session.isRemembered;
  const isKept = isRemembered && !database.isForgetful.peek();
  return session.connection.peek().state !== "live" && !isKept;
}
