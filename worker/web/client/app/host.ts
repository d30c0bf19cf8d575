/** Starts sessions whose files are here: in a folder of the user, or kept in the browser. */
import { chooseFolder, workspaceNameOf } from "../files/folder-access.ts";
import { createScratchWorkspace, SCRATCH_FOLDER } from "../files/scratch-files.ts";
import type { HostState } from "../session/host-session.ts";
import type { Keys } from "../session/keys.ts";
import { enterAsHost, type HostWorkspace } from "./enter.ts";
import { setPageUrl } from "./page-url.ts";
import type { Visit, VisitDeps, Visits } from "./visits.ts";

export type Hosting = ReturnType<typeof createHosting>;

export interface SharedFiles {
  readonly workspace: HostWorkspace;
  /** Its name, and that of its only folder. */
  readonly folder: string;
}

/** A session of this page that is entered; `restored`: after a reload. */
interface HostEntry {
  readonly roomId: string;
  readonly roomToken: string;
  readonly keys: Keys;
  readonly files: SharedFiles;
  readonly restored: HostState | undefined;
}

export function createHosting(
  deps: VisitDeps & { readonly visits: Visits; readonly showSession: (roomId: string) => void },
) {
  const { visits, database } = deps;

  /** Undefined: with a new scratch workspace. */
  function host(files: SharedFiles | undefined): void {
    visits.begin(
      "host",
      () => host(files),
      async (visit) => {
        const entrance = await visits.signIn("host", undefined, visit);
        if (!visit.isCurrent()) return;
        const step = visits.showWaiting("host");
        const { roomId, roomToken } = await entrance.create(visit.signal);
        const keys = await visits.keys.take(step);
        if (!visit.isCurrent()) return;
        await visits.lock(roomId, visit);
        step.value = "connecting";
        const shared = files ?? (await newScratch());
        if (!visit.isCurrent()) return;
        setPageUrl(deps.place.baseUrl, roomId);
        await enter({ roomId, roomToken, keys, files: shared, restored: undefined }, visit);
      },
    );
  }

  async function newScratch(): Promise<SharedFiles> {
    const id = await createScratchWorkspace(database);
    return { workspace: { kind: "scratch", id }, folder: SCRATCH_FOLDER };
  }

  async function enter(options: HostEntry, visit: Visit): Promise<void> {
    const { roomId, keys, files } = options;
    await visits.enter(
      {
        roomId,
        keys,
        // A session that is over is not opened again; its files are shared in a new one.
        again: (reason) => () => (reason === "moved" ? deps.showSession(roomId) : host(files)),
      },
      visit,
      (entering) => enterAsHost({ ...options, ...files, ...entering }),
    );
  }

  return {
    enter,
    /** Opens the browser's folder chooser for `folder`. */
    start(kind: "scratch" | "folder"): void {
      if (kind === "scratch") {
        host(undefined);
        return;
      }
      // First, because browsers open the chooser only in response to a click.
      void chooseFolder().then((handle) => {
        if (handle === undefined) return;
        host({ workspace: { kind: "folder", handle }, folder: workspaceNameOf(handle) });
      });
    },
  };
}
