/**
 * Sends handshakes with the same key in each way in which a request can carry it, on connections of their own, and notes
 * which worker accepts each.
 */

import { concurrently } from "../../../shared/base/concurrently.ts";
import { newSessionId } from "../../../shared/base/ids.ts";
import type { WorkerTag } from "../../../shared/base/worker-tag.ts";
import { pollHandshake } from "./engine.ts";
import type { HttpProbe } from "./http.ts";

export const STICKY_WAYS = ["header", "cookie", "room", "path"] as const;
export type StickyWay = (typeof STICKY_WAYS)[number];

/** Handshakes with one key. */
export interface KeyedHandshakes {
  readonly key: string;
  /** The workers that accepted them, by way; a handshake that failed is undefined. */
  readonly tags: Readonly<Record<StickyWay, readonly (WorkerTag | undefined)[]>>;
}

/** With two workers, all keys lead to one of them once in 128 runs. */
const KEYS = 8;
/** The second may reach another balancer. */
const REPEATS = 2;
const AT_ONCE = 6;

export async function probeStickiness(http: HttpProbe): Promise<readonly KeyedHandshakes[]> {
  const all = Array.from({ length: KEYS }, () => ({
    key: newSessionId() as string,
    tags: { header: [], cookie: [], room: [], path: [] } as Record<
      StickyWay,
      (WorkerTag | undefined)[]
    >,
  }));
  const jobs = all.flatMap((one) =>
    STICKY_WAYS.flatMap((way) => Array.from({ length: REPEATS }, () => ({ ...one, way }))),
  );
  await concurrently(jobs, AT_ONCE, async ({ key, tags, way }) => {
    const handshake = await pollHandshake(http, requestWith(key, way));
    tags[way].push(handshake.outcome === "open" ? handshake.tag : undefined);
  });
  return all;
}

/** Keys are ids of rooms that do not exist. */
function requestWith(key: string, way: StickyWay): Parameters<typeof pollHandshake>[1] {
  switch (way) {
    case "header":
      return { headers: { ctstickiness: key } };
    case "cookie":
      return { headers: { cookie: `ctstickiness=${key}` } };
    case "room":
      return { headers: { "x-oct-jwt": tokenOfRoom(key) } };
    case "path":
      return { prefix: `/k/${key}` };
  }
}

/** Balancers read the room without verifying the token; no worker accepts it. */
function tokenOfRoom(room: string): string {
  const claims = Buffer.from(JSON.stringify({ room })).toString("base64url");
  return `e30.${claims}.none`;
}
