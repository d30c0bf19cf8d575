/** Work that is repeated, and never runs twice at once: a slow store must not make runs pile up. */
import type { Clock, Timer } from "./clock.ts";

export interface PeriodicTask {
  /** Runs at once, also after `close`; joins the run in progress if there is one. Never rejects. */
  run(): Promise<void>;
  /** Resolves when the run in progress is over. Never rejects. */
  settled(): Promise<void>;
  /** Nothing runs by itself any more. The run in progress goes on. */
  close(): void;
}

interface PeriodicTaskOptions {
  readonly clock: Clock;
  /** ms from the start of a run to the next; the time of a run that is still in progress is passed over. */
  readonly periodMs: number;
  /** Returns undefined when there is nothing to do. */
  readonly work: () => Promise<void> | undefined;
  /** Called with the failure of a run; the next one is not affected. Without it, `work` must never reject. */
  readonly onError?: (error: unknown) => void;
  /** Runs at once too; without it, the first run is after a period. */
  readonly startsNow?: true;
}

export function startPeriodicTask(options: PeriodicTaskOptions): PeriodicTask {
  const { clock, periodMs } = options;
  const task = createTask(options);
  if (options.startsNow === true) void task.run();
  const timer = clock.every(periodMs, () => void task.run());
  return { ...task, close: () => timer.cancel() };
}

/** As a periodic task, but rests between two runs. `restMs` is asked after each run, and before the first one. */
export function startRestingTask(
  options: Omit<PeriodicTaskOptions, "periodMs"> & { readonly restMs: () => number },
): Omit<PeriodicTask, "run"> {
  const { clock, restMs } = options;
  const { run, settled } = createTask(options);
  let timer: Timer | undefined;
  let isClosed = false;

  async function runAndRest(): Promise<void> {
    await run();
    rest();
  }

  function rest(): void {
    if (!isClosed) timer = clock.after(restMs(), () => void runAndRest());
  }

  if (options.startsNow === true) void runAndRest();
  else rest();
  return {
    settled,
    close() {
      isClosed = true;
      timer?.cancel();
    },
  };
}

/** Work that is only run on demand. */
export function createTask(
  options: Pick<PeriodicTaskOptions, "work" | "onError">,
): Omit<PeriodicTask, "close"> {
  const { work, onError } = options;
  let running: Promise<void> | undefined;
  return {
    run() {
      running ??= work()
        ?.catch((error: unknown) => {
          if (onError === undefined) throw error;
          onError(error);
        })
        .finally(() => {
          running = undefined;
        });
      return running ?? Promise.resolve();
    },
    settled: () => running ?? Promise.resolve(),
  };
}
