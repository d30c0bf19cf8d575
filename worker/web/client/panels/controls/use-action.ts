/** What a button starts: while it runs the button rests, and a failure is shown beside it. */
import { type ReadonlySignal, useSignal } from "@preact/signals";

export interface Action {
  readonly isBusy: ReadonlySignal<boolean>;
  /** Of the last run. */
  readonly problem: ReadonlySignal<string | undefined>;
  /** Does nothing while the last run is not finished. `onDone` is called after success. */
  run(work: () => Promise<unknown>, onDone?: () => void): void;
  /** Shows a problem that was found before anything was started; undefined removes it. */
  report(problem: string | undefined): void;
}

export function useAction(): Action {
  const isBusy = useSignal(false);
  const problem = useSignal<string | undefined>(undefined);
  return {
    isBusy,
    problem,
    report: (text) => {
      problem.value = text;
    },
    run: (work, onDone) => {
      if (isBusy.peek()) return;
      isBusy.value = true;
      problem.value = undefined;
      work()
        .then(() => onDone?.())
        .catch((error: unknown) => {
          problem.value = messageOf(error);
        })
        .finally(() => {
          isBusy.value = false;
        });
    },
  };
}

export function messageOf(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : "It did not work.";
}
