/**
 * Where a host is, asked again and again, but never twice at a time: a name server that does not answer keeps one of the
 * few threads that Node reads files with, and it must not get them all.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

export interface Resolver {
  /**
   * The host's addresses, those of IPv4 first, because a StatsD that listens on one of them only mostly has that one.
   * Rejects with the system's error. Concurrent calls share one question.
   */
  resolve(): Promise<readonly string[]>;
}

export function createResolver(host: string): Resolver {
  let asking: Promise<readonly string[]> | undefined;
  return {
    resolve() {
      if (isIP(host) !== 0) return Promise.resolve([host]);
      asking ??= ask(host).finally(() => {
        asking = undefined;
      });
      return asking;
    },
  };
}

async function ask(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, verbatim: false });
  return found.map(({ address }) => address);
}
