/** A host's session: its files are the session's files, and it decides who joins. */
import { signal } from "@preact/signals";
import {
  type Peer,
  type ProtocolBroadcastConnection,
  VERSION,
  type Workspace,
} from "open-collaboration-protocol";
import type { HostOpener } from "../documents/host-opener.ts";
import { isExcluded, partsOf } from "../files/paths.ts";
import type { OwnFiles } from "../model/files.ts";
import type { EndReason } from "../model/session.ts";
import { type KnownPeers, openChannel } from "./channel.ts";
import { openHostFiles } from "./host-files.ts";
import { createJoinRequests } from "./join-requests.ts";
import {
  createLiveSession,
  type LiveSession,
  type OwnSession,
  pagePart,
  type SessionEnvironment,
  type SessionOptions,
} from "./live-session.ts";
import { withinTime } from "./timing.ts";

/** What a host needs after a reload. */
export interface HostState {
  readonly known: KnownPeers;
  readonly isReadOnly: boolean;
  /** Marks of what the files held last, by path. */
  readonly saved: ReadonlyMap<string, string>;
}

export interface HostSession extends OwnSession {
  /** Undefined until the server has sent the host's own description. */
  readonly state: HostState | undefined;
  readonly isSaved: boolean;
}

const FLUSH_MS = 1000;

interface HostOptions extends SessionEnvironment, SessionOptions {
  readonly roomToken: string;
  readonly workspace: Workspace;
  /** `watched`: the open files and the listed folders, for files that others can change only where they are looked at. */
  readonly openFiles: (watched: () => Iterable<string>) => OwnFiles;
  /** After a reload. */
  readonly restored: HostState | undefined;
}

export function startHostSession(options: HostOptions): HostSession {
  const live = createLiveSession(options, (isReadOnly) => ({
    isPrivate: isExcluded,
    // Other clients can ignore that the session is read-only: their changes must not reach the host's files.
    mayChange: () => !isReadOnly.peek(),
  }));
  const { people } = live;
  live.isReadOnly.value = options.restored?.isReadOnly ?? false;
  let isLeaving = false;
  const requests = createJoinRequests(options.workspace, options.remember);
  const channel = openChannel({
    ...options,
    host: undefined,
    hostId: () => people.ownPeer?.id,
    tap: requests.tap,
  });
  const { connection } = channel;
  const hosted = openHostFiles(
    { openFiles: options.openFiles, saved: options.restored?.saved, onSaved: options.remember },
    live,
    connection,
  );
  const { files, tabs, opener } = hosted;

  connection.peer.onInfo((_origin, peer) => {
    live.setSelf(peer);
    options.remember();
    options.onReady();
  });
  connection.peer.onJoinRequest((_origin, user) => requests.ask(user));
  admitGuests(options, live, connection, opener);
  connection.room.onClose(() => close(isLeaving ? "left" : "lost"));
  live.use(channel, () => close(isLeaving ? "left" : "lost"));
  if (options.restored !== undefined) {
    live.setSelf(options.restored.known.self);
    channel.restore(options.restored.known);
    options.onReady();
  }

  function close(reason: EndReason): void {
    hosted.close();
    live.end(reason);
  }

  return {
    ...pagePart(live, options),
    isHost: true,
    workspace: signal(options.workspace),
    joinRequests: requests.open,
    files,
    tabs,
    async setReadOnly(isReadOnly) {
      live.isReadOnly.value = isReadOnly;
      options.remember();
      await connection.room.updatePermissions({ readonly: isReadOnly });
    },
    async leave() {
      isLeaving = true;
      await withinTime(opener.flush(), FLUSH_MS);
      await channel.leave();
      close("left");
    },
    get state() {
      const self = people.ownPeer;
      if (self === undefined) return undefined;
      const { unanswered } = requests;
      return {
        known: { self, others: people.otherPeers, init: undefined, unanswered },
        isReadOnly: live.isReadOnly.peek(),
        saved: new Map(hosted.saved),
      };
    },
    get isSaved() {
      return opener.isSaved;
    },
    // Opens the file that explains the workspace.
    begin() {
      const [folder = ""] = options.workspace.folders;
      files.list(folder).then(
        (entries) => {
          const readme = entries.find(({ name }) => /^readme\b/i.test(name));
          if (readme !== undefined) tabs.open(`${folder}/${readme.name}`);
        },
        () => {},
      );
    },
    moveAway: () => close("moved"),
  };
}

/** Gives guests what they need when they come: the session, and the texts of the files that they open. */
function admitGuests(
  options: Pick<HostOptions, "workspace" | "restored" | "remember">,
  live: LiveSession,
  connection: ProtocolBroadcastConnection,
  opener: Pick<HostOpener, "share">,
): void {
  const { people, documents } = live;
  const updated = new Set<string>();

  connection.room.onJoin(async (_origin, peer) => {
    // After a reload the guests are known, and have been initialized.
    const isRestored = options.restored?.known.others.some(({ id }) => id === peer.id) === true;
    const others = people.otherPeers.filter(({ id }) => id !== peer.id);
    const isNew = people.add(peer);
    if (isRestored && isNew) return;
    await initialize(peer, others);
    if (isNew) live.notify("info", `${people.personOf(peer.id)?.name} has joined`);
    options.remember();
  });
  connection.room.onLeave((_origin, peer) => {
    updated.delete(peer.id);
    live.removePeer(peer.id);
    options.remember();
  });
  connection.editor.onOpen((origin, path) => {
    if (typeof path === "string" && isServed(path)) {
      opener.share(path).then(
        () => sendFirst(origin),
        () => {},
      );
    }
  });

  /**
   * A guest that opens its first file gets all texts: the service process of IntelliJ asks for them before it knows anybody
   * to ask, and again only after 10 s.
   */
  function sendFirst(peerId: string): void {
    if (updated.has(peerId)) return;
    updated.add(peerId);
    documents.sendAll(peerId);
  }

  async function initialize(peer: Peer, guests: readonly Peer[]): Promise<void> {
    const host = people.ownPeer;
    if (host === undefined) return;
    await connection.peer.init(peer.id, {
      protocol: VERSION,
      host,
      guests: [...guests],
      capabilities: {},
      permissions: { readonly: live.isReadOnly.peek() },
      workspace: options.workspace,
    });
  }
}

/** Whether guests may have the text of `path`. */
function isServed(path: string): boolean {
  try {
    partsOf(path);
    return !isExcluded(path);
  } catch {
    return false;
  }
}
