/** Modal dialogs: one question, its answer, and a way back. */
import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { Problem } from "./problem.tsx";
import { useAction } from "./use-action.ts";

/**
 * Asks before `act` runs, and closes after it succeeded. The safe answer has the focus when the other one destroys
 * something, unless `children` contains a field with `autofocus`.
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
}): JSX.Element {
  const {
    title,
    children,
    actLabel,
    cancelLabel = "Cancel",
    isDangerous = false,
    act,
    onClose,
  } = props;
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  const action = useAction();
  useLayoutEffect(() => {
    const element = dialog.current;
    // Gives the focus back to the control that opened it.
    const before = document.activeElement;
    element?.showModal();
    return () => {
      element?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={id} onCancel={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          action.run(act, onClose);
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
