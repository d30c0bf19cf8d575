/** How commands and the dashboard's page name closed WebSockets. Imports nothing, so that the page can use it. */

/** `timeout 3, no ticket 1`: the most frequent first. */
export function reasonsText(closed: Readonly<Record<string, number>>): string {
  return Object.entries(closed)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, times]) => `${reason} ${times}`)
    .join(", ");
}

export function closedCount(closed: Readonly<Record<string, number>>): number {
  return Object.values(closed).reduce((sum, times) => sum + times, 0);
}
