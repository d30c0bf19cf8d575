/** Joins a session: for the first time, after a reload, or beside another tab that is in it. */

import { askFolderPermission, folderPermission } from "../files/folder-access.ts";
import { createEntrance, type Entrance } from "../session/entry.ts";
import type { GuestState } from "../session/guest-session.ts";
import type { HostState } from "../session/host-session.ts";
import type { Keys } from "../session/keys.ts";
import type { SessionRecord } from "../storage/session-store.ts";
import { enterAsGuest } from "./enter.ts";
import type { Hosting } from "./host.ts";
import { setPageUrl } from "./page-url.ts";
import { askForSession } from "./tab-lock.ts";
import type { Visit, VisitDeps, Visits } from "./visits.ts";

export function createJoining(
  deps: VisitDeps & { readonly visits: Visits; readonly hosting: Hosting },
): { show(roomId: string): void } {
  const { visits, hosting, database } = deps;
  const { baseUrl } = deps.place;

  function show(roomId: string): void {
    setPageUrl(baseUrl, roomId);
    visits.begin(
      "join",
      () => show(roomId),
      async (visit) => {
        const isOurs = await visits.lock(roomId, visit);
        if (!visit.isCurrent()) return;
        if (!isOurs) return showOtherTab(roomId);
        const record = await database.sessions.get(roomId);
        if (!visit.isCurrent()) return;
        await (record === undefined ? join(roomId, visit, true) : comeBack(record, visit));
      },
    );
  }

  function showOtherTab(roomId: string): void {
    visits.screen.value = {
      at: "other-tab",
      roomId,
      takeOver: () => void askForSession(roomId).then(() => show(roomId)),
      joinAgain: () =>
        visits.begin(
          "join",
          () => show(roomId),
          (visit) => join(roomId, visit, false),
        ),
    };
  }

  async function join(roomId: string, visit: Visit, isRemembered: boolean): Promise<void> {
    const entrance = await visits.signIn("join", roomId, visit);
    if (!visit.isCurrent()) return;
    const step = visits.showWaiting("join");
    const entry = await entrance.join(roomId, visit.signal, () => {
      step.value = "host-decides";
    });
    step.value = "connecting";
    const keys = await visits.keys.take(step);
    if (!visit.isCurrent()) return;
    step.value = "workspace";
    await enter({ roomId, keys, entrance, isRemembered, restored: undefined, entry }, visit);
  }

  async function comeBack(record: SessionRecord, visit: Visit): Promise<void> {
    const { roomId, workspace } = record;
    const keys: Keys = { pair: record.keys, publicKey: record.publicKey };
    if (workspace.kind === "remote") {
      const restored = record.state as GuestState;
      const entrance = createEntrance(baseUrl, (await database.users.get(baseUrl))?.token);
      const { entry } = restored;
      return enter({ roomId, keys, entrance, isRemembered: true, restored, entry }, visit);
    }
    if (workspace.kind === "folder" && (await folderPermission(workspace.handle)) !== "granted") {
      if (visit.isCurrent()) askForFolder(record, workspace.handle);
      return;
    }
    const files = { workspace, folder: record.workspaceName };
    const restored = record.state as HostState;
    await hosting.enter({ roomId, roomToken: record.roomToken, keys, files, restored }, visit);
  }

  function askForFolder(
    { roomId, workspaceName }: SessionRecord,
    handle: FileSystemDirectoryHandle,
  ): void {
    visits.screen.value = {
      at: "folder-permission",
      workspaceName,
      allow: () =>
        void askFolderPermission(handle).then((permission) => {
          if (permission === "granted") show(roomId);
        }),
      cancel: () => visits.showHome(),
    };
  }

  async function enter(
    options: {
      readonly roomId: string;
      readonly keys: Keys;
      readonly entrance: Entrance;
      readonly entry: GuestState["entry"];
      readonly isRemembered: boolean;
      readonly restored: GuestState | undefined;
    },
    visit: Visit,
  ): Promise<void> {
    const { roomId, keys, entrance } = options;
    await visits.enter(
      {
        roomId,
        keys,
        again: (reason) => (reason === "closed" ? undefined : () => show(roomId)),
      },
      visit,
      (entering) =>
        enterAsGuest({
          ...options,
          ...entering,
          askAgain: (signal) => entrance.join(roomId, signal, () => {}),
        }),
    );
  }

  return { show };
}
