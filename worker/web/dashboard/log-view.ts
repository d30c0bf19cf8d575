/**
 * The live tail of the logs. It also keeps the one feed of the page open, because the feed follows the log that is shown.
 */
import type { LogId, LogLines, LogsAnswer } from "../../dashboard/answers.ts";
import { byId, element } from "./elements.ts";
import { ask, type Feed, type FeedListener, openFeed } from "./feed.ts";

/** Lines that are kept; older ones go, so that a page that is left open does not grow. */
const MAX_LINES = 1000;
const LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

export function createLogView(listener: Omit<FeedListener, "onLog">): void {
  const select = byId("log-id", HTMLSelectElement);
  const level = byId("log-level", HTMLSelectElement);
  const filter = byId("log-filter", HTMLInputElement);
  const follow = byId("log-follow", HTMLInputElement);
  const download = byId("log-download", HTMLAnchorElement);
  const lines = byId("log-lines", HTMLDivElement);
  let feed: Feed | undefined;
  let waiting: HTMLElement[] = [];

  function openLog(): void {
    feed?.close();
    lines.replaceChildren();
    waiting = [];
    const isShown = location.hash === "#logs";
    const log = isShown ? (select.value as LogId) : undefined;
    download.href = `api/logs/${select.value}`;
    feed = openFeed(log, { ...listener, onLog: take });
  }

  function take({ lines: texts, skipped }: LogLines): void {
    for (const text of texts) {
      const line = element("div", text, levelOf(text).toLowerCase());
      line.hidden = !isWanted(text);
      waiting.push(line);
    }
    if (skipped > 0)
      waiting.push(element("div", `… ${skipped} lines came too fast to be shown`, "skipped"));
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
    const { logs } = await ask<LogsAnswer>("logs");
    select.replaceChildren(
      ...logs.map(({ id, name }) => {
        const option = document.createElement("option");
        option.value = id;
        option.textContent = name;
        return option;
      }),
    );
  }

  select.addEventListener("change", openLog);
  level.addEventListener("change", filterAgain);
  filter.addEventListener("input", filterAgain);
  window.addEventListener("hashchange", openLog);
  listLogs()
    .catch(() => listener.onState("lost"))
    .finally(openLog);
}

function levelOf(text: string): string {
  return /\b(DEBUG|INFO|WARN|ERROR|FATAL)\b/.exec(text.slice(0, 200))?.[1] ?? "";
}
