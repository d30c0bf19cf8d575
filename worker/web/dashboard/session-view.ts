/**
 * The list of sessions, with the history of one and the command to end it.
 */
import type {
  SessionEventsResponse,
  SessionLine,
  SessionsResponse,
} from "../../dashboard/responses.ts";
import { button, byId, type Cell, element, fillTable, number, type TableOf } from "./elements.ts";
import { getJson, postCommand } from "./feed.ts";
import { formatAge, formatBytes, formatCount } from "./format.ts";

const EVENTS: TableOf<SessionEventsResponse["events"][number]> = {
  keyOf: (_event, index) => String(index),
  none: "No events are recorded for this session.",
  columns: [
    ["Time", ({ atMs }) => new Date(atMs).toLocaleString("en-GB")],
    ["Event", ({ kind }) => kind],
    ["Worker", ({ worker }) => worker],
    ["Epoch", ({ epoch }) => number(String(epoch))],
    ["Cause", ({ cause }) => cause],
  ],
};

export function createSessionView(): { show: (sessions: SessionsResponse) => void } {
  const table = byId("session-table", HTMLTableElement);
  const count = byId("session-count", HTMLParagraphElement);
  const status = byId("session-status", HTMLParagraphElement);
  const history = byId("session-events", HTMLDivElement);

  const lines: TableOf<SessionLine> = {
    keyOf: ({ id }) => id,
    none: "No active sessions.",
    columns: [
      [
        "Session",
        ({ id, isLocked }) =>
          isLocked ? { text: `${id}… locked`, title: "No new guests are let in." } : `${id}…`,
      ],
      [
        "Worker",
        ({ worker, ownerState }) =>
          ownerState === "lives" ? worker : { text: `${worker}: ${ownerState}`, badge: "bad" },
      ],
      ["Epoch", ({ epoch }) => number(String(epoch))],
      ["Host", (session) => people(session, true)],
      ["Guests", (session) => people(session, false)],
      ["Age", ({ ageMs }) => formatAge(ageMs)],
      ["Bytes", ({ bytes }) => number(formatBytes(bytes))],
      ["Idle", ({ lastActivityMs }) => formatAge(lastActivityMs)],
      [
        "",
        (session) => ({
          text: `${session.id} ${session.isLocked}`,
          content: () => buttons(session),
        }),
      ],
    ],
  };

  function buttons({ id, isLocked }: SessionLine): HTMLElement[] {
    const lock = isLocked ? "unlock" : "lock";
    return [
      button("history", "", () => void showHistory(id)),
      button(lock, "needs-sessions", () => void command(`${lock} ${id}…`, id, lock)),
      button("end", "needs-sessions", () => void endSession(id)),
    ];
  }

  async function endSession(id: string): Promise<void> {
    if (!confirm(`End session ${id}… for all its participants?`)) return;
    await command(`end ${id}…`, id, "end");
  }

  async function command(what: string, id: string, action: string): Promise<void> {
    const reply = await postCommand(`sessions/${encodeURIComponent(id)}/${action}`);
    status.textContent = `${what}: ${reply.outcome}, ${reply.message}`;
  }

  /** The host or the guests of a session, with what may be done to each. */
  function people({ id, peers }: SessionLine, isHost: boolean): Cell {
    const shown = peers.filter(({ host }) => host === isHost);
    const content = (): HTMLElement[] =>
      shown.map((peer) => {
        const line = element("div", `${describe(peer)} `);
        if (!isHost) line.append(personButton("remove", peer, () => removeGuest(id, peer)));
        if (peer.hasSignIn) line.append(personButton("sign out", peer, () => signOut(id, peer)));
        return line;
      });
    return { text: shown.map(describe).join(", "), content };
  }

  function personButton(text: string, { name }: Person, run: () => Promise<void>): HTMLElement {
    const made = button(text, "needs-sessions", () => void run());
    made.setAttribute("aria-label", `${text[0]?.toUpperCase()}${text.slice(1)} ${name}`);
    return made;
  }

  async function signOut(id: string, { id: peerId, name, host }: Person): Promise<void> {
    const ends = host ? " As its host, they end this session." : "";
    if (!confirm(`Sign ${name} out, from all sessions?${ends} They may sign in again.`)) return;
    await command(`sign out ${name}`, id, `peers/${encodeURIComponent(peerId)}/sign-out`);
  }

  async function removeGuest(id: string, { id: peerId, name }: Person): Promise<void> {
    const question = `Remove ${name} from session ${id}…? The host decides whether they may come back.`;
    if (!confirm(question)) return;
    await command(`remove ${name}`, id, `peers/${encodeURIComponent(peerId)}/remove`);
  }

  async function showHistory(id: string): Promise<void> {
    const { events } = await getJson<SessionEventsResponse>(
      `sessions/${encodeURIComponent(id)}/events`,
    );
    const shown = document.createElement("table");
    fillTable(shown, EVENTS, events);
    const close = button("close", "", () => history.replaceChildren());
    const scroll = element("div", "", "scroll");
    scroll.append(shown);
    history.replaceChildren(element("h3", `History of ${id}…`), scroll, close);
    history.scrollIntoView({ block: "nearest" });
  }

  return {
    show({ sessions, total }) {
      count.textContent =
        total > sessions.length
          ? `${formatCount(total)} sessions, of which ${formatCount(sessions.length)} are listed.`
          : `${formatCount(total)} ${total === 1 ? "session" : "sessions"}.`;
      fillTable(table, lines, sessions);
    },
  };
}

type Person = SessionLine["peers"][number];

function describe({ name, client, connected }: Person): string {
  const away = connected === false ? ", disconnected" : "";
  return `${name} (${client}${away})`;
}
