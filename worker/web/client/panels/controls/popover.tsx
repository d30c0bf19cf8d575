/**
 * What opens over the page beside a button and closes by Escape or a click elsewhere: the browser's own popovers, which
 * also give the focus back.
 */
import type { ComponentChildren, JSX } from "preact";
import { useId, useRef } from "preact/hooks";
import { Icon, type IconName } from "./icon.tsx";

const GAP_PX = 6;
const EDGE_PX = 8;

export function PopoverButton(props: {
  label: string;
  icon: IconName;
  className: string;
  title: string;
  children: ComponentChildren;
}): JSX.Element {
  const { label, icon, className, title, children } = props;
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const body = useRef<HTMLDivElement>(null);
  return (
    <>
      <button ref={button} type="button" class={className} popovertarget={id}>
        <Icon name={icon} />
        <span class="label">{label}</span>
      </button>
      <div
        ref={body}
        id={id}
        class="popover"
        popover="auto"
        role="dialog"
        aria-label={title}
        onToggle={(event) => {
          if (event.newState !== "open" || !button.current) return;
          placeBelow(event.currentTarget, button.current.getBoundingClientRect());
          event.currentTarget.querySelector("button")?.focus();
        }}
      >
        <h2>{title}</h2>
        {children}
      </div>
    </>
  );
}

/** Puts an open popover below `anchor`, inside the window. */
export function placeBelow(popover: HTMLElement, anchor: DOMRect): void {
  const { width, height } = popover.getBoundingClientRect();
  const left = Math.min(anchor.left, innerWidth - width - EDGE_PX);
  const isBelow = anchor.bottom + GAP_PX + height <= innerHeight - EDGE_PX;
  const top = isBelow ? anchor.bottom + GAP_PX : anchor.top - GAP_PX - height;
  popover.style.left = `${Math.max(EDGE_PX, left)}px`;
  popover.style.top = `${Math.max(EDGE_PX, top)}px`;
}
