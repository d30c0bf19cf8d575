/**
 * What this browser remembers between two loads of the page: sessions and their keys, the user who is signed in, the texts of
 * each session, and scratch workspaces. Several tabs may use it at once.
 */
import type { ReadonlySignal } from "@preact/signals";
import { type Backend, createMemoryBackend } from "./backend.ts";
import { openIndexedDb } from "./indexed-db.ts";
import { createProblemReport, problemOf, type StorageProblem } from "./problem.ts";
import { createScratchStore, removeOldScratch, type ScratchStore } from "./scratch-store.ts";
import { createSessionStore, removeOldSessions, type SessionStore } from "./session-store.ts";
import { createUpdateStore, type UpdateStore } from "./update-store.ts";
import { createUserStore, type UserStore } from "./user-store.ts";

export interface Database {
  /** Whether reloading the page may lose something: nothing is kept, or the last write failed. */
  readonly isForgetful: ReadonlySignal<boolean>;
  readonly problem: ReadonlySignal<StorageProblem | undefined>;
  readonly sessions: SessionStore;
  readonly users: UserStore;
  readonly updates: UpdateStore;
  readonly scratch: ScratchStore;
  close(): void;
}

/**
 * Never rejects: where the browser keeps nothing, the database works in memory and ends with the page. Sessions that were not
 * used for a day, and scratch workspaces that were not used for 30 days, are removed first.
 */
export async function openDatabase(
  options: {
    readonly name?: string;
    /** Wall time in ms. */
    readonly now?: () => number;
  } = {},
): Promise<Database> {
  const { name = "codetogether-edge", now = Date.now } = options;
  const { backend, problem } = await openBackend(name);
  const report = createProblemReport(problem);
  await report.write(removeOld(backend, now));
  const updates = createUpdateStore({ backend, report });
  return {
    isForgetful: report.isForgetful,
    problem: report.problem,
    sessions: createSessionStore({ backend, report, now, onDelete: updates.drop }),
    users: createUserStore({ backend, report }),
    updates,
    scratch: createScratchStore({ backend, report, now }),
    close() {
      updates.close();
      backend.close();
    },
  };
}

async function removeOld(backend: Backend, now: () => number): Promise<void> {
  await removeOldSessions(backend, now);
  await removeOldScratch(backend, now);
}

async function openBackend(
  name: string,
): Promise<{ readonly backend: Backend; readonly problem: StorageProblem | undefined }> {
  try {
    return { backend: await openIndexedDb(name), problem: undefined };
  } catch (error) {
    const problem = problemOf(error);
    return {
      backend: createMemoryBackend(),
      problem: problem === "outdated" ? problem : "denied",
    };
  }
}
