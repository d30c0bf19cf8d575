/** How severe a line of any log is. Pure. */

/** The least severe first. */
export const LEVELS: readonly string[] = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/**
 * `time process LEVEL …`, the same as JSON, or nginx's `date time [level] …`, with or without the process that wrote it
 * before them. Words further on are what somebody said.
 */
const LEVEL =
  /^(?:[\w.-]+ \| )?(?:\d{4}-\S+ \S+ ([A-Z]+) |\{"level":"([a-z]+)"|[\d/]+ [\d:]+ \[([a-z]+)\] )/;

/** In capitals; empty for a line that has none (the access log). */
export function levelOf(line: string): string {
  const [, text, json, nginx] = LEVEL.exec(line) ?? [];
  const level = (text ?? json ?? nginx ?? "").toUpperCase();
  return LEVELS.includes(level) ? level : "";
}
