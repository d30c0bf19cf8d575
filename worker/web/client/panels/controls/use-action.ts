/** What a button starts: while it runs the button rests, and a failure is shown beside it. */
import { useSignal } from "@preact/signals";

export function useAction() {
  const isBusy = useSignal(false);
  const problem = useSignal<string | undefined>(undefined);
  return {
    isBusy,
    /** Of the last run. */
    problem,
    /** Shows a problem that was found before anything was started; undefined removes it. */
    report: (text: string | undefined): void => {
      problem.value = text;
    },
    /** Does nothing while the last run is not finished. `onDone` is called after success. */
    run: (work: () => Promise<unknown>, onDone?: () => void): void => {
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
