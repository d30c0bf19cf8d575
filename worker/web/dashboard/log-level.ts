/** The severity of a line of any log. Pure. */

/** Least severe first. */
export const LEVELS: readonly string[] = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/**
 * `time process LEVEL …`, the same as JSON, or nginx's `date time [level] …`, optionally after the name of the process. Words
 * further right are part of the message.
 */
const LEVEL =
  /^(?:[\w.-]+ \| )?(?:\d{4}-\S+ \S+ ([A-Z]+) |\{"level":"([a-z]+)"|[\d/]+ [\d:]+ \[([a-z]+)\] )/;

/** In upper case; empty for a line without a level (the access log). */
export function levelOf(line: string): string {
  const [, text, json, nginx] = LEVEL.exec(line) ?? [];
  const level = (text ?? json ?? nginx ?? "").toUpperCase();
  return LEVELS.includes(level) ? level : "";
}
