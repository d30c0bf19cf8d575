/** The workspace's files as a tree. Only the rows in view are elements, so that huge folders cost no more than small ones. */
import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { JSX, TargetedKeyboardEvent } from "preact";
import { useEffect, useId, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { Session } from "../../model/session.ts";
import { folderOf } from "../controls/format.ts";
import { Icon } from "../controls/icon.tsx";
import { Menu } from "../controls/menu.tsx";
import { EntryDialog, type EntryTask } from "./entry-dialogs.tsx";
import { createFileTree, type FileTree } from "./tree.ts";
import { TreeRow } from "./tree-row.tsx";
import { type EntryRow, rowForKey, rowForText } from "./tree-rows.ts";

const OVERSCAN = 8;
const TYPE_AHEAD_MS = 800;

interface Props {
  readonly session: Session;
  /** Opens a file; `focus` puts the caret into it. */
  readonly onOpen: (path: string, focus: boolean) => void;
}

export function FilesPanel({ session, onOpen }: Props): JSX.Element {
  const tree = useMemo(() => createFileTree(session), [session]);
  const task = useSignal<EntryTask | undefined>(undefined);
  const canChange = session.isHost || !session.isReadOnly.value;
  useEffect(() => () => tree.dispose(), [tree]);
  useEffect(() => revealActive(session, tree), [session, tree]);

  function create(kind: "new-file" | "new-folder"): void {
    const folder = tree.targetFolder();
    if (folder !== undefined) task.value = { task: kind, folder };
  }

  return (
    <>
      <div class="panel-head">
        <h2>Files</h2>
        {canChange && (
          <>
            <IconButton icon="new-file" label="New file" onClick={() => create("new-file")} />
            <IconButton icon="new-folder" label="New folder" onClick={() => create("new-folder")} />
          </>
        )}
        <IconButton icon="refresh" label="Refresh" onClick={() => void tree.refresh()} />
      </div>
      <TreeView {...{ session, tree, onOpen, task, canChange }} />
      {task.value && (
        <EntryDialog
          {...{ session, tree }}
          task={task.value}
          onOpen={(path) => onOpen(path, true)}
          onClose={() => (task.value = undefined)}
        />
      )}
    </>
  );
}

function revealActive(session: Session, tree: FileTree): () => void {
  return session.tabs.active.subscribe((tab) => {
    if (tab) void tree.reveal(tab.path);
  });
}

function IconButton(props: {
  icon: "new-file" | "new-folder" | "refresh";
  label: string;
  onClick: () => void;
}): JSX.Element {
  const { icon, label, onClick } = props;
  return (
    <button type="button" class="icon-button" aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

interface TreeProps extends Props {
  readonly tree: FileTree;
  readonly task: { value: EntryTask | undefined };
  readonly canChange: boolean;
}

function TreeView({ session, tree, onOpen, task, canChange }: TreeProps): JSX.Element {
  const id = useId();
  const view = useRef<HTMLDivElement>(null);
  const { rowHeight, window, scrollTo } = useRowWindow(view);
  const menu = useSignal<{ row: EntryRow; anchor: DOMRect } | undefined>(undefined);
  const typeAhead = useRef({ text: "", atMs: 0 });
  const places = usePlaces(session);
  const rows = tree.rows.value;
  const selectedPath = tree.selected.value;
  const selectedIndex = useComputed(() =>
    tree.rows.value.findIndex((row) => row.type === "entry" && row.path === tree.selected.value),
  ).value;

  useLayoutEffect(() => scrollTo(selectedIndex), [selectedIndex, scrollTo]);

  function activate(row: EntryRow, focus: boolean): void {
    tree.select(row.path);
    if (row.isExpanded === undefined) onOpen(row.path, focus);
    else if (row.isExpanded) tree.collapse(row.path);
    else tree.expand(row.path);
  }

  function onKeyDown(event: TargetedKeyboardEvent<HTMLDivElement>): void {
    const selected = rows[selectedIndex];
    const row = selected?.type === "entry" ? selected : undefined;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pageSize = Math.floor((view.current?.clientHeight ?? 0) / rowHeight) - 1;
    const target =
      rowForKey(rows, selectedIndex, event.key, pageSize) ?? sideways(tree, row, event.key);
    if (target) tree.select(target.path);
    else if (row && isMenuKey(event)) openMenu(row);
    else if (row && event.key === "Enter") activate(row, true);
    else if (row && event.key === " ") activate(row, false);
    else if (row && canChange && event.key === "F2")
      task.value = { task: "rename", path: row.path };
    else if (row && canChange && event.key === "Delete") task.value = deleteTask(row);
    else if (event.key.length === 1 && event.key !== " ") {
      const found = rowForText(rows, selectedIndex, typed(event.key));
      if (found) tree.select(found.path);
      event.preventDefault();
      return;
    } else if (!HORIZONTAL.has(event.key)) return;
    typeAhead.current = { text: "", atMs: 0 };
    event.preventDefault();
  }

  function typed(key: string): string {
    const { text, atMs } = typeAhead.current;
    const now = performance.now();
    typeAhead.current = { text: now - atMs < TYPE_AHEAD_MS ? text + key : key, atMs: now };
    return typeAhead.current.text;
  }

  function openMenu(row: EntryRow, anchor?: DOMRect): void {
    const element = document.getElementById(rowId(id, row.path));
    const place = anchor ?? element?.getBoundingClientRect();
    if (place) menu.value = { row, anchor: place };
  }

  const first = Math.max(0, window.value.first - OVERSCAN);
  const last = Math.min(rows.length, window.value.last + OVERSCAN);
  const active =
    selectedIndex >= first && selectedIndex < last ? rowId(id, selectedPath ?? "") : undefined;
  return (
    <>
      <div
        ref={view}
        class="tree"
        role="tree"
        aria-label="Files of the workspace"
        tabIndex={0}
        aria-activedescendant={active}
        onKeyDown={onKeyDown}
        onFocus={() => {
          if (selectedIndex < 0) tree.select(rowForKey(rows, 0, "Home", 0)?.path);
        }}
      >
        <div class="tree-space" role="none" style={{ height: `${rows.length * rowHeight}px` }}>
          {rows.slice(first, last).map((row, index) => (
            <TreeRow
              key={row.type === "entry" ? row.path : `${row.folder}/`}
              row={row}
              id={row.type === "entry" ? rowId(id, row.path) : undefined}
              top={(first + index) * rowHeight}
              isSelected={row.type === "entry" && row.path === selectedPath}
              people={row.type === "entry" ? places.value.get(row.path) : undefined}
              onActivate={activate}
              onMenu={openMenu}
              onRetry={(folder) => void tree.load(folder)}
            />
          ))}
        </div>
      </div>
      {menu.value && (
        <Menu
          label={`Actions for ${menu.value.row.name}`}
          anchor={menu.value.anchor}
          items={menuItems(menu.value.row, canChange, task, activate)}
          onClose={() => (menu.value = undefined)}
        />
      )}
    </>
  );
}

const HORIZONTAL: ReadonlySet<string> = new Set(["ArrowLeft", "ArrowRight"]);

/** Right: into a folder. Left: out of it. Returns the entry to select. */
function sideways(tree: FileTree, row: EntryRow | undefined, key: string): EntryRow | undefined {
  const rows = tree.rows.peek();
  if (row === undefined || !HORIZONTAL.has(key)) return undefined;
  if (key === "ArrowRight") {
    if (row.isExpanded === false) tree.expand(row.path);
    const next = rows[rows.indexOf(row) + 1];
    return row.isExpanded === true && next?.type === "entry" && next.level > row.level
      ? next
      : undefined;
  }
  if (row.isExpanded === true) {
    tree.collapse(row.path);
    return undefined;
  }
  const parent = folderOf(row.path);
  return rows.find((one) => one.type === "entry" && one.path === parent) as EntryRow | undefined;
}

function isMenuKey(event: KeyboardEvent): boolean {
  return event.key === "ContextMenu" || (event.shiftKey && event.key === "F10");
}

function rowId(tree: string, path: string): string {
  return `${tree}-${path}`;
}

function deleteTask(row: EntryRow): EntryTask {
  return { task: "delete", path: row.path, isFolder: row.kind === "folder" };
}

function menuItems(
  row: EntryRow,
  canChange: boolean,
  task: { value: EntryTask | undefined },
  activate: (row: EntryRow, focus: boolean) => void,
): Parameters<typeof Menu>[0]["items"] {
  const isFolder = row.isExpanded !== undefined;
  const set = (value: EntryTask) => () => {
    task.value = value;
  };
  const folder = isFolder ? row.path : folderOf(row.path);
  const openLabel = row.isExpanded === true ? "Collapse" : isFolder ? "Expand" : "Open";
  return [
    {
      label: openLabel,
      icon: isFolder ? "folder-open" : "file",
      choose: () => activate(row, true),
    },
    ...(canChange
      ? ([
          { label: "New file…", icon: "new-file", choose: set({ task: "new-file", folder }) },
          { label: "New folder…", icon: "new-folder", choose: set({ task: "new-folder", folder }) },
          { label: "Rename…", icon: "rename", choose: set({ task: "rename", path: row.path }) },
          { label: "Delete…", icon: "delete", isDangerous: true, choose: set(deleteTask(row)) },
        ] as const)
      : []),
  ];
}

/** Who looks at which file. */
function usePlaces(session: Session): ReadonlySignal<ReadonlyMap<string, readonly number[]>> {
  return useComputed(() => {
    const places = new Map<string, number[]>();
    for (const { path, color } of session.people.value) {
      if (path !== undefined) places.set(path, [...(places.get(path) ?? []), color]);
    }
    return places;
  });
}

/** Which rows are in view. Their height is the style sheet's `--row`, which is larger for fingers. */
function useRowWindow(view: { current: HTMLElement | null }): {
  rowHeight: number;
  window: ReadonlySignal<{ first: number; last: number }>;
  scrollTo: (index: number) => void;
} {
  const window = useSignal({ first: 0, last: 40 });
  const height = useSignal(28);
  useLayoutEffect(() => {
    const element = view.current;
    if (!element) return undefined;
    const measure = (): void => {
      height.value = Number.parseFloat(getComputedStyle(element).getPropertyValue("--row")) || 28;
      const first = Math.floor(element.scrollTop / height.value);
      const last = first + Math.ceil(element.clientHeight / height.value);
      const { value } = window;
      if (value.first !== first || value.last !== last) window.value = { first, last };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    measure();
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, [view, window, height]);
  const scrollTo = useMemo(
    () =>
      (index: number): void => {
        const element = view.current;
        if (!element || index < 0) return;
        const top = index * height.peek();
        const bottom = top + height.peek();
        if (top < element.scrollTop) element.scrollTop = top;
        else if (bottom > element.scrollTop + element.clientHeight) {
          element.scrollTop = bottom - element.clientHeight;
        }
      },
    [view, height],
  );
  return { rowHeight: height.value, window, scrollTo };
}
