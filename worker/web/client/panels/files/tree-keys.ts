/** The keyboard of the file tree, per the tree pattern of ARIA's authoring practices. */
import { folderOf } from "../../files/paths.ts";
import type { FileTree } from "./tree.ts";
import { type EntryRow, rowForKey, rowForText } from "./tree-rows.ts";

/** Letters within this time are one text. */
const TYPE_AHEAD_MS = 800;

/** What keys do to the selected entry, beside moving. */
export interface EntryActions {
  readonly open: (row: EntryRow, focus: boolean) => void;
  readonly openMenu: (row: EntryRow) => void;
  /** Undefined when nothing may be changed. */
  readonly rename: ((row: EntryRow) => void) | undefined;
  readonly remove: ((row: EntryRow) => void) | undefined;
}

export type KeyHandler = (event: KeyboardEvent, pageSize: number, actions: EntryActions) => void;

export function createKeyHandler(tree: FileTree): KeyHandler {
  let typed = "";
  let typedAtMs = 0;

  function find(letter: string): void {
    const now = performance.now();
    typed = now - typedAtMs < TYPE_AHEAD_MS ? typed + letter : letter;
    typedAtMs = now;
    const found = rowForText(tree.rows.peek(), tree.selectedIndex.peek(), typed);
    if (found) tree.select(found.path);
  }

  return (event, pageSize, actions) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    const isLetter = key.length === 1 && key !== " ";
    if (isLetter) find(key);
    else {
      typed = "";
      if (!move(tree, key, pageSize) && !act(tree, event, actions)) return;
    }
    event.preventDefault();
  };
}

/** Returns whether the key is one that moves. */
function move(tree: FileTree, key: string, pageSize: number): boolean {
  const target = rowForKey(tree.rows.peek(), tree.selectedIndex.peek(), key, pageSize);
  if (target) tree.select(target.path);
  return target !== undefined;
}

/** Returns whether the key is one that acts. */
function act(tree: FileTree, event: KeyboardEvent, actions: EntryActions): boolean {
  const row = tree.rows.peek()[tree.selectedIndex.peek()];
  if (row?.type !== "entry") return false;
  switch (event.key) {
    case "Enter":
    case " ":
      actions.open(row, event.key === "Enter");
      return true;
    case "ArrowRight":
      goInto(tree, row);
      return true;
    case "ArrowLeft":
      goOut(tree, row);
      return true;
    case "F2":
      actions.rename?.(row);
      return true;
    case "Delete":
      actions.remove?.(row);
      return true;
    case "ContextMenu":
      actions.openMenu(row);
      return true;
    case "F10":
      if (event.shiftKey) actions.openMenu(row);
      return event.shiftKey;
    default:
      return false;
  }
}

function goInto(tree: FileTree, row: EntryRow): void {
  if (row.isExpanded === false) tree.expand(row.path);
  const next = tree.rows.peek()[tree.selectedIndex.peek() + 1];
  if (row.isExpanded === true && next?.type === "entry" && next.level > row.level) {
    tree.select(next.path);
  }
}

function goOut(tree: FileTree, row: EntryRow): void {
  const parent = folderOf(row.path);
  if (row.isExpanded === true) tree.collapse(row.path);
  else if (tree.rows.peek().some((one) => one.type === "entry" && one.path === parent)) {
    tree.select(parent);
  }
}
