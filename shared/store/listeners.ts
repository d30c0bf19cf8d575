/**
 * A set of listeners. One that throws is logged, and does not keep the others from being called.
 */
import type { Log } from "../logs/log.ts";

export interface Listeners<T> {
  /** Returns the function that unsubscribes. A listener that is added twice is called twice. */
  readonly add: (listener: (value: T) => void) => () => void;
  readonly notify: (value: T) => void;
  readonly clear: () => void;
}

/** `name` begins the log line of a listener that throws. */
export function createListeners<T>(name: string, log: Pick<Log, "error">): Listeners<T> {
  const listeners = new Set<(value: T) => void>();
  return {
    add(listener) {
      const own = (value: T): void => listener(value);
      listeners.add(own);
      return () => listeners.delete(own);
    },
    notify(value) {
      for (const listener of listeners) {
        try {
          listener(value);
        } catch (error) {
          log.error({ err: error }, `${name} listener failed`);
        }
      }
    },
    clear: () => listeners.clear(),
  };
}
