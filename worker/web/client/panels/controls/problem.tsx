/** What went wrong, beside the control that it concerns. Read aloud when it appears. */
import type { JSX } from "preact";
import { Icon } from "./icon.tsx";

export function Problem({ text }: { text: string | undefined }): JSX.Element {
  return (
    <div class="problem" role="alert">
      {text !== undefined && (
        <>
          <Icon name="warning" />
          <p>{text}</p>
        </>
      )}
    </div>
  );
}
