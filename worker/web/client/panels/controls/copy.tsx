/** A text to take elsewhere: in a field that can be selected, with a button that copies it. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Icon } from "./icon.tsx";

const DONE_MS = 2_000;

/** `isCompact`: the button has no text, so that more of the field is in view. */
export function CopyField(props: {
  label: string;
  text: string;
  isPrimary?: boolean;
  isCompact?: boolean;
}): JSX.Element {
  const { label, text, isPrimary = false, isCompact = false } = props;
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  return (
    <div class={isCompact ? "copy-field compact" : "copy-field"}>
      <label for={id}>{label}</label>
      <div class="field-row">
        <input
          id={id}
          ref={field}
          type="text"
          readOnly
          value={text}
          onFocus={(event) => event.currentTarget.select()}
        />
        <CopyButton
          label="Copy"
          what={label}
          text={text}
          isPrimary={isPrimary}
          // Without the permission to write the clipboard, the selected text is one key away.
          onDenied={() => field.current?.focus()}
        />
      </div>
    </div>
  );
}

export function CopyButton(props: {
  label: string;
  /** Completes the label for screen readers, where several of these are on one page. */
  what?: string;
  text: string;
  isPrimary?: boolean;
  onDenied?: () => void;
}): JSX.Element {
  const { label, what, text, isPrimary = false, onDenied } = props;
  const result = useSignal<"none" | "copied" | "denied">("none");
  useEffect(() => {
    if (result.value === "none") return undefined;
    const timer = setTimeout(() => {
      result.value = "none";
    }, DONE_MS);
    return () => clearTimeout(timer);
  }, [result.value, result]);

  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      result.value = "copied";
    } catch {
      result.value = "denied";
      onDenied?.();
    }
  }

  const texts = { none: label, copied: "Copied", denied: "Press Ctrl+C" };
  return (
    <button
      type="button"
      class={isPrimary ? "button primary copy" : "button copy"}
      onClick={() => void copy()}
    >
      <Icon name={result.value === "copied" ? "check" : "copy"} />
      <span aria-live="polite">{texts[result.value]}</span>
      {what !== undefined && <span class="for-readers"> {what}</span>}
    </button>
  );
}
