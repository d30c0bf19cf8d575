/** `1 session`, `2 sessions`. Imports nothing, so that pages can use it. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
