/** Whether guests may change files: the host's switch. */
import type { JSX } from "preact";
import type { Session } from "../model/session.ts";
import { Problem } from "./controls/problem.tsx";
import { useAction } from "./controls/use-action.ts";

export function EditSwitch({ session }: { session: Session }): JSX.Element {
  const action = useAction();
  const canEdit = !session.isReadOnly.value;
  return (
    <>
      <button
        type="button"
        role="switch"
        class="switch"
        aria-checked={canEdit}
        disabled={action.isBusy.value}
        title="Whether guests may change files, or only read them"
        onClick={() => action.run(() => session.setReadOnly(canEdit))}
      >
        <span class="switch-track" />
        <span class="label">Guests can edit</span>
      </button>
      <Problem text={action.problem.value} />
    </>
  );
}
