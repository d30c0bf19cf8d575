/** Keeps the process alive while `work` runs: the clock's timers are unref'ed, so it could end between two of them. */
export async function keepingAlive<T>(work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, 60_000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
