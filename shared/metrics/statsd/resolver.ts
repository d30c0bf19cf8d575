/**
 * Resolves a host name repeatedly, with one lookup at a time: a name server that does not answer blocks one of the few
 * threads with which Node also reads files, and it must not block them all.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

export interface Resolver {
  /**
   * The host's addresses, IPv4 first, because a StatsD server that listens on one family only usually listens on IPv4.
   * Rejects with the system's error. Concurrent calls share one lookup.
   */
  resolve(): Promise<readonly string[]>;
}

export function createResolver(host: string): Resolver {
  let pending: Promise<readonly string[]> | undefined;
  return {
    resolve() {
      if (isIP(host) !== 0) return Promise.resolve([host]);
      pending ??= lookUp(host).finally(() => {
        pending = undefined;
      });
      return pending;
    },
  };
}

async function lookUp(host: string): Promise<readonly string[]> {
  const addresses = await lookup(host, { all: true, verbatim: false });
  return addresses.map(({ address }) => address);
}
