export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when `work` has ended in any way, or after `ms`. */
export async function withinTime(work: Promise<unknown>, ms: number): Promise<void> {
  await Promise.race([work.catch(() => {}), sleep(ms)]);
}
