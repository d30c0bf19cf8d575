/** The people of a session: the peers that the server and the host announce, in the form in which the page shows them. */
import { computed, type Signal, signal } from "@preact/signals";
import type { Peer } from "open-collaboration-protocol";
import { CARET_COLORS, type Person } from "../model/session.ts";

/** Longer names are cut: they are claims of other people's clients. */
const MAX_NAME_CHARS = 100;

interface Known {
  readonly peer: Peer;
  readonly color: number;
}

export function createPeople() {
  const own: Signal<Peer | undefined> = signal(undefined);
  const ownPath: Signal<string | undefined> = signal(undefined);
  const self = computed(() => own.value && describe(own.value, 0, ownPath.value));
  const known = signal<ReadonlyMap<string, Known>>(new Map());
  const paths = signal<ReadonlyMap<string, string>>(new Map());
  const others = computed(() =>
    [...known.value.values()]
      .map(({ peer, color }) => describe(peer, color, paths.value.get(peer.id)))
      .sort((a, b) => Number(b.isHost) - Number(a.isHost) || a.name.localeCompare(b.name)),
  );

  return {
    self,
    /** The others: the host first, then by name. */
    others,
    /** As the protocol describes them. */
    get ownPeer(): Peer | undefined {
      return own.peek();
    },
    get otherPeers(): readonly Peer[] {
      return [...known.peek().values()].map(({ peer }) => peer);
    },
    setSelf(peer: Peer): void {
      own.value = peer;
    },
    /** The file that this page shows. */
    setOwnPath(path: string | undefined): void {
      ownPath.value = path;
    },
    /** Returns false for a peer that is known already. */
    add(peer: Peer): boolean {
      if (peer.id === own.peek()?.id) return false;
      const before = known.peek().get(peer.id);
      const color = before?.color ?? freeColor(known.peek());
      known.value = new Map(known.peek()).set(peer.id, { peer, color });
      return before === undefined;
    },
    remove(peerId: string): Peer | undefined {
      const next = new Map(known.peek());
      const found = next.get(peerId);
      if (next.delete(peerId)) known.value = next;
      return found?.peer;
    },
    /** Only these are there. */
    replace(peers: readonly Peer[]): void {
      const next = new Map<string, Known>();
      for (const peer of peers) {
        if (peer.id === own.peek()?.id) continue;
        const color = known.peek().get(peer.id)?.color ?? freeColor(next);
        next.set(peer.id, { peer, color });
      }
      known.value = next;
    },
    personOf: (peerId: string) => others.peek().find(({ id }) => id === peerId),
    setPaths(pathOf: (peerId: string) => string | undefined): void {
      const next = new Map<string, string>();
      for (const id of known.peek().keys()) {
        const path = pathOf(id);
        if (path !== undefined) next.set(id, path);
      }
      const before = paths.peek();
      const isSame =
        next.size === before.size && [...next].every(([id, path]) => before.get(id) === path);
      if (!isSame) paths.value = next;
    },
  };
}

function describe(
  { id, name, email, host }: Peer,
  color: number,
  path: string | undefined,
): Person {
  return {
    id,
    name: name.slice(0, MAX_NAME_CHARS) || "Somebody",
    email: email === "" ? undefined : email?.slice(0, MAX_NAME_CHARS),
    isHost: host,
    color,
    path,
  };
}

/** The least used one; the user's own is 0. */
function freeColor(known: ReadonlyMap<string, Known>): number {
  const uses = new Array<number>(CARET_COLORS).fill(0);
  uses[0] = 1;
  for (const { color } of known.values()) uses[color] = (uses[color] ?? 0) + 1;
  return uses.indexOf(Math.min(...uses));
}
