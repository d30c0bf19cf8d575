/** What links count. Imports nothing, so that the page of the dashboard can use it. */

/** What links have done; added up over the links that share it. */
export interface LinkCounts {
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  streamsOpened: number;
  /** A stream had something to send and no credit. */
  stalls: number;
  /** Streams that were aborted by either side, or that ended with their link. */
  resets: number;
  /** Violations of the protocol by the peer. */
  errors: number;
}

/** What the balancers report of them. */
export type ReportedLinkCounts = Readonly<Omit<LinkCounts, "streamsOpened">>;

export function newLinkCounts(): LinkCounts {
  return {
    framesIn: 0,
    framesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    streamsOpened: 0,
    stalls: 0,
    resets: 0,
    errors: 0,
  };
}
