import { type Backend, createMemoryBackend } from "./backend.ts";
import { openIndexedDb } from "./indexed-db.ts";
import { createProblemReport, problemOf, type StorageProblem } from "./problem.ts";
import { createScratchStore, removeOldScratch } from "./scratch-store.ts";
import { createSessionStore, removeOldSessions } from "./session-store.ts";
import { createUpdateStore } from "./update-store.ts";
import { createUserStore } from "./user-store.ts";

export type Database = Awaited<ReturnType<typeof openDatabase>>;

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
) {
  const { name = "codetogether-edge", now = Date.now } = options;
  const { backend, problem } = await openBackend(name);
  const report = createProblemReport(problem);
  await report.write(removeOld(backend, now));
  const updates = createUpdateStore({ backend, report });
  return {
    /** Whether reloading the page may lose something: nothing is kept, or the last write failed. */
    isForgetful: report.isForgetful,
    problem: report.problem,
    sessions: createSessionStore({ backend, report, now, onDelete: updates.drop }),
    users: createUserStore({ backend, report }),
    updates,
    scratch: createScratchStore({ backend, report, now }),
    close(): void {
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
