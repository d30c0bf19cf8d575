/**
 * Closes the parts of a process in the reverse order of their start, within a deadline.
 */
import { type Clock, sleep } from "../base/clock.ts";
import { describeError } from "../base/errors.ts";

export interface Shutdown {
  /** Registers a part that was started. Parts are closed last in, first out. */
  add(name: string, close: () => Promise<void> | void): void;
  /**
   * Closes all parts once; later calls get the same promise. Resolves when all are closed or `deadlineMs` has passed;
   * never rejects. A part that fails or is late is reported and does not prevent the others from being closed.
   */
  run(deadlineMs: number): Promise<void>;
}

export function createShutdown(deps: {
  clock: Clock;
  report: (part: string, problem: string) => void;
}): Shutdown {
  const parts: { name: string; close: () => Promise<void> | void }[] = [];
  let running: Promise<void> | undefined;

  async function closeAll(): Promise<void> {
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      try {
        await part.close();
      } catch (error) {
        deps.report(part.name, describeError(error));
      }
    }
  }

  return {
    add(name, close) {
      parts.push({ name, close });
    },
    run(deadlineMs) {
      running ??= Promise.race([
        closeAll(),
        sleep(deps.clock, deadlineMs).then(() => {
          deps.report("shutdown", `not all parts were closed within ${deadlineMs} ms`);
        }),
      ]);
      return running;
    },
  };
}
