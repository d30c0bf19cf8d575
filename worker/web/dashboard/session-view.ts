/**
 * The list of sessions, with the history of one and the command to end it.
 */
import type {
  SessionEventsResponse,
  SessionLine,
  SessionsResponse,
} from "../../dashboard/responses.ts";
import { byId, element, fillTable, type Row } from "./elements.ts";
import { getJson, postCommand } from "./feed.ts";
import { formatAge, formatBytes, formatCount } from "./format.ts";

const COLUMNS = ["Session", "Worker", "Epoch", "Host", "Guests", "Age", "Bytes", "Idle", ""];
const EVENT_COLUMNS = ["Time", "Event", "Worker", "Epoch", "Cause"];

export function createSessionView(): { show: (sessions: SessionsResponse) => void } {
  const table = byId("session-table", HTMLTableElement);
  const count = byId("session-count", HTMLParagraphElement);
  const status = byId("session-status", HTMLParagraphElement);
  const history = byId("session-events", HTMLDivElement);

  function buttons({ id, isLocked }: SessionLine): HTMLElement[] {
    const showEvents = element("button", "history");
    showEvents.addEventListener("click", () => void showHistory(id));
    const end = element("button", "end", "needs-sessions");
    end.addEventListener("click", () => void endSession(id));
    const lock = element("button", isLocked ? "unlock" : "lock", "needs-sessions");
    lock.addEventListener("click", () => void lockSession(id, !isLocked));
    const all = [showEvents, lock, end];
    for (const button of all) button.setAttribute("type", "button");
    return all;
  }

  async function lockSession(id: string, isLocked: boolean): Promise<void> {
    const action = isLocked ? "lock" : "unlock";
    const reply = await postCommand(`sessions/${encodeURIComponent(id)}/${action}`);
    status.textContent = `${action} ${id}…: ${reply.outcome}, ${reply.message}`;
  }

  async function endSession(id: string): Promise<void> {
    if (!confirm(`End session ${id}… for all its participants?`)) return;
    const reply = await postCommand(`sessions/${encodeURIComponent(id)}/end`);
    status.textContent = `end ${id}…: ${reply.outcome}, ${reply.message}`;
  }

  /** The host or the guests of a session, with what may be done to each. */
  function peopleOf({ id, peers }: SessionLine, isHost: boolean): HTMLElement[] {
    return peers
      .filter(({ host }) => host === isHost)
      .map((peer) => {
        const line = element("div", `${describe(peer)} `);
        if (!isHost) line.append(personButton("remove", peer, () => removeGuest(id, peer)));
        if (peer.hasSignIn) line.append(personButton("sign out", peer, () => signOut(id, peer)));
        return line;
      });
  }

  function personButton(text: string, { name }: Person, run: () => Promise<void>): HTMLElement {
    const button = element("button", text, "needs-sessions");
    button.setAttribute("type", "button");
    button.setAttribute("aria-label", `${text[0]?.toUpperCase()}${text.slice(1)} ${name}`);
    button.addEventListener("click", () => void run());
    return button;
  }

  async function signOut(id: string, { id: peerId, name, host }: Person): Promise<void> {
    const ends = host ? " As its host, they end this session." : "";
    if (!confirm(`Sign ${name} out, from all sessions?${ends} They may sign in again.`)) return;
    const path = `sessions/${encodeURIComponent(id)}/peers/${encodeURIComponent(peerId)}/sign-out`;
    const reply = await postCommand(path);
    status.textContent = `sign out ${name}: ${reply.outcome}, ${reply.message}`;
  }

  async function removeGuest(id: string, { id: peerId, name }: Person): Promise<void> {
    const question = `Remove ${name} from session ${id}…? The host decides whether they may come back.`;
    if (!confirm(question)) return;
    const path = `sessions/${encodeURIComponent(id)}/peers/${encodeURIComponent(peerId)}/remove`;
    const reply = await postCommand(path);
    status.textContent = `remove ${name}: ${reply.outcome}, ${reply.message}`;
  }

  async function showHistory(id: string): Promise<void> {
    const { events } = await getJson<SessionEventsResponse>(
      `sessions/${encodeURIComponent(id)}/events`,
    );
    const shown = document.createElement("table");
    fillTable(
      shown,
      EVENT_COLUMNS,
      events.map((event, index) => ({
        key: String(index),
        cells: [
          { text: new Date(event.atMs).toLocaleString("en-GB") },
          { text: event.kind },
          { text: event.worker },
          { text: String(event.epoch), isNumber: true },
          { text: event.cause },
        ],
      })),
      "No events are recorded for this session.",
    );
    const close = element("button", "close");
    close.setAttribute("type", "button");
    close.addEventListener("click", () => history.replaceChildren());
    const scroll = element("div", "", "scroll");
    scroll.append(shown);
    history.replaceChildren(element("h3", `History of ${id}…`), scroll, close);
    history.scrollIntoView({ block: "nearest" });
  }

  function rowOf(session: SessionLine): Row {
    return {
      key: session.id,
      cells: [
        session.isLocked
          ? { text: `${session.id}… locked`, title: "No new guests are let in." }
          : { text: `${session.id}…` },
        session.ownerState === "lives"
          ? { text: session.worker }
          : { text: `${session.worker}: ${session.ownerState}`, badge: "bad" },
        { text: String(session.epoch), isNumber: true },
        { text: people(session, true), content: () => peopleOf(session, true) },
        { text: people(session, false), content: () => peopleOf(session, false) },
        { text: formatAge(session.ageMs) },
        { text: formatBytes(session.bytes), isNumber: true },
        { text: formatAge(session.lastActivityMs) },
        { text: `${session.id} ${session.isLocked}`, content: () => buttons(session) },
      ],
    };
  }

  return {
    show({ sessions, total }) {
      count.textContent =
        total > sessions.length
          ? `${formatCount(total)} sessions, of which ${formatCount(sessions.length)} are listed.`
          : `${formatCount(total)} ${total === 1 ? "session" : "sessions"}.`;
      fillTable(table, COLUMNS, sessions.map(rowOf), "No active sessions.");
    },
  };
}

function people({ peers }: SessionLine, host: boolean): string {
  return peers
    .filter((peer) => peer.host === host)
    .map(describe)
    .join(", ");
}

type Person = SessionLine["peers"][number];

function describe({ name, client, connected }: Person): string {
  const away = connected === false ? ", disconnected" : "";
  return `${name} (${client}${away})`;
}
