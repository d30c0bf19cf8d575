/** Enters a session, for the first time or after a reload. */
import type { Workspace } from "open-collaboration-protocol";
import { createFolderFiles } from "../files/folder-files.ts";
import { createScratchFiles } from "../files/scratch-files.ts";
import type { EndReason } from "../model/session.ts";
import {
  type GuestEntry,
  type GuestSession,
  type GuestState,
  startGuestSession,
} from "../session/guest-session.ts";
import { type HostSession, type HostState, startHostSession } from "../session/host-session.ts";
import type { SessionOptions } from "../session/live-session.ts";
import type { Database } from "../storage/database.ts";
import type { SessionRecord } from "../storage/session-store.ts";
import { keepNothing, keepSession } from "./keeping.ts";

export interface Entering extends SessionOptions {
  readonly database: Database;
  readonly onEnded: (reason: EndReason) => void;
}

export type HostWorkspace = Exclude<SessionRecord["workspace"], { readonly kind: "remote" }>;

export async function enterAsHost(
  entering: Entering & {
    readonly roomToken: string;
    readonly workspace: HostWorkspace;
    readonly folder: string;
    /** After a reload. */
    readonly restored: HostState | undefined;
  },
): Promise<HostSession> {
  const { database, workspace, folder } = entering;
  let session: HostSession | undefined;
  const environment = await keepSession({
    ...entering,
    describe: () =>
      recordOf(entering, {
        isHost: true,
        roomToken: entering.roomToken,
        workspace,
        workspaceName: folder,
        state: session?.state,
      }),
  });
  session = startHostSession({
    ...entering,
    ...environment,
    workspace: { name: folder, folders: [folder] } satisfies Workspace,
    openFiles: (watched) =>
      workspace.kind === "scratch"
        ? createScratchFiles(database, workspace.id)
        : createFolderFiles(workspace.handle, folder, { watched }),
  });
  return session;
}

export async function enterAsGuest(
  entering: Entering & {
    readonly entry: GuestEntry;
    /** After a reload. */
    readonly restored: GuestState | undefined;
    readonly askAgain: (signal: AbortSignal) => Promise<GuestEntry>;
    /** False for a second person in this browser. */
    readonly isRemembered: boolean;
  },
): Promise<GuestSession> {
  let session: GuestSession | undefined;
  const environment = entering.isRemembered
    ? await keepSession({
        ...entering,
        describe: () => {
          const state = session?.state;
          return recordOf(entering, {
            roomToken: state?.entry.roomToken ?? "",
            workspaceName: state?.entry.workspace.name ?? "",
            workspace: { kind: "remote" },
            isHost: false,
            state,
          });
        },
      })
    : keepNothing(entering.onEnded);
  session = startGuestSession({
    ...entering,
    ...environment,
    restored: entering.restored?.known,
  });
  return session;
}

function recordOf(
  { roomId, keys }: Entering,
  described: Omit<SessionRecord, "roomId" | "publicKey" | "keys" | "lastUsedMs">,
): SessionRecord | undefined {
  if (described.state === undefined) return undefined;
  const { publicKey, pair } = keys;
  return { ...described, roomId, publicKey, keys: pair, lastUsedMs: Date.now() };
}
