/** How many workers an autoscaler should run next. Pure. */

/** How many workers there are. */
export interface Fleet {
  /** Those that this autoscaler starts and stops. */
  readonly own: number;
  /** Those of the same edge elsewhere that stay. */
  readonly others: number;
}

export interface Bounds {
  readonly min: number;
  readonly max: number;
}

/**
 * The number of own workers to go to. More start all at once; fewer one after the other, because each hands its sessions
 * over to those that stay. `wanted`: of the whole edge; undefined when it is not known, then only the bounds count.
 */
export function nextCount(
  { own, others }: Fleet,
  wanted: number | undefined,
  { min, max }: Bounds,
): number {
  const target = Math.min(max, Math.max(min, wanted === undefined ? own : wanted - others));
  return target < own ? own - 1 : target;
}
