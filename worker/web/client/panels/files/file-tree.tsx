/** The workspace's files as a tree. Only the rows in view are elements, so that huge folders cost no more than small ones. */
import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useId, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { folderOf } from "../../files/paths.ts";
import { zipFiles } from "../../files/zip.ts";
import type { Session } from "../../model/session.ts";
import { saveFile } from "../controls/download.ts";
import { Icon } from "../controls/icon.tsx";
import { Menu, type MenuItem } from "../controls/menu.tsx";
import { Problem } from "../controls/problem.tsx";
import { useAction } from "../controls/use-action.ts";
import { EntryDialog, type EntryTask } from "./entry-dialogs.tsx";
import { scrollToRow, useRowWindow } from "./row-window.ts";
import { createFileTree, type FileTree } from "./tree.ts";
import { createKeyHandler, type EntryActions } from "./tree-keys.ts";
import { TreeRow } from "./tree-row.tsx";
import { type EntryRow, rowForKey } from "./tree-rows.ts";

interface Props {
  readonly session: Session;
  /** Opens a file; `focus` puts the caret into it. */
  readonly onOpen: (path: string, focus: boolean) => void;
}

export function FilesPanel({ session, onOpen }: Props): JSX.Element {
  const tree = useMemo(() => createFileTree(session), [session]);
  const task = useSignal<EntryTask | undefined>(undefined);
  const download = useAction();
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
        {session.isHost && (
          <IconButton
            icon="download"
            label="Download all as zip"
            onClick={() => download.run(() => downloadAll(session))}
          />
        )}
        <IconButton icon="refresh" label="Refresh" onClick={() => void tree.refresh()} />
      </div>
      <Problem text={download.problem.value} />
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

async function downloadAll({ files, workspace }: Session): Promise<void> {
  const { name, folders } = workspace.peek();
  const { blob, skipped } = await zipFiles(files, folders);
  saveFile(`${name}.zip`, blob);
  if (skipped.length > 0) throw new Error(`Not in the zip: ${skipped.slice(0, 5).join(", ")}`);
}

function revealActive(session: Session, tree: FileTree): () => void {
  return session.tabs.active.subscribe((tab) => {
    if (tab) void tree.reveal(tab.path);
  });
}

function IconButton(props: {
  icon: "download" | "new-file" | "new-folder" | "refresh";
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
  const { rowHeight, first, last } = useRowWindow(view);
  const menu = useSignal<{ row: EntryRow; anchor: DOMRect } | undefined>(undefined);
  const onKey = useMemo(() => createKeyHandler(tree), [tree]);
  const places = usePlaces(session).value;
  const rows = tree.rows.value;
  const selected = tree.selectedIndex.value;

  useLayoutEffect(() => {
    if (view.current && selected >= 0) scrollToRow(view.current, selected, rowHeight);
  }, [selected, rowHeight]);

  function open(row: EntryRow, focus: boolean): void {
    tree.select(row.path);
    if (row.isExpanded === undefined) onOpen(row.path, focus);
    else if (row.isExpanded) tree.collapse(row.path);
    else tree.expand(row.path);
  }

  function openMenu(row: EntryRow, anchor?: DOMRect): void {
    const place = anchor ?? view.current?.querySelector(".selected")?.getBoundingClientRect();
    if (place) menu.value = { row, anchor: place };
  }

  const ask = (next: EntryTask): void => {
    task.value = next;
  };
  const actions: EntryActions = {
    open,
    openMenu,
    rename: canChange ? ({ path }) => ask({ task: "rename", path }) : undefined,
    remove: canChange ? (row) => ask(deleteTask(row)) : undefined,
  };
  return (
    <>
      <div
        ref={view}
        class="tree"
        role="tree"
        aria-label="Files of the workspace"
        tabIndex={0}
        aria-activedescendant={
          selected >= first && selected < last ? `${id}-${selected}` : undefined
        }
        onKeyDown={(event) =>
          onKey(event, Math.floor(event.currentTarget.clientHeight / rowHeight) - 1, actions)
        }
        onFocus={() => selected < 0 && tree.select(rowForKey(rows, 0, "Home", 0)?.path)}
      >
        <div class="tree-space" role="none" style={{ height: `${rows.length * rowHeight}px` }}>
          {rows.slice(first, last).map((row, index) => (
            <TreeRow
              key={first + index}
              id={`${id}-${first + index}`}
              row={row}
              top={(first + index) * rowHeight}
              isSelected={first + index === selected}
              people={row.type === "entry" ? places.get(row.path) : undefined}
              onOpen={open}
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
          items={menuItems(menu.value.row, actions, ask)}
          onClose={() => {
            menu.value = undefined;
          }}
        />
      )}
    </>
  );
}

function deleteTask(row: EntryRow): EntryTask {
  return { task: "delete", path: row.path, isFolder: row.kind === "folder" };
}

function menuItems(
  row: EntryRow,
  { open, rename, remove }: EntryActions,
  ask: (task: EntryTask) => void,
): MenuItem[] {
  const isFolder = row.isExpanded !== undefined;
  const folder = isFolder ? row.path : folderOf(row.path);
  const label = row.isExpanded === true ? "Collapse" : isFolder ? "Expand" : "Open";
  const items: MenuItem[] = [
    { label, icon: isFolder ? "folder-open" : "file", choose: () => open(row, true) },
  ];
  if (!rename || !remove) return items;
  const create = (kind: "new-file" | "new-folder") => () => ask({ task: kind, folder });
  return [
    ...items,
    { label: "New file…", icon: "new-file", choose: create("new-file") },
    { label: "New folder…", icon: "new-folder", choose: create("new-folder") },
    { label: "Rename…", icon: "rename", choose: () => rename(row) },
    { label: "Delete…", icon: "delete", isDangerous: true, choose: () => remove(row) },
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
