/** Modal dialogs: one question, its answer, and a way back. */
import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { Problem } from "./problem.tsx";
import { useAction } from "./use-action.ts";

/**
 * Asks before `act` runs, and closes after it succeeded. The first field has the focus; without one, the safe answer.
 */
export function Dialog(props: {
  title: string;
  children?: ComponentChildren;
  actLabel: string;
  cancelLabel?: string;
  isDangerous?: boolean;
  act: () => Promise<unknown>;
  /** Also after success. */
  onClose: () => void;
  onDone?: () => void;
}): JSX.Element {
  const {
    title,
    children,
    actLabel,
    cancelLabel = "Cancel",
    isDangerous = false,
    act,
    onClose,
    onDone,
  } = props;
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  const action = useAction();
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // Gives the focus back to the control that opened it.
    return () => element?.close();
  }, []);
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={id} onCancel={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          action.run(act, () => {
            // Closed before `onDone`, which may give the focus to what is inert behind a modal dialog.
            dialog.current?.close();
            onClose();
            onDone?.();
          });
        }}
      >
        <h2 id={id}>{title}</h2>
        {children}
        <Problem text={action.problem.value} />
        <div class="buttons">
          <button type="button" class="button" onClick={onClose}>
            {cancelLabel}
          </button>
          <button
            type="submit"
            class={isDangerous ? "button danger" : "button primary"}
            disabled={action.isBusy.value}
          >
            {actLabel}
          </button>
        </div>
      </form>
    </dialog>
  );
}
