/** Does a figure of a process grow with time? Least squares, with what it follows anyway (connections, sessions) held constant. */

interface Point {
  readonly atS: number;
  readonly value: number;
  readonly load: number;
}

export interface Growth {
  /** Over the time of the points. */
  readonly total: number;
  /** In % of the mean. */
  readonly percent: number;
  readonly mean: number;
}

/** The points from the last two thirds of `points`, which are in the order of their times. */
export function lastTwoThirds<T extends { readonly atS: number }>(points: readonly T[]): T[] {
  const [first, last] = [points[0]?.atS ?? 0, points.at(-1)?.atS ?? 0];
  return points.filter(({ atS }) => atS >= first + (last - first) / 3);
}

/** value = a + slope · time + b · load; the growth is the slope times the duration. */
export function growthOf(points: readonly Point[]): Growth {
  const mean = meanOf(points.map(({ value }) => value));
  const times = centered(points.map(({ atS }) => atS));
  const loads = centered(points.map(({ load }) => load));
  const values = centered(points.map(({ value }) => value));
  const [tt, ll, tl] = [product(times, times), product(loads, loads), product(times, loads)];
  const [tv, lv] = [product(times, values), product(loads, values)];
  const determinant = tt * ll - tl * tl;
  // A load that does not change, or only as time does, explains nothing.
  const slope =
    determinant > 1e-9 * tt * ll ? (ll * tv - tl * lv) / determinant : tt === 0 ? 0 : tv / tt;
  const total = slope * ((points.at(-1)?.atS ?? 0) - (points[0]?.atS ?? 0));
  return { total, percent: (100 * total) / mean, mean };
}

function centered(values: readonly number[]): number[] {
  const mean = meanOf(values);
  return values.map((value) => value - mean);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function product(one: readonly number[], other: readonly number[]): number {
  return one.reduce((sum, value, index) => sum + value * (other[index] ?? 0), 0);
}
