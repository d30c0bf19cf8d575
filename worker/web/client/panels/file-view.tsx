/** The open file: its text in the editor, or what there is instead. */
import { type Signal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { type MountedEditor, mountEditor, mountPreview } from "../editor/editor.ts";
import { nameOf } from "../files/paths.ts";
import type { OpenFile, Session, Tab } from "../model/session.ts";
import { downloadBytes } from "./controls/download.ts";
import { formatBytes } from "./controls/format.ts";
import { Icon, type IconName } from "./controls/icon.tsx";
import { Problem } from "./controls/problem.tsx";
import { useAction } from "./controls/use-action.ts";

interface Props {
  readonly session: Session;
  readonly tab: Tab;
  /** Set when the user asked for the file: the editor takes the focus as soon as there is one, and resets it. */
  readonly focusWish: Signal<boolean>;
}

export function FileView(props: Props): JSX.Element {
  const { tab } = props;
  const file = tab.file.value;
  return (
    <div class="file-view">
      <Banners {...props} file={file} />
      <FileBody {...props} file={file} />
    </div>
  );
}

function FileBody({ session, tab, focusWish, file }: Props & { file: OpenFile }): JSX.Element {
  const { path } = tab;
  switch (file.state) {
    case "loading":
      return <div class="file-loading">Opening {nameOf(path)}…</div>;
    case "text":
      return (
        <Mounted
          content={file.shared}
          mount={(parent) => mountEditor(parent, { session, tab })}
          focusWish={focusWish}
        />
      );
    case "preview":
    case "foreign-text":
      return (
        <Mounted
          content={file.text}
          mount={(parent) => mountPreview(parent, { path, text: file.text })}
          focusWish={focusWish}
        />
      );
    case "binary":
      return (
        <Instead icon="file" title={nameOf(path)}>
          <p class="muted">Not a text file, {formatBytes(file.bytes)}.</p>
          <Download session={session} tab={tab} />
        </Instead>
      );
    case "too-large":
      return (
        <Instead icon="file" title={`${nameOf(path)} is too large`}>
          <p class="muted">
            It is {formatBytes(file.bytes)}, more than can be edited together in a browser.{" "}
            {session.isHost ? "Open it in your own editor." : "Ask the host for the part you need."}
          </p>
        </Instead>
      );
    case "failed":
      return (
        <Instead icon="warning" title={`${nameOf(path)} could not be opened`}>
          <p class="muted">{file.message}</p>
          <button type="button" class="button primary" onClick={() => session.tabs.retry(path)}>
            Try again
          </button>
        </Instead>
      );
  }
}

function Mounted(props: {
  /** Another value is another editor. */
  content: unknown;
  mount: (parent: HTMLElement) => MountedEditor;
  focusWish: Signal<boolean>;
}): JSX.Element {
  const { content, mount, focusWish } = props;
  const parent = useRef<HTMLDivElement>(null);
  const mounted = useRef<MountedEditor | undefined>(undefined);
  const latest = useRef(mount);
  latest.current = mount;

  function grantFocus(): void {
    if (!focusWish.value || !mounted.current) return;
    focusWish.value = false;
    if (!isTyping()) mounted.current.focus();
  }

  useLayoutEffect(() => {
    if (!parent.current) return undefined;
    const editor = latest.current(parent.current);
    mounted.current = editor;
    grantFocus();
    return () => {
      mounted.current = undefined;
      editor.destroy();
    };
  }, [content]);
  useSignalEffect(grantFocus);
  return <div ref={parent} class="editor-place" />;
}

/** Whether the user is writing elsewhere, as in the chat: the focus stays there. */
function isTyping(): boolean {
  const { activeElement } = document;
  return activeElement instanceof HTMLTextAreaElement || activeElement instanceof HTMLInputElement;
}

function Banners({ session, tab, file }: Props & { file: OpenFile }): JSX.Element | null {
  const save = tab.save.value;
  const canRestore = session.isHost || !session.isReadOnly.value;
  if (tab.isGone.value) {
    return (
      <Banner icon="warning" text="This file was deleted or renamed. Its text is still here.">
        {canRestore && (
          <Act label="Save again" act={() => session.tabs.restore(tab.path)} isPrimary />
        )}
        <Download session={session} tab={tab} />
      </Banner>
    );
  }
  if (save.state === "failed") {
    return (
      <Banner
        icon="warning"
        text={`Not saved: ${save.message} Your text stays in this page, and saving is tried again when it changes.`}
      >
        <Download session={session} tab={tab} />
      </Banner>
    );
  }
  if (file.state === "preview") {
    return (
      <Banner
        icon="lock"
        text="You can read this already. Editing starts as soon as the host’s side has opened it."
      />
    );
  }
  if (file.state === "foreign-text") {
    return (
      <Banner
        icon="lock"
        text="This text is not UTF-8. It is shown but not edited, because saving would change parts that nobody touched."
      >
        <Download session={session} tab={tab} />
      </Banner>
    );
  }
  if (file.state === "text" && file.isReadOnly && !session.isReadOnly.value) {
    return <Banner icon="lock" text="This file is read-only." />;
  }
  return null;
}

function Banner(props: {
  icon: IconName;
  text: string;
  children?: ComponentChildren;
}): JSX.Element {
  return (
    <div class="banner" role="status">
      <Icon name={props.icon} />
      <p>{props.text}</p>
      {props.children}
    </div>
  );
}

function Instead(props: {
  icon: IconName;
  title: string;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <div class="instead">
      <Icon name={props.icon} />
      <h2>{props.title}</h2>
      {props.children}
    </div>
  );
}

function Download({ session, tab }: { session: Session; tab: Tab }): JSX.Element {
  const save = async (): Promise<void> =>
    downloadBytes(nameOf(tab.path), await session.tabs.content(tab.path));
  return <Act label="Download" act={save} />;
}

function Act(props: {
  label: string;
  act: () => Promise<unknown>;
  isPrimary?: boolean;
}): JSX.Element {
  const { label, act, isPrimary = false } = props;
  const action = useAction();
  return (
    <>
      <button
        type="button"
        class={isPrimary ? "button primary" : "button"}
        disabled={action.isBusy.value}
        onClick={() => action.run(act)}
      >
        {label}
      </button>
      <Problem text={action.problem.value} />
    </>
  );
}
