/** A menu of actions, opened beside the control or row that it belongs to. */
import type { JSX, TargetedKeyboardEvent } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Icon, type IconName } from "./icon.tsx";
import { placeBelow } from "./popover.tsx";

export interface MenuItem {
  readonly label: string;
  readonly icon: IconName;
  readonly isDangerous?: boolean;
  choose(): void;
}

/** Open as long as it is rendered: the caller removes it on `onClose`. */
export function Menu(props: {
  label: string;
  anchor: DOMRect;
  items: readonly MenuItem[];
  onClose: () => void;
}): JSX.Element {
  const { label, anchor, items, onClose } = props;
  const menu = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const element = menu.current;
    if (!element) return;
    element.showPopover();
    placeBelow(element, anchor);
    element.querySelector("button")?.focus();
  }, [anchor]);
  return (
    <div
      ref={menu}
      class="popover menu"
      popover="auto"
      role="menu"
      aria-label={label}
      tabIndex={-1}
      onToggle={(event) => {
        if (event.newState === "closed") onClose();
      }}
      onKeyDown={(event) => moveFocus(event)}
    >
      {items.map((item) => (
        <button
          key={item.label}
          type="button"
          role="menuitem"
          class={item.isDangerous === true ? "menu-item danger-text" : "menu-item"}
          onClick={() => {
            // Closed first: a dialog that the item opens takes the focus, and gives it back to what had it before.
            menu.current?.hidePopover();
            onClose();
            item.choose();
          }}
        >
          <Icon name={item.icon} />
          {item.label}
        </button>
      ))}
    </div>
  );
}

function moveFocus(event: TargetedKeyboardEvent<HTMLDivElement>): void {
  const items = [...event.currentTarget.querySelectorAll("button")];
  const { activeElement } = document;
  const at = activeElement instanceof HTMLButtonElement ? items.indexOf(activeElement) : -1;
  const targets: Readonly<Record<string, number>> = {
    ArrowDown: (at + 1) % items.length,
    ArrowUp: (at - 1 + items.length) % items.length,
    Home: 0,
    End: items.length - 1,
  };
  const target = targets[event.key];
  if (event.key === "Tab") event.currentTarget.hidePopover();
  if (target === undefined) return;
  event.preventDefault();
  items[target]?.focus();
}
