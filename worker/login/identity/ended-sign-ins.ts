/**
 * Takes people out of this worker's sessions whose sign-in has ended, whichever worker ended it. Once in a while it also asks the
 * store about the sign-in of each of them: one that the store does not have cannot be checked, so it must not last.
 */
import { BoundedMap } from "../../../shared/base/bounded.ts";
import type { Clock } from "../../../shared/base/clock.ts";
import { getOrAdd } from "../../../shared/base/grouping.ts";
import { startRestingTask } from "../../../shared/base/periodic-task.ts";
import type { Log } from "../../../shared/logs/log.ts";
import type { Counters } from "../../../shared/metrics/metrics.ts";
import { type EndedSignIn, endSignIn, readEnded } from "../../../shared/sign-ins/sign-in.ts";
import type { Deferring, Store, UserRecord } from "../../../shared/store/store.ts";
import { reportUnlessAway } from "../../../shared/store/unless-away.ts";
import type { Session } from "../../sessions/session.ts";
import { SIGN_IN_MS, type Tokens } from "../tokens.ts";
import type { SignInRecords } from "./sign-in-records.ts";

/** People are out 5 s after the end at the latest. */
const POLL_MS = 2000;
/** Ends that are remembered for people who come with a session that moves here. */
const MAX_ENDED = 1000;
/** Between two questions about one sign-in. */
const LOOK_MS = 300_000;
/** A store that was flushed has its sign-ins back by then. */
const MISSING_MS = 15_000;
/** Asked about in one poll. */
const LOOKS = 50;

const GONE = "Your sign-in is no longer known to this server. Sign in again.";

export function followEndedSignIns(deps: {
  readonly store: Pick<Store, "appendToStream" | "endSignIn"> & Deferring<"readStream">;
  readonly records: Pick<SignInRecords, "exists" | "drop">;
  readonly tokens: Pick<Tokens, "noteEnded">;
  readonly sessions: () => Iterable<Session>;
  /** An operator's may be among them. */
  readonly onEnded: (signIn: string) => void;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly log: Log;
}): { close(): void } {
  const { store, records, log, clock } = deps;
  /** By id, the oldest first. */
  const ended = new BoundedMap<string, Pick<EndedSignIn, "message">>(MAX_ENDED);
  /** When each of the people's sign-ins was last seen in the store, and whether it was missing then. */
  const looks = new Map<string, { readonly atMs: number; readonly isMissing: boolean }>();
  let last: string | undefined;

  /** The people here, by their sign-in. */
  function present(): Map<string, Session[]> {
    const found = new Map<string, Session[]>();
    for (const session of deps.sessions()) {
      if (!session.isHeld) continue;
      for (const { record } of session.peers) {
        const id = record.user.signIn;
        if (id !== undefined) getOrAdd(found, id, () => []).push(session);
      }
    }
    return found;
  }

  async function readNew(): Promise<void> {
    const news = await readEnded(store.deferred, last, MAX_ENDED);
    ({ last } = news);
    for (const one of news.ended) {
      ended.set(one.id, one);
      records.drop(one.id);
      deps.tokens.noteEnded(one.id, one.untilMs);
      deps.onEnded(one.id);
    }
  }

  /** Those that are missing twice end: without a record they could not be checked. */
  async function lookForSome(people: ReturnType<typeof present>): Promise<void> {
    const nowMs = clock.nowMs();
    const due = [...people.keys()].filter((id) => {
      const look = looks.get(id);
      return look === undefined || nowMs - look.atMs >= (look.isMissing ? MISSING_MS : LOOK_MS);
    });
    for (const id of due.slice(0, LOOKS)) {
      const isMissing = !(await records.exists(id));
      const isGone = isMissing && looks.get(id)?.isMissing === true;
      looks.set(id, { atMs: nowMs, isMissing });
      if (isGone) await endGone(id, people.get(id));
    }
  }

  async function endGone(id: string, sessions: readonly Session[] = []): Promise<void> {
    // Here at once: a store whose memory is full does not tell the others.
    ended.set(id, { message: GONE });
    deps.counters.count("worker.sign_ins.ended", "unconfirmed");
    const peers = sessions.flatMap((session) => [...session.peers]);
    const user = peers.find(({ record }) => record.user.signIn === id)?.record.user;
    const signIn = { id, user: user && userOf(user), untilMs: clock.wallMs() + SIGN_IN_MS };
    await endSignIn(store, signIn, "unconfirmed", GONE).catch((error: unknown) => {
      log.warn({ err: error }, "the end of a sign-in could not be written; it ends on this worker");
    });
  }

  async function poll(): Promise<void> {
    await readNew();
    const people = present();
    for (const id of looks.keys()) if (!people.has(id)) looks.delete(id);
    for (const [id, sessions] of people) {
      const end = ended.get(id);
      if (end !== undefined) for (const session of sessions) session.signOut(id, end.message);
    }
    await lookForSome(people);
  }

  return startRestingTask({
    clock,
    restMs: () => POLL_MS,
    startsNow: true,
    work: poll,
    onError: reportUnlessAway(log, "ended sign-ins could not be read"),
  });
}

function userOf({ id, name, email }: UserRecord): NonNullable<EndedSignIn["user"]> {
  return { id, name, ...(email !== undefined && { email }) };
}
