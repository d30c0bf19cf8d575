/** The open files. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { folderOf, nameOf } from "../files/paths.ts";
import type { Session, Tab } from "../model/session.ts";
import { Icon } from "./controls/icon.tsx";

const MIDDLE = 1;

export function TabList(props: {
  session: Session;
  onOpen: (path: string) => void;
}): JSX.Element | null {
  const { session, onOpen } = props;
  const tabs = session.tabs.tabs.value;
  const active = session.tabs.active.value;
  if (tabs.length === 0) return null;
  const names = tabs.map((tab) => nameOf(tab.path));
  return (
    <nav class="tabs" aria-label="Open files">
      <ul>
        {tabs.map((tab) => {
          const isAmbiguous = names.filter((name) => name === nameOf(tab.path)).length > 1;
          return (
            <TabItem
              key={tab.path}
              tab={tab}
              isActive={tab.path === active?.path}
              detail={isAmbiguous ? nameOf(folderOf(tab.path)) : undefined}
              onOpen={onOpen}
              onClose={(path) => session.tabs.close(path)}
            />
          );
        })}
      </ul>
    </nav>
  );
}

function TabItem(props: {
  tab: Tab;
  isActive: boolean;
  /** The folder, when another open file has the same name. */
  detail: string | undefined;
  onOpen: (path: string) => void;
  onClose: (path: string) => void;
}): JSX.Element {
  const { tab, isActive, detail, onOpen, onClose } = props;
  const item = useRef<HTMLLIElement>(null);
  const { path } = tab;
  const name = nameOf(path);
  const mark = markOf(tab);
  useLayoutEffect(() => {
    if (isActive) item.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [isActive, mark]);
  return (
    <li
      ref={item}
      class={isActive ? "tab active" : "tab"}
      onAuxClick={(event) => {
        if (event.button === MIDDLE) onClose(path);
      }}
    >
      <button
        type="button"
        class={tab.isGone.value ? "tab-name gone" : "tab-name"}
        aria-current={isActive ? "true" : undefined}
        title={path}
        onClick={() => onOpen(path)}
        onKeyDown={(event) => {
          if (event.key === "Delete") onClose(path);
        }}
      >
        <span class="name">{name}</span>
        {detail !== undefined && <span class="muted name">{detail}</span>}
        {mark !== undefined && (
          <span class="tab-mark" title={mark}>
            <Icon name="warning" />
            <span class="for-readers">{mark}</span>
          </span>
        )}
      </button>
      <button
        type="button"
        class="icon-button"
        // The other tabs are closed by the Delete key.
        tabIndex={isActive ? 0 : -1}
        aria-label={`Close ${name}`}
        onClick={() => onClose(path)}
      >
        <Icon name="close" />
      </button>
    </li>
  );
}

function markOf(tab: Tab): string | undefined {
  if (tab.isGone.value) return "Deleted or renamed";
  return tab.save.value.state === "failed" ? "Not saved" : undefined;
}
