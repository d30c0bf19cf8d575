/**
 * The live tail of a log, filtered here.
 */
import type { LogId, LogLines, LogsResponse } from "../../dashboard/responses.ts";
import { byId, element } from "./elements.ts";
import { ask } from "./feed.ts";
import { LEVELS, levelOf } from "./log-level.ts";

export interface LogView {
  /** Which log is looked at. */
  readonly wanted: LogId;
  /** The newest lines come again from the beginning. */
  clear(): void;
  take(lines: LogLines): void;
}

/** Lines that are kept; older ones go, so that a page that is left open does not grow. */
const MAX_LINES = 1000;

/** `onChange`: another log is looked at. */
export function createLogView(onChange: () => void): LogView {
  const select = byId("log-id", HTMLSelectElement);
  const level = byId("log-level", HTMLSelectElement);
  const filter = byId("log-filter", HTMLInputElement);
  const follow = byId("log-follow", HTMLInputElement);
  const download = byId("log-download", HTMLAnchorElement);
  const lines = byId("log-lines", HTMLDivElement);
  let waiting: HTMLElement[] = [];

  function clear(): void {
    lines.replaceChildren();
    waiting = [];
  }

  function take({ lines: texts, skipped }: LogLines): void {
    for (const text of texts) {
      const line = element("div", text, levelOf(text).toLowerCase());
      line.hidden = !isWanted(text);
      waiting.push(line);
    }
    if (skipped > 0)
      waiting.push(element("div", `… ${skipped} lines skipped: they arrived too fast`, "skipped"));
    // A page in the background has no frames: what nobody has seen yet must not pile up.
    if (waiting.length > 2 * MAX_LINES) waiting = waiting.slice(-MAX_LINES);
    if (waiting.length > 0) requestAnimationFrame(flush);
  }

  /** Once a frame, however many lines came. */
  function flush(): void {
    if (waiting.length === 0) return;
    const fresh = waiting.slice(-MAX_LINES);
    waiting = [];
    lines.append(...fresh);
    while (lines.childElementCount > MAX_LINES) lines.firstElementChild?.remove();
    if (follow.checked) lines.scrollTop = lines.scrollHeight;
  }

  function isWanted(text: string): boolean {
    const least = LEVELS.indexOf(level.value);
    const own = LEVELS.indexOf(levelOf(text));
    // Lines without a level (the access log) have nothing to be left out by.
    if (least >= 0 && own >= 0 && own < least) return false;
    return text.toLowerCase().includes(filter.value.toLowerCase());
  }

  function filterAgain(): void {
    for (const line of lines.children) {
      if (line instanceof HTMLElement) line.hidden = !isWanted(line.textContent ?? "");
    }
  }

  async function listLogs(): Promise<void> {
    const { logs } = await ask<LogsResponse>("logs");
    const chosen = select.value;
    select.replaceChildren(
      ...logs.map(({ id, name }) => {
        const option = document.createElement("option");
        option.value = id;
        option.textContent = name;
        option.selected = id === chosen;
        return option;
      }),
    );
  }

  select.addEventListener("change", () => {
    download.href = `api/logs/${select.value}`;
    clear();
    onChange();
  });
  level.addEventListener("change", filterAgain);
  filter.addEventListener("input", filterAgain);
  // The page has the first one in its list; the others can be had when the edge can be asked.
  listLogs().catch(() => {});

  return {
    get wanted() {
      return select.value as LogId;
    },
    clear,
    take,
  };
}
