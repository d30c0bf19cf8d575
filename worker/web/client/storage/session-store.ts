/** The sessions of this browser: with them a reloaded or reopened page is the same person again. */
import { fieldsOf } from "../../../../shared/base/json.ts";
import type { Backend } from "./backend.ts";
import type { ProblemReport } from "./problem.ts";

/** As long as a session's room token is of use. */
const KEPT_MS = 24 * 60 * 60 * 1000;

export interface SessionRecord {
  readonly roomId: string;
  readonly isHost: boolean;
  readonly roomToken: string;
  /** Base64 SPKI, as the protocol sends it. */
  readonly publicKey: string;
  /** The private key cannot be exported: scripts can use it in this browser, but not take it away. */
  readonly keys: CryptoKeyPair;
  /** What the session keeps for itself; `workspace` says of which kind it is. */
  readonly state: unknown;
  readonly workspace:
    | { readonly kind: "scratch"; readonly id: string }
    | { readonly kind: "folder"; readonly handle: FileSystemDirectoryHandle }
    | { readonly kind: "remote" };
  readonly workspaceName: string;
  /** Wall time in ms. */
  readonly lastUsedMs: number;
}

/** No function rejects: a failure is reported, and nothing is found. */
export function createSessionStore(deps: {
  readonly backend: Backend;
  readonly report: ProblemReport;
  readonly now: () => number;
  readonly onDelete: (roomId: string) => void;
}) {
  const { backend, report, now, onDelete } = deps;
  const isUsable = (value: unknown): value is SessionRecord =>
    isRecord(value) && value.lastUsedMs > now() - KEPT_MS;

  return {
    async get(roomId: string): Promise<SessionRecord | undefined> {
      const value = await report.read(backend.get("sessions", roomId));
      return isUsable(value) ? value : undefined;
    },
    async put(session: SessionRecord): Promise<void> {
      const { roomId } = session;
      await report.write(backend.write([{ store: "sessions", put: roomId, value: session }]));
    },
    /** With its updates. */
    async delete(roomId: string): Promise<void> {
      onDelete(roomId);
      await report.write(backend.write(removal(roomId)));
    },
    /** Newest first. */
    async list(): Promise<readonly SessionRecord[]> {
      const values = (await report.read(backend.values("sessions"))) ?? [];
      return values.filter(isUsable).sort((a, b) => b.lastUsedMs - a.lastUsedMs);
    },
  };
}

/** Also removes updates without a session, which a tab leaves behind that writes after another one has deleted its session. */
export async function removeOldSessions(backend: Backend, now: () => number): Promise<void> {
  // Read before the sessions: a session that another tab is starting has its record before its first update.
  const updates = await backend.keys("updates");
  const kept = new Set<string>();
  const old: string[] = [];
  const roomIds = await backend.keys("sessions");
  for (const roomId of roomIds) {
    const value = await backend.get("sessions", roomId);
    if (isRecord(value) && value.lastUsedMs > now() - KEPT_MS) kept.add(roomId);
    else old.push(roomId);
  }
  const orphans = updates
    .map((key) => key.slice(0, key.indexOf("/")))
    .filter((roomId) => !kept.has(roomId));
  await backend.write([...new Set([...old, ...orphans])].flatMap(removal));
}

function removal(roomId: string) {
  return [
    { store: "sessions", remove: roomId },
    { store: "updates", removeAll: `${roomId}/` },
  ] as const;
}

/** Another version of this page may have written it. */
function isRecord(value: unknown): value is SessionRecord {
  const { roomId, roomToken, publicKey, keys, workspace, lastUsedMs } = fieldsOf(value);
  return (
    [roomId, roomToken, publicKey].every((text) => typeof text === "string") &&
    typeof keys === "object" &&
    typeof workspace === "object" &&
    typeof lastUsedMs === "number"
  );
}
