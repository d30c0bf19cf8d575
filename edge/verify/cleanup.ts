/** What verify has created, to be removed whatever happens. */

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
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), UNDO_TIMEOUT_MS);
  });
  try {
    return await Promise.race([undo().then(() => true), late]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
