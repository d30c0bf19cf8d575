/** Waits for something, but not without end. */

export const LATE = Symbol("late");

/** The result of `promise`, or `LATE` after `ms` and when `signal` is aborted. */
export async function inTime<T>(
  promise: Promise<T>,
  ms: number,
  signal?: AbortSignal,
): Promise<T | typeof LATE> {
  let timer: NodeJS.Timeout | undefined;
  let giveUp = (): void => {};
  const late = new Promise<typeof LATE>((resolve) => {
    giveUp = () => resolve(LATE);
    timer = setTimeout(giveUp, ms);
    signal?.addEventListener("abort", giveUp, { once: true });
    if (signal?.aborted) giveUp();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  }
}
