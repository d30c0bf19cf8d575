/** Short messages in a corner. Good news goes by itself, problems stay until they are dismissed. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Notice, Session } from "../model/session.ts";
import { Icon } from "./controls/icon.tsx";

const SHOWN_MS = 6_000;

export function Notices({ session }: { session: Session }): JSX.Element {
  return (
    <div class="notices" role="status" aria-live="polite">
      {session.notices.value.map((notice) => (
        <Toast key={notice.id} notice={notice} onDismiss={() => session.dismiss(notice)} />
      ))}
    </div>
  );
}

function Toast({ notice, onDismiss }: { notice: Notice; onDismiss: () => void }): JSX.Element {
  const isProblem = notice.kind === "problem";
  const dismiss = useRef(onDismiss);
  dismiss.current = onDismiss;
  useEffect(() => {
    if (isProblem) return undefined;
    const timer = setTimeout(() => dismiss.current(), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isProblem]);
  return (
    <div class={isProblem ? "toast problem" : "toast"}>
      {isProblem && <Icon name="warning" />}
      <p>{notice.text}</p>
      <button type="button" class="icon-button" aria-label="Dismiss" onClick={onDismiss}>
        <Icon name="close" />
      </button>
    </div>
  );
}
