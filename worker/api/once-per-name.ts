/** Remembers a bounded number of names, to do something once per name. */

export type Once = ReturnType<typeof createOnce>;

export function createOnce(maxNames: number) {
  /** Oldest first. */
  const names = new Set<string>();
  return {
    /** True for the first call with `name`, and again after `maxNames` other names, when it was forgotten. */
    isFirst(name: string): boolean {
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
