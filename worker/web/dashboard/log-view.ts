/**
 * The live tail of a log, filtered in the browser.
 */
import type { LogId, LogLines, LogsResponse } from "../../dashboard/responses.ts";
import { byId, element } from "./elements.ts";
import { getJson } from "./feed.ts";
import { LEVELS, levelOf } from "./log-level.ts";

export type LogView = ReturnType<typeof createLogView>;

/** Older lines are removed, so that a page that is left open does not grow. */
const MAX_LINES = 1000;

/** `onChange`: another log was selected. */
export function createLogView(onChange: () => void) {
  const select = byId("log-id", HTMLSelectElement);
  const level = byId("log-level", HTMLSelectElement);
  const filter = byId("log-filter", HTMLInputElement);
  const follow = byId("log-follow", HTMLInputElement);
  const download = byId("log-download", HTMLAnchorElement);
  const lines = byId("log-lines", HTMLDivElement);
  /** Lines that wait for the next frame. */
  let pending: HTMLElement[] = [];

  function clear(): void {
    lines.replaceChildren();
    pending = [];
  }

  function append({ lines: texts, skipped }: LogLines): void {
    for (const text of texts) {
      const line = element("div", text, levelOf(text).toLowerCase());
      line.hidden = !isWanted(text);
      pending.push(line);
    }
    if (skipped > 0)
      pending.push(element("div", `… ${skipped} lines skipped: they arrived too fast`, "skipped"));
    // A page in the background gets no frames: its pending lines must not pile up.
    if (pending.length > 2 * MAX_LINES) pending = pending.slice(-MAX_LINES);
    if (pending.length > 0) requestAnimationFrame(flush);
  }

  /** Runs once per frame, however many lines arrived. */
  function flush(): void {
    if (pending.length === 0) return;
    const fresh = pending.slice(-MAX_LINES);
    pending = [];
    lines.append(...fresh);
    while (lines.childElementCount > MAX_LINES) lines.firstElementChild?.remove();
    if (follow.checked) lines.scrollTop = lines.scrollHeight;
  }

  function isWanted(text: string): boolean {
    const least = LEVELS.indexOf(level.value);
    const own = LEVELS.indexOf(levelOf(text));
    // Lines without a level (the access log) are always shown.
    if (least >= 0 && own >= 0 && own < least) return false;
    return text.toLowerCase().includes(filter.value.toLowerCase());
  }

  function applyFilter(): void {
    for (const line of lines.children) {
      if (line instanceof HTMLElement) line.hidden = !isWanted(line.textContent ?? "");
    }
  }

  async function listLogs(): Promise<void> {
    const { logs } = await getJson<LogsResponse>("logs");
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
  level.addEventListener("change", applyFilter);
  filter.addEventListener("input", applyFilter);
  // After a failure, the list still has server.log from index.html.
  listLogs().catch(() => {});

  return {
    get selected(): LogId {
      return select.value as LogId;
    },
    clear,
    append,
  };
}
