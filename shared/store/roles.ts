/** The jobs that one member of the edge does for all. */

/**
 * Jobs of one elected member. `reaper`: takes over abandoned sessions, writes the history. `statsd`: sends metrics. `autoscale`:
 * changes the number of workers (`ct-edge autoscale`). `webhooks`: delivers events to their receivers. `acme`: obtains
 * certificates.
 */
export const ROLES = ["reaper", "statsd", "autoscale", "webhooks", "acme"] as const;
export type Role = (typeof ROLES)[number];
