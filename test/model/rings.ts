/** Rings that are built once for each set of members: they depend on nothing else. */
import type * as RingModule from "../../shared/membership/ring.ts";
import type { Ring } from "../../shared/membership/ring.ts";

export function rememberRings(real: typeof RingModule): typeof RingModule {
  const rings = new Map<string, Ring>();
  return {
    ...real,
    createRing(members, ringKey) {
      const name = JSON.stringify([members.map(({ id, weight }) => [id, weight]), ringKey]);
      const ring = rings.get(name) ?? real.createRing(members, ringKey);
      rings.set(name, ring);
      return ring;
    },
  };
}
