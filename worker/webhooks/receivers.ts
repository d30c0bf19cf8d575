/** Who gets events: what the operator has written about each receiver. */
import type { EventKind } from "../../shared/activity/event.ts";

export interface Receiver {
  /** By which its position is kept: it stays when the URL changes. */
  readonly name: string;
  readonly url: URL;
  /** Each delivery has a signature by each of them: during a rotation there are two. */
  readonly secrets: readonly Buffer[];
  /** Kinds like `peer.joined`, or `peer.*` for all of a family. Undefined: all kinds. */
  readonly events: readonly string[] | undefined;
  /** False: events come without names, email addresses and the like. */
  readonly hasPersonalData: boolean;
  /** PEM certificates of authorities that are trusted beside the public ones. */
  readonly authority: string | undefined;
}

/** Not an event of somebody: it tells that others were lost, so every receiver gets it. */
export const GAP_KIND = "events.lost";

/** Whether a receiver wants events of a kind. `peer.*` means `peer.joined`, and `sign-in.*` also `sign-in`. */
export function wants({ events }: Pick<Receiver, "events">, kind: string): boolean {
  if (events === undefined || kind === GAP_KIND) return true;
  return events.some((pattern) => {
    if (pattern === "*" || pattern === kind) return true;
    if (!pattern.endsWith(".*")) return false;
    const family = pattern.slice(0, -2);
    return kind === family || kind.startsWith(`${family}.`);
  });
}

/** Whether a pattern means at least one of the kinds. */
export function isKnownPattern(pattern: string, kinds: readonly EventKind[]): boolean {
  return kinds.some((kind) => wants({ events: [pattern] }, kind));
}
