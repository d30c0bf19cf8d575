/** How far the graceful shutdown of a balancer is; one object that all parts of the data path read. */
export interface DrainState {
  /** Health checks get 503. */
  isAnnounced: boolean;
  /** No new connections are accepted, and each response ends its connection. */
  hasBegun: boolean;
}

export function createDrainState(): DrainState {
  return { isAnnounced: false, hasBegun: false };
}
