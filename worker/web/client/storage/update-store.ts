/**
 * The Yjs updates of each session, so that nothing typed is lost with the page. Updates may be applied in any order and twice,
 * so tabs need no agreement.
 */
import { getOrAdd } from "../../../../shared/base/grouping.ts";
import { oneFlight } from "../../../../shared/base/one-flight.ts";
import type { Backend, Change } from "./backend.ts";
import type { ProblemReport } from "./problem.ts";

/** After a failed write; what was not written stays in memory until then. */
const RETRY_MS = 5_000;

/** What this page knows of a session's updates. */
interface Room {
  readonly keys: Set<string>;
  unwritten: Uint8Array[];
}

/** No function rejects: a failure is reported. */
export function createUpdateStore(deps: {
  readonly backend: Backend;
  readonly report: ProblemReport;
}) {
  const { backend, report } = deps;
  const rooms = new Map<string, Room>();
  /** Keys of different tabs, and of one tab before and after a reload, differ. */
  const page = crypto.randomUUID();
  let lastNumber = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;

  function roomOf(roomId: string): Room {
    return getOrAdd(rooms, roomId, () => ({ keys: new Set(), unwritten: [] }));
  }

  function nextKey(roomId: string): string {
    lastNumber++;
    return `${roomId}/${page}-${lastNumber}`;
  }

  function isPending(): boolean {
    return [...rooms.values()].some(({ unwritten }) => unwritten.length > 0);
  }

  /** Resolves when all that was appended is written, or when writing it has failed. */
  const flush = oneFlight(async () => {
    while (isPending()) {
      const batch = [...rooms].flatMap(([roomId, room]) =>
        room.unwritten.map((value) => ({ room, value, key: nextKey(roomId) })),
      );
      const changes = batch.map(
        ({ key, value }) => ({ store: "updates", put: key, value }) as const,
      );
      if (!(await report.write(backend.write(changes)))) return planRetry();
      for (const { room, key } of batch) room.keys.add(key);
      const written = new Set(batch.map(({ value }) => value));
      for (const room of rooms.values()) {
        room.unwritten = room.unwritten.filter((update) => !written.has(update));
      }
    }
  });

  function planRetry(): void {
    if (isClosed) return;
    retry ??= setTimeout(() => {
      retry = undefined;
      void flush();
    }, RETRY_MS);
  }

  /** Replaces the updates that this page has loaded and appended by `merged`, which contains them; other tabs' stay. */
  async function compact(roomId: string, merged: Uint8Array): Promise<void> {
    const room = roomOf(roomId);
    const replaced = [...room.keys];
    const unwritten = new Set(room.unwritten);
    const key = nextKey(roomId);
    const changes: Change[] = replaced.map((old) => ({ store: "updates", remove: old }));
    changes.push({ store: "updates", put: key, value: merged });
    if (!(await report.write(backend.write(changes)))) return;
    for (const old of replaced) room.keys.delete(old);
    room.keys.add(key);
    room.unwritten = room.unwritten.filter((update) => !unwritten.has(update));
  }

  return {
    /** Returns at once. Updates that arrive during a write are written together. A failed write is repeated. */
    append(roomId: string, update: Uint8Array): void {
      roomOf(roomId).unwritten.push(update);
      void flush();
    },
    async load(roomId: string): Promise<readonly Uint8Array[]> {
      await flush();
      // The keys first: what another tab writes between the two is returned, and is not replaced later.
      const keys = await report.read(backend.keys("updates", `${roomId}/`));
      const values = await report.read(backend.values("updates", `${roomId}/`));
      const room = roomOf(roomId);
      if (keys === undefined || values === undefined) return room.unwritten;
      for (const key of keys) room.keys.add(key);
      return [...values.filter((value) => value instanceof Uint8Array), ...room.unwritten];
    },
    compact,
    flush,
    /** How many writes of a session this page would replace by `compact`. */
    count: (roomId: string) => rooms.get(roomId)?.keys.size ?? 0,
    /** The session is deleted: what is not written yet is not written any more. */
    drop: (roomId: string): void => void rooms.delete(roomId),
    close(): void {
      isClosed = true;
      clearTimeout(retry);
    },
  };
}
