/** What verify has created, to be removed whatever happens. */
import { inTime, LATE } from "../../shared/base/time-limit.ts";

export interface Cleanup {
  add(undo: () => Promise<void>): void;
  /** Undoes everything, the newest first. Resolves with the number that failed or took too long. Never rejects. */
  run(): Promise<number>;
}

const UNDO_TIMEOUT_MS = 4000;

export function createCleanup(): Cleanup {
  const undos: (() => Promise<void>)[] = [];
  return {
    add(undo) {
      undos.push(undo);
    },
    async run() {
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
