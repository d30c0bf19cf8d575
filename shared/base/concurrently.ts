/** Runs `run` for each item, `atOnce` at a time. Rejects with the first failure; then no further item is begun by that turn. */
export async function concurrently<T>(
  items: readonly T[],
  atOnce: number,
  run: (item: T) => Promise<unknown>,
): Promise<void> {
  const left = [...items].reverse();
  async function next(): Promise<void> {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await run(item);
  }
  await Promise.all(Array.from({ length: atOnce }, next));
}
