/**
 * The sessions, the history of one, and the way to end it.
 */
import type { SessionEventsAnswer, SessionLine, SessionsAnswer } from "../../dashboard/answers.ts";
import { byId, element, fillTable } from "./elements.ts";
import { ask, command } from "./feed.ts";
import { shownBytes, shownCount, shownDuration } from "./shown.ts";

const COLUMNS = ["Session", "Worker", "Epoch", "Host", "Guests", "Age", "Bytes", "Idle for", ""];
const EVENT_COLUMNS = ["When", "What", "Worker", "Epoch", "Why"];

export function createSessionView(): { show: (answer: SessionsAnswer) => void } {
  const table = byId("session-table", HTMLTableElement);
  const count = byId("session-count", HTMLParagraphElement);
  const history = byId("session-events", HTMLDivElement);

  function buttons({ id }: SessionLine): HTMLElement[] {
    const look = element("button", "history");
    look.addEventListener("click", () => void showHistory(id));
    const end = element("button", "end");
    end.addEventListener("click", () => void endSession(id));
    for (const button of [look, end]) button.setAttribute("type", "button");
    return [look, end];
  }

  async function endSession(id: string): Promise<void> {
    if (!confirm(`End session ${id}… for everybody in it?`)) return;
    const reply = await command(`sessions/${encodeURIComponent(id)}/end`);
    count.textContent = `end ${id}…: ${reply.outcome}, ${reply.message}`;
  }

  async function showHistory(id: string): Promise<void> {
    const { events } = await ask<SessionEventsAnswer>(`sessions/${encodeURIComponent(id)}/events`);
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
      "Nothing is remembered of this session.",
    );
    history.replaceChildren(element("h3", `History of ${id}…`), shown);
  }

  return {
    show({ sessions, total }) {
      count.textContent =
        total > sessions.length
          ? `${shownCount(total)} sessions; the newest ${shownCount(sessions.length)} are shown.`
          : `${shownCount(total)} sessions.`;
      fillTable(
        table,
        COLUMNS,
        sessions.map((session) => ({
          key: session.id,
          cells: [
            { text: `${session.id}…` },
            session.ownerState === "lives"
              ? { text: session.worker }
              : { text: `${session.worker}: ${session.ownerState}`, badge: "bad" },
            { text: String(session.epoch), isNumber: true },
            { text: people(session, true) },
            { text: people(session, false) },
            { text: shownDuration(session.ageMs) },
            { text: shownBytes(session.bytes), isNumber: true },
            { text: shownDuration(session.lastActivityMs) },
            { text: session.id, content: buttons(session) },
          ],
        })),
        "Nobody is in a session now.",
      );
    },
  };
}

function people({ peers }: SessionLine, host: boolean): string {
  return peers
    .filter((peer) => peer.host === host)
    .map(({ name, client, connected }) => {
      const away = connected === false ? ", away" : "";
      return `${name} (${client}${away})`;
    })
    .join(", ");
}
