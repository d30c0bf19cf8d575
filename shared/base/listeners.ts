/** A set of listeners. One that throws does not keep the others from being called. */

export interface Listeners<Args extends readonly unknown[]> {
  /** Returns the function that unsubscribes. A listener that is added twice is called twice. */
  readonly add: (listener: (...args: Args) => void) => () => void;
  readonly notify: (...args: Args) => void;
  readonly clear: () => void;
  readonly size: number;
}

/** `onError` is called with what a listener throws. */
export function createListeners<Args extends readonly unknown[]>(
  onError: (error: unknown) => void,
): Listeners<Args> {
  const listeners = new Set<(...args: Args) => void>();
  return {
    add(listener) {
      const own = (...args: Args): void => listener(...args);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    notify(...args) {
      for (const listener of listeners) {
        try {
          listener(...args);
        } catch (error) {
          onError(error);
        }
      }
    },
    clear: () => listeners.clear(),
    get size() {
      return listeners.size;
    },
  };
}
