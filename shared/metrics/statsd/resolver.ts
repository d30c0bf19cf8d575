/**
 * Resolves a host name repeatedly, with one lookup at a time: a name server that does not answer blocks one of the few
 * threads with which Node also reads files, and it must not block them all.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { oneFlight } from "../../base/one-flight.ts";

export interface Resolver {
  /**
   * The host's addresses, IPv4 first, because a StatsD server that listens on one family only usually listens on IPv4.
   * Rejects with the system's error. Concurrent calls share one lookup.
   */
  resolve(): Promise<readonly string[]>;
}

export function createResolver(host: string): Resolver {
  if (isIP(host) !== 0) return { resolve: () => Promise.resolve([host]) };
  return { resolve: oneFlight(() => lookUp(host)) };
}

async function lookUp(host: string): Promise<readonly string[]> {
  const addresses = await lookup(host, { all: true, verbatim: false });
  return addresses.map(({ address }) => address);
}
