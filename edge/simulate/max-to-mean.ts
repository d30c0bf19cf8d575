/**
 * How uneven workers are: sessions of the fullest by the mean, 1 when all have the same number. Undefined when there are no
 * sessions. Pure.
 */
export function maxToMean(sessions: readonly number[]): number | undefined {
  const total = sessions.reduce((sum, count) => sum + count, 0);
  return total === 0 ? undefined : (Math.max(...sessions) * sessions.length) / total;
}
