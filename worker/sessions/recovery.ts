/**
 * Restores what this worker and the store know of each other's sessions: after a restart of this worker (`recover`), and
 * after the lease lapsed or the store lost its data (`confirm`).
 */
import { BoundedMap } from "../../shared/base/bounded.ts";
import { type Clock, sleep } from "../../shared/base/clock.ts";
import { concurrently } from "../../shared/base/concurrently.ts";
import type { SessionId, WorkerId } from "../../shared/base/ids.ts";
import { coalesced } from "../../shared/base/one-flight.ts";
import type { Log } from "../../shared/logs/log.ts";
import { type Reassertion, type Store, StoreAwayError } from "../../shared/store/store.ts";
import type { Claims } from "./claims.ts";
import { Session } from "./session.ts";
import { shortId, TOMBSTONE_MS } from "./session-ownership.ts";

export interface RecoveryDeps {
  readonly store: Pick<Store, "sessionsOf" | "members" | "timeMs" | "reassertSession">;
  readonly clock: Clock;
  readonly log: Log;
  readonly self: { readonly id: WorkerId };
  readonly resume: Claims["resume"];
  readonly sessions: ReadonlyMap<SessionId, Session>;
  /** Whether the registry is closed: what runs ends early. */
  readonly isClosed: () => boolean;
}

/** Sessions resumed or confirmed at a time. */
const CONCURRENCY = 16;
const STORE_RETRY_MS = 1000;
/** Sessions closed here whose tombstones are kept. */
const MAX_CLOSED = 5000;

export function createRecovery(deps: RecoveryDeps) {
  const { store, clock, log, self, sessions, isClosed } = deps;
  /** Oldest first. The records, because a session keeps all of its people. */
  const closed = new BoundedMap<
    SessionId,
    { readonly tombstone: Reassertion; readonly atMs: number }
  >(MAX_CLOSED);

  /** See `Registry.recover`. */
  async function recover(): Promise<void> {
    const ids = await whenStoreResponds(() => store.sessionsOf(self.id));
    const recovered: Session[] = [];
    await forEach(ids ?? [], async (id) => {
      if (sessions.has(id)) return;
      const session = await whenStoreResponds(() => deps.resume(id));
      if (session instanceof Session) recovered.push(session);
    });
    for (const session of recovered) if (session.isLive) session.start();
    if (recovered.length > 0) log.info({ sessions: recovered.length }, "sessions recovered");
  }

  /** See `Registry.confirm`. */
  const confirm = coalesced(async () => {
    if (isClosed()) return;
    const live = [...sessions.values()].filter((session) => session.isLive);
    let lost = 0;
    await forEach(live, async (session) => {
      const result = await unlessRefused(session, () => session.confirm());
      if (result === "lost") lost++;
      // Its owner is uncertain now; the next client that claims it makes it confirm again.
      if (result === "refused") session.fence();
    });
    if (live.length > 0) log.info({ sessions: live.length, lost }, "sessions confirmed");
    const memberList = await whenStoreResponds(() => store.members());
    if (memberList?.booted === false) await restoreTombstones();
  });

  /** A flushed store has lost its tombstones too: a former owner that was cut off could reopen a closed session. */
  async function restoreTombstones(): Promise<void> {
    const storeMs = await whenStoreResponds(() => store.timeMs());
    if (storeMs === undefined) return;
    await forEach([...closed.values()], async ({ tombstone, atMs }) => {
      const untilMs = storeMs + TOMBSTONE_MS - (clock.nowMs() - atMs);
      if (untilMs <= storeMs) return;
      await unlessRefused(tombstone, () => store.reassertSession({ ...tombstone, untilMs }));
    });
  }

  /** Keeps the tombstone of a session that closed here, for a store that loses it. */
  function noteClosed(session: Session): void {
    // Its end is set when it is written.
    const tombstone = session.tombstone(0);
    if (tombstone === undefined) return;
    closed.set(session.id, { tombstone, atMs: clock.nowMs() });
  }

  /** As `whenStoreResponds`; an error for one session must not keep the others from being confirmed. */
  async function unlessRefused<T>(
    { id }: Pick<Session, "id">,
    request: () => Promise<T>,
  ): Promise<T | "refused" | undefined> {
    try {
      return await whenStoreResponds(request);
    } catch (error) {
      log.error({ session: shortId(id), err: error }, "session could not be confirmed");
      return "refused";
    }
  }

  /** Retries until the store responds; undefined when the registry closes first. */
  async function whenStoreResponds<T>(request: () => Promise<T>): Promise<T | undefined> {
    while (!isClosed()) {
      try {
        return await request();
      } catch (error) {
        if (!(error instanceof StoreAwayError)) throw error;
        await sleep(clock, STORE_RETRY_MS);
      }
    }
    return undefined;
  }

  /** A few at a time, until the registry closes. */
  async function forEach<T>(
    items: readonly T[],
    action: (item: T) => Promise<void>,
  ): Promise<void> {
    await concurrently(items, CONCURRENCY, async (item) => {
      if (!isClosed()) await action(item);
    });
  }

  return { recover, confirm, noteClosed };
}
