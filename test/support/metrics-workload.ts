/**
 * A known workload for tests of metrics: two sessions, five connections, and four people, because Ada is in both sessions.
 */
import type { Client } from "./clients.ts";
import { person } from "./people.ts";

export interface Workload {
  leave(): Promise<void>;
}

/** Expected values while all clients are connected. */
export const EXPECTED = { users: 4, sessions: 2, connections: 5, hosted: 2 } as const;

/** `baseUrls`: the balancers, which the clients use in turn. */
export async function play(baseUrls: readonly string[]): Promise<Workload> {
  let turn = 0;
  const next = (name: string): Client =>
    person({ baseUrl: baseUrls[turn++ % baseUrls.length] ?? "", name });
  const [ada, ben, cleo, adaAgain, dan] = [
    next("Ada"),
    next("Ben"),
    next("Cleo"),
    next("Ada"),
    next("Dan"),
  ] as const;
  const first = await ada.host();
  await ben.join(first);
  await cleo.join(first);
  const second = await dan.host();
  await adaAgain.join(second);
  return {
    async leave() {
      for (const guest of [ben, cleo, adaAgain]) await guest.leave();
      for (const host of [ada, dan]) await host.leave();
    },
  };
}
