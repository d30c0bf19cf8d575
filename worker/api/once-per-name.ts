/** Remembers a bounded number of names, to do something once per name. */

export interface Once {
  /** True for the first call with `name`, and again after `maxNames` other names, when it was forgotten. */
  isFirst(name: string): boolean;
}

export function createOnce(maxNames: number): Once {
  /** Oldest first. */
  const names = new Set<string>();
  return {
    isFirst(name) {
      if (names.has(name)) return false;
      names.add(name);
      if (names.size > maxNames) {
        for (const oldest of names) {
          names.delete(oldest);
          break;
        }
      }
      return true;
    },
  };
}
