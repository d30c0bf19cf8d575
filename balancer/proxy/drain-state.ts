/** How far a balancer is on its way to stop; one object that all parts of the data path look at. */
export interface DrainState {
  /** Health checks are answered with 503. */
  isAnnounced: boolean;
  /** Nothing new is accepted, and each answer ends its connection. */
  hasBegun: boolean;
}

export function createDrainState(): DrainState {
  return { isAnnounced: false, hasBegun: false };
}
