/** The line below the workspace: saved or not, connected or not. */
import type { JSX } from "preact";
import type { Connection, Session, Tab } from "../model/session.ts";
import { languageOf } from "./controls/format.ts";

export function StatusLine(props: { session: Session; isForgetful: boolean }): JSX.Element {
  const { session, isForgetful } = props;
  const tab = session.tabs.active.value;
  return (
    <footer class="status-line">
      <ConnectionState connection={session.connection.value} />
      {isForgetful && (
        <span title="In a private window, or without storage, the browser keeps nothing">
          Reloading leaves the session
        </span>
      )}
      <div class="space" />
      {tab && <FileState session={session} tab={tab} />}
    </footer>
  );
}

function ConnectionState({ connection }: { connection: Connection }): JSX.Element {
  const texts: Readonly<Record<Connection["state"], string>> = {
    live: "Connected",
    reconnecting: "Reconnecting…",
    rejoining: "Returning…",
    ended: "Session over",
  };
  return (
    <span class={`connection ${connection.state}`}>
      <span class="dot" />
      {texts[connection.state]}
      {connection.state === "live" && <span class="wide-only">· End-to-end encrypted</span>}
    </span>
  );
}

function FileState({ session, tab }: { session: Session; tab: Tab }): JSX.Element {
  const file = tab.file.value;
  const isReadOnly = file.state !== "text" || file.isReadOnly;
  const saves = { saved: "Saved", saving: "Saving…", failed: "Not saved" };
  return (
    <>
      {file.state === "text" && isReadOnly && <span>Read-only</span>}
      {session.isHost && file.state === "text" && <span>{saves[tab.save.value.state]}</span>}
      <span>{languageOf(tab.path)}</span>
    </>
  );
}
