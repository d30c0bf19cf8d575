/** The people of a session: the peers that the server and the host announce, in the form in which the page shows them. */
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Peer } from "open-collaboration-protocol";
import { CARET_COLORS, type Person } from "../model/session.ts";

export interface People {
  readonly self: ReadonlySignal<Person | undefined>;
  /** The others: the host first, then by name. */
  readonly others: ReadonlySignal<readonly Person[]>;
  /** As the protocol describes them. */
  readonly ownPeer: Peer | undefined;
  readonly otherPeers: readonly Peer[];
  setSelf(peer: Peer): void;
  /** The file that this page shows. */
  setOwnPath(path: string | undefined): void;
  /** Returns false for a peer that is known already. */
  add(peer: Peer): boolean;
  remove(peerId: string): Peer | undefined;
  /** Only these are there. */
  replace(peers: readonly Peer[]): void;
  readonly personOf: (peerId: string) => Person | undefined;
  setPaths(pathOf: (peerId: string) => string | undefined): void;
}

/** Longer names are cut: they are claims of other people's clients. */
const MAX_NAME_CHARS = 100;

interface Known {
  readonly peer: Peer;
  readonly color: number;
}

export function createPeople(): People {
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
    others,
    get ownPeer() {
      return own.peek();
    },
    get otherPeers() {
      return [...known.peek().values()].map(({ peer }) => peer);
    },
    setSelf(peer) {
      own.value = peer;
    },
    setOwnPath(path) {
      ownPath.value = path;
    },
    add(peer) {
      if (peer.id === own.peek()?.id) return false;
      const before = known.peek().get(peer.id);
      const color = before?.color ?? freeColor(known.peek());
      known.value = new Map(known.peek()).set(peer.id, { peer, color });
      return before === undefined;
    },
    remove(peerId) {
      const next = new Map(known.peek());
      const found = next.get(peerId);
      if (next.delete(peerId)) known.value = next;
      return found?.peer;
    },
    replace(peers) {
      const next = new Map<string, Known>();
      for (const peer of peers) {
        if (peer.id === own.peek()?.id) continue;
        const color = known.peek().get(peer.id)?.color ?? freeColor(next);
        next.set(peer.id, { peer, color });
      }
      known.value = next;
    },
    personOf: (peerId) => others.peek().find(({ id }) => id === peerId),
    setPaths(pathOf) {
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
