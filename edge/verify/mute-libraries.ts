/** Keeps packages that log by themselves from a terminal. */

/**
 * The packages log what they cannot read to the console, with text of the server, and reject promises of their own when a
 * connection ends. Neither may reach the terminal or end this process before it has cleaned up. Returns how to undo it.
 */
export function muteLibraries(): () => void {
  const { error, warn, log } = console;
  const ignore = (): void => {};
  Object.assign(console, { error: ignore, warn: ignore, log: ignore });
  process.on("unhandledRejection", ignore);
  return () => {
    Object.assign(console, { error, warn, log });
    process.off("unhandledRejection", ignore);
  };
}
