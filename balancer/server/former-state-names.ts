/** Names of the gauge `balancer.workers` in the version before; both are reported for one version. */

interface Unavailable {
  readonly unhealthy: number;
  readonly down: number;
}

export interface FormerStates {
  readonly suspect: number;
  readonly dead: number;
}

export function withFormerStates<T extends Unavailable>(count: T): T & FormerStates {
  return Object.assign(count, { suspect: count.unhealthy }, { dead: count.down });
}
