/** One line of the file tree. */
import type { JSX } from "preact";
import { Icon, type IconName } from "../controls/icon.tsx";
import type { EntryRow, Row } from "./tree-rows.ts";

interface Props {
  readonly row: Row;
  readonly id: string;
  /** In pixels, from the top of the tree. */
  readonly top: number;
  readonly isSelected: boolean;
  /** Colors of the people who look at the file. */
  readonly people: readonly number[] | undefined;
  readonly onOpen: (row: EntryRow, focus: boolean) => void;
  readonly onMenu: (row: EntryRow, anchor: DOMRect) => void;
  readonly onRetry: (folder: string) => void;
}

const MOST_DOTS = 3;

export function TreeRow({ row, top, ...props }: Props): JSX.Element {
  const style = { transform: `translateY(${top}px)`, "--level": String(row.level) };
  if (row.type === "note") {
    return (
      <div class="tree-row note" style={style} role="none">
        <span class="name" title={row.text}>
          {row.text}
        </span>
        {row.isFailure && (
          <button type="button" class="link-button" onClick={() => props.onRetry(row.folder)}>
            Try again
          </button>
        )}
      </div>
    );
  }
  const { id, isSelected, people, onOpen, onMenu } = props;
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the tree has the focus, by aria-activedescendant
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree handles the keys
    <div
      id={id}
      class={isSelected ? "tree-row selected" : "tree-row"}
      style={style}
      role="treeitem"
      title={row.path}
      aria-label={row.name}
      aria-level={row.level}
      aria-posinset={row.position}
      aria-setsize={row.setSize}
      aria-selected={isSelected}
      aria-expanded={row.isExpanded}
      onClick={() => onOpen(row, false)}
      onDblClick={() => row.isExpanded === undefined && onOpen(row, true)}
      onContextMenu={(event) => {
        event.preventDefault();
        const at = new DOMRect(event.clientX, event.clientY, 0, 0);
        whenReleased(event, () => onMenu(row, at));
      }}
    >
      <span class="twist">
        {row.isExpanded !== undefined && (
          <Icon name={row.isExpanded ? "chevron-down" : "chevron-right"} />
        )}
      </span>
      <Icon name={iconOf(row)} />
      <span class="name">{row.name}</span>
      {people?.slice(0, MOST_DOTS).map((color, index) => (
        <span key={index} class={`dot caret-${color}`} />
      ))}
      <button
        type="button"
        class="icon-button row-menu"
        tabIndex={-1}
        aria-label={`Actions for ${row.name}`}
        onClick={(event) => {
          event.stopPropagation();
          onMenu(row, event.currentTarget.getBoundingClientRect());
        }}
      >
        <Icon name="more" />
      </button>
    </div>
  );
}

/**
 * Some systems ask for the menu when the button goes down. Opened then, some browsers take its release for a click beside the
 * menu, and close it.
 */
function whenReleased({ buttons }: MouseEvent, action: () => void): void {
  if (buttons === 0) action();
  else addEventListener("pointerup", () => setTimeout(action), { once: true });
}

function iconOf(row: EntryRow): IconName {
  switch (row.kind) {
    case "folder":
      return row.isExpanded === true ? "folder-open" : "folder";
    case "link":
      return "link";
    case "file":
    case "unknown":
      return "file";
  }
}
