/** Creates, renames and deletes files and folders, each by a dialog. */
import type { JSX } from "preact";
import { useId, useRef } from "preact/hooks";
import { folderOf, nameOf } from "../../files/paths.ts";
import type { Session } from "../../model/session.ts";
import { Dialog } from "../controls/dialog.tsx";
import type { FileTree } from "./tree.ts";

export type EntryTask =
  | { readonly task: "new-file" | "new-folder"; readonly folder: string }
  | { readonly task: "rename"; readonly path: string }
  | { readonly task: "delete"; readonly path: string; readonly isFolder: boolean };

interface Props {
  readonly session: Session;
  readonly tree: FileTree;
  readonly onOpen: (path: string) => void;
  readonly onClose: () => void;
}

export function EntryDialog(props: Props & { task: EntryTask }): JSX.Element {
  const { task } = props;
  switch (task.task) {
    case "new-file":
    case "new-folder":
      return <NewEntry {...props} folder={task.folder} isFolder={task.task === "new-folder"} />;
    case "rename":
      return <RenameEntry {...props} path={task.path} />;
    case "delete":
      return <DeleteEntry {...props} path={task.path} isFolder={task.isFolder} />;
  }
}

function NewEntry(props: Props & { folder: string; isFolder: boolean }): JSX.Element {
  const { session, tree, folder, isFolder, onOpen, onClose } = props;
  const name = useRef("");
  const created = useRef<string | undefined>(undefined);

  async function create(): Promise<void> {
    const path = `${folder}/${checkName(name.current)}`;
    if ((await session.files.list(folder)).some((entry) => entry.name === nameOf(path))) {
      throw new Error(`${nameOf(path)} exists already. Choose another name.`);
    }
    if (isFolder) await session.files.makeFolder(path);
    else await session.files.write(path, new Uint8Array());
    await tree.load(folder);
    await tree.reveal(path);
    created.current = path;
  }

  return (
    <Dialog
      title={isFolder ? "New folder" : "New file"}
      actLabel="Create"
      act={create}
      onClose={onClose}
      onDone={() => {
        if (!isFolder && created.current !== undefined) onOpen(created.current);
      }}
    >
      <NameField label={`Name, in ${folder}`} value="" onInput={(text) => (name.current = text)} />
    </Dialog>
  );
}

function RenameEntry(props: Props & { path: string }): JSX.Element {
  const { session, tree, path, onClose } = props;
  const name = useRef(nameOf(path));

  async function rename(): Promise<void> {
    const folder = folderOf(path);
    const target = `${folder}/${checkName(name.current)}`;
    if (target !== path) await session.files.rename(path, target);
    await tree.load(folder);
    tree.select(target);
  }

  return (
    <Dialog title={`Rename ${nameOf(path)}`} actLabel="Rename" act={rename} onClose={onClose}>
      <NameField label="New name" value={name.current} onInput={(text) => (name.current = text)} />
    </Dialog>
  );
}

function DeleteEntry(props: Props & { path: string; isFolder: boolean }): JSX.Element {
  const { session, tree, path, isFolder, onClose } = props;
  return (
    <Dialog
      title={`Delete ${nameOf(path)}?`}
      actLabel="Delete"
      isDangerous
      act={async () => {
        await session.files.remove(path);
        await tree.load(folderOf(path));
      }}
      onClose={onClose}
    >
      <p>
        {isFolder ? "The folder and everything in it is" : "The file is"} deleted for everyone in
        the session. This cannot be undone here.
      </p>
    </Dialog>
  );
}

function NameField(props: {
  label: string;
  value: string;
  onInput: (text: string) => void;
}): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        id={id}
        type="text"
        required
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        maxLength={255}
        defaultValue={props.value}
        onFocus={(event) => selectStem(event.currentTarget)}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
    </div>
  );
}

/** Selects a file's name without its extension, which is rarely what a user wants to change. */
function selectStem(input: HTMLInputElement): void {
  const dot = input.value.lastIndexOf(".");
  input.setSelectionRange(0, dot > 0 ? dot : input.value.length);
}

function checkName(text: string): string {
  const name = text.trim();
  if (name === "" || name === "." || name === ".." || name.includes("/")) {
    throw new Error("A name has at least one character, and no slash.");
  }
  return name;
}
