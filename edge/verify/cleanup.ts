/** What verify has created, to be removed whatever happens. */
import { inTime, LATE } from "../../shared/base/time-limit.ts";

export type Cleanup = ReturnType<typeof createCleanup>;

const UNDO_TIMEOUT_MS = 4000;

export function createCleanup() {
  const undos: (() => Promise<void>)[] = [];
  return {
    add(undo: () => Promise<void>): void {
      undos.push(undo);
    },
    /** Undoes everything, the newest first. Resolves with the number that failed or took too long. Never rejects. */
    async run(): Promise<number> {
      let left = 0;
      for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
        if (!(await isDone(undo))) left++;
      }
      return left;
    },
  };
}

async function isDone(undo: () => Promise<void>): Promise<boolean> {
  try {
    return (await inTime(undo(), UNDO_TIMEOUT_MS)) !== LATE;
  } catch {
    return false;
  }
}
