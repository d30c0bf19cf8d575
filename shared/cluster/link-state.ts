/** How commands and the dashboard's page name the state of links. Imports nothing, so that the page can use it. */

/** Of all balancers' links to a worker: `open`, or `connecting (1 of 3 open)` where the balancers differ. */
export function linkStateText({
  state,
  open,
  balancers,
}: {
  /** Where it is worst. */
  readonly state: string;
  /** Of so many balancers. */
  readonly balancers: number;
  readonly open: number;
}): string {
  return open === 0 || open === balancers ? state : `${state} (${open} of ${balancers} open)`;
}
