/** A live session: files on the left, the text in the middle, people and chat on the right. */
import { type Signal, useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Session } from "../model/session.ts";
import { ChatPanel } from "../panels/chat.tsx";
import { ConnectionBanner } from "../panels/connection-banner.tsx";
import { CopyButton } from "../panels/controls/copy.tsx";
import { Icon } from "../panels/controls/icon.tsx";
import { FileView } from "../panels/file-view.tsx";
import { FilesPanel } from "../panels/files/file-tree.tsx";
import { JoinRequests } from "../panels/join-requests.tsx";
import { Notices } from "../panels/notices.tsx";
import { FollowFrame, PeoplePanel } from "../panels/people.tsx";
import { StatusLine } from "../panels/status-line.tsx";
import { TabList } from "../panels/tabs.tsx";
import { TopBar } from "../panels/top-bar.tsx";

/** Below it, files and people lie over the text instead of beside it. As in workspace.css. */
const NARROW = "(max-width: 56rem)";

export function Workspace(props: { session: Session; isForgetful: boolean }): JSX.Element {
  const { session, isForgetful } = props;
  const isNarrow = useMatch(NARROW);
  const isTreeOpen = useSignal(!isNarrow.value);
  const isSideOpen = useSignal(!isNarrow.value);
  const unread = useUnread(session, isSideOpen);
  // At first too: who enters a session can type at once.
  const focusWish = useSignal(true);
  const active = session.tabs.active.value;
  useTitle(session, unread);
  useLayoutEffect(() => {
    isTreeOpen.value = !isNarrow.value;
    isSideOpen.value = !isNarrow.value;
  }, [isNarrow.value, isTreeOpen, isSideOpen]);
  const page = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (document.activeElement === document.body) page.current?.querySelector("h1")?.focus();
  }, []);

  function open(path: string, focus: boolean): void {
    focusWish.value = focus;
    session.tabs.open(path);
    if (isNarrow.peek()) isTreeOpen.value = false;
  }

  return (
    <div ref={page} class="workspace">
      <TopBar {...{ session, isTreeOpen, isSideOpen }} unread={unread.value} />
      <ConnectionBanner session={session} />
      {session.isHost && <JoinRequests session={session} />}
      <div class="columns">
        <Drawer className="side files" label="Files" isOpen={isTreeOpen} isNarrow={isNarrow.value}>
          <FilesPanel session={session} onOpen={open} />
        </Drawer>
        <main class="center" inert={isNarrow.value && (isTreeOpen.value || isSideOpen.value)}>
          <TabList session={session} onOpen={(path) => open(path, true)} />
          {active ? (
            <FileView key={active.path} session={session} tab={active} focusWish={focusWish} />
          ) : (
            <NoFile session={session} isTreeOpen={isTreeOpen} />
          )}
          <FollowFrame session={session} />
        </main>
        <Drawer
          className="side social"
          label="People and chat"
          isOpen={isSideOpen}
          isNarrow={isNarrow.value}
        >
          <PeoplePanel session={session} />
          <ChatPanel session={session} />
        </Drawer>
      </div>
      <StatusLine session={session} isForgetful={isForgetful} />
      <Notices session={session} />
    </div>
  );
}

/** A column beside the text; on narrow screens a sheet over it. */
function Drawer(props: {
  className: string;
  label: string;
  isOpen: Signal<boolean>;
  isNarrow: boolean;
  children: ComponentChildren;
}): JSX.Element | null {
  const { className, label, isOpen, isNarrow, children } = props;
  const drawer = useRef<HTMLElement>(null);
  const isShown = isOpen.value;
  useLayoutEffect(() => {
    const element = drawer.current;
    if (!isNarrow || !element) return undefined;
    const before = document.activeElement;
    element.focus();
    return () => {
      // The body has it when the element that had it is gone with the sheet.
      if (document.activeElement === document.body && before instanceof HTMLElement) before.focus();
    };
  }, [isNarrow, isShown]);
  if (!isShown) return null;
  const close = (): void => {
    isOpen.value = false;
  };
  return (
    <>
      {isNarrow && (
        // biome-ignore lint/a11y/noStaticElementInteractions: the close button is for keyboards
        // biome-ignore lint/a11y/useKeyWithClickEvents: as above
        <div class="backdrop" onClick={close} />
      )}
      <aside
        ref={drawer}
        class={className}
        aria-label={label}
        tabIndex={-1}
        onKeyDown={(event) => {
          if (isNarrow && event.key === "Escape") close();
        }}
      >
        {isNarrow && (
          <button type="button" class="icon-button close-drawer" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        )}
        {children}
      </aside>
    </>
  );
}

function NoFile(props: { session: Session; isTreeOpen: Signal<boolean> }): JSX.Element {
  const { session, isTreeOpen } = props;
  const isAlone = session.isHost && session.people.value.length === 0;
  return (
    <div class="instead">
      <Icon name={isAlone ? "invite" : "file"} />
      <h2>{isAlone ? "Your session is live" : "No file is open"}</h2>
      <p class="muted">
        {isAlone
          ? "Send the invitation to the people you want here, or open it in a second tab to see it work."
          : "Choose a file, or follow someone to see what they see."}
      </p>
      <div class="buttons">
        {isAlone && <CopyButton label="Copy the invitation" text={session.invitation} isPrimary />}
        {!isTreeOpen.value && (
          <button
            type="button"
            class="button"
            onClick={() => {
              isTreeOpen.value = true;
            }}
          >
            Show the files
          </button>
        )}
      </div>
    </div>
  );
}

/** The number of messages since the chat was in view last. */
function useUnread(session: Session, isSideOpen: Signal<boolean>): Signal<number> {
  const seen = useSignal(session.chat.peek().at(-1)?.id ?? -1);
  const unread = useSignal(0);
  const isVisible = useVisible();
  useSignalEffect(() => {
    const lines = session.chat.value;
    if (isSideOpen.value && isVisible.value) seen.value = lines.at(-1)?.id ?? -1;
    unread.value = lines.filter((line) => line.id > seen.value && line.from).length;
  });
  return unread;
}

/** Who waits is in the title, because the host may be in another tab. */
function useTitle(session: Session, unread: Signal<number>): void {
  useSignalEffect(() => {
    const [request, ...others] = session.joinRequests.value;
    const { name } = session.workspace.value;
    const waiting = others.length === 0 ? `${request?.name} asks` : `${others.length + 1} ask`;
    if (request) document.title = `● ${waiting} to join – ${name}`;
    else document.title = unread.value > 0 ? `(${unread.value}) ${name}` : name;
  });
}

function useMatch(query: string): Signal<boolean> {
  const matches = useSignal(matchMedia(query).matches);
  useLayoutEffect(() => {
    const list = matchMedia(query);
    const update = (): void => {
      matches.value = list.matches;
    };
    list.addEventListener("change", update);
    return () => list.removeEventListener("change", update);
  }, [query, matches]);
  return matches;
}

function useVisible(): Signal<boolean> {
  const isVisible = useSignal(document.visibilityState === "visible");
  useLayoutEffect(() => {
    const update = (): void => {
      isVisible.value = document.visibilityState === "visible";
    };
    document.addEventListener("visibilitychange", update);
    return () => document.removeEventListener("visibilitychange", update);
  }, [isVisible]);
  return isVisible;
}
