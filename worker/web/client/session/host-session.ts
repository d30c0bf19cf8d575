/** A host's session: its files are the session's files, and it decides who joins. */
import { type Signal, signal } from "@preact/signals";
import {
  Encoding,
  type Peer,
  RequestMessage,
  type User,
  VERSION,
  type Workspace,
} from "open-collaboration-protocol";
import { createHostOpener } from "../documents/host-opener.ts";
import { createTabList } from "../documents/tab-list.ts";
import { isExcluded, partsOf } from "../files/paths.ts";
import { serveFiles } from "../files/serve-files.ts";
import type { Files } from "../model/files.ts";
import type { EndReason, JoinRequest, Session } from "../model/session.ts";
import { type KnownPeers, openChannel } from "./channel.ts";
import { followFiles } from "./file-changes.ts";
import type { Keys } from "./keys.ts";
import { createLiveSession, pagePart, type SessionEnvironment } from "./live-session.ts";
import { withinTime } from "./timing.ts";
import type { TransportNames } from "./transport.ts";

/** What a host needs after a reload. */
export interface HostState {
  readonly known: KnownPeers;
  readonly isReadOnly: boolean;
  /** Marks of what the files held last, by path. */
  readonly saved: ReadonlyMap<string, string>;
}

export interface HostSession extends Session {
  /** Undefined until the server has sent the host's own description. */
  readonly state: HostState | undefined;
  readonly isSaved: boolean;
  /** With no file open: opens the one that explains the workspace. */
  begin(): void;
  /** Ends it here, and leaves the place to another tab. */
  moveAway(): void;
}

/** The server answers a guest for a host that does not decide within this time. */
const DECISION_MS = 300_000;
const FLUSH_MS = 1000;
/** Requests to join are small; larger messages are not searched for one. */
const MAX_REQUEST_BYTES = 8192;
const MAX_REQUESTS = 100;

export function startHostSession(
  options: {
    readonly baseUrl: string;
    readonly roomId: string;
    readonly roomToken: string;
    readonly invitation: string;
    readonly meetingUrl: string | undefined;
    readonly keys: Keys;
    readonly workspace: Workspace;
    /** `watched`: the open files and the listed folders, for files that others can change only where they are looked at. */
    readonly openFiles: (watched: () => Iterable<string>) => Files & { close(): void };
    /** After a reload. */
    readonly restored: HostState | undefined;
    readonly transports: TransportNames;
    readonly onReady: () => void;
  } & SessionEnvironment,
): HostSession {
  const live = createLiveSession(options, (isReadOnly) => ({
    isPrivate: isExcluded,
    // Other clients can ignore that the session is read-only: their changes must not reach the host's files.
    mayChange: () => !isReadOnly.peek(),
  }));
  const { people, documents } = live;
  live.isReadOnly.value = options.restored?.isReadOnly ?? false;
  let isLeaving = false;
  const updated = new Set<string>();
  const requests = createJoinRequests(options.workspace, options.remember);
  const channel = openChannel({
    ...options,
    host: undefined,
    hostId: () => people.ownPeer?.id,
    tap: requests.tap,
  });
  const { connection } = channel;
  const listed = new Set<string>();
  const sources = options.openFiles(() => [
    ...tabs.tabs.peek().map(({ path }) => path),
    ...listed,
    ...server.listedFolders(),
  ]);
  const server = serveFiles({
    connection,
    files: sources,
    isReadOnly: () => live.isReadOnly.peek(),
    onWritten: (path, content) => opener.write(path, content),
  });
  const files: Files = {
    ...server.files,
    list(folder) {
      listed.add(folder);
      return server.files.list(folder);
    },
  };
  const saved = new Map(options.restored?.saved);
  const opener = createHostOpener({ documents, files, saved, onSaved: options.remember });
  // Read-only is for guests.
  const isNeverReadOnly = signal(false);
  const tabs = createTabList({
    opener,
    isReadOnly: isNeverReadOnly,
    onChosen: () => live.follow(undefined),
  });
  live.setTabs(tabs);
  const stopFiles = followFiles(files, tabs, (path, change) => {
    if (change === "deleted") opener.onDeleted(path);
    else opener.onChanged(path).catch(() => {});
  });

  connection.peer.onInfo((_origin, peer) => {
    setSelf(peer);
    options.remember();
    options.onReady();
  });
  connection.peer.onJoinRequest((_origin, user) => requests.ask(user));
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
    const gone = people.remove(peer.id);
    updated.delete(peer.id);
    documents.removePeer(peer.id);
    if (gone !== undefined) live.notify("info", `${gone.name} has left`);
    options.remember();
  });
  connection.room.onClose(() => close(isLeaving ? "left" : "lost"));
  connection.editor.onOpen((origin, path) => {
    if (typeof path === "string" && isServed(path)) {
      opener.share(path).then(
        () => sendFirst(origin),
        () => {},
      );
    }
  });
  live.use(channel, () => close(isLeaving ? "left" : "lost"));
  if (options.restored !== undefined) {
    setSelf(options.restored.known.self);
    channel.restore(options.restored.known);
    options.onReady();
  }

  /**
   * A guest that opens its first file gets all texts: the service process of IntelliJ asks for them before it knows anybody
   * to ask, and again only after 10 s.
   */
  function sendFirst(peerId: string): void {
    if (updated.has(peerId)) return;
    updated.add(peerId);
    documents.sendAll(peerId);
  }

  function setSelf(peer: Peer): void {
    people.setSelf(peer);
    documents.setSelf(peer.id);
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

  function close(reason: EndReason): void {
    stopFiles();
    server.close();
    void opener.flush().then(() => {
      opener.close();
      sources.close();
    });
    live.end(reason);
  }

  return {
    ...pagePart(live),
    roomId: options.roomId,
    invitation: options.invitation,
    meetingUrl: options.meetingUrl,
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
      const known = { self, others: people.otherPeers, init: undefined };
      return {
        known: { ...known, unanswered: requests.unanswered },
        isReadOnly: live.isReadOnly.peek(),
        saved: new Map(saved),
      };
    },
    get isSaved() {
      return opener.isSaved;
    },
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

/** Whether guests may have the text of `path`. */
function isServed(path: string): boolean {
  try {
    partsOf(path);
    return !isExcluded(path);
  } catch {
    return false;
  }
}

// --- requests to join ---

interface JoinRequests {
  readonly open: Signal<readonly JoinRequest[]>;
  /** The server's messages that are not answered yet. */
  readonly unanswered: readonly Uint8Array[];
  readonly tap: (message: Uint8Array) => void;
  ask(user: User): Promise<{ readonly workspace: Workspace } | undefined>;
}

/**
 * The server sends each request once, so the messages are kept: after a reload they are handled again. They are in plain text
 * and are handled in the order in which they arrive.
 */
function createJoinRequests(workspace: Workspace, remember: () => void): JoinRequests {
  const open: Signal<readonly JoinRequest[]> = signal([]);
  const arrived: Uint8Array[] = [];
  const unanswered = new Map<string, Uint8Array>();
  let lastId = 0;

  return {
    open,
    get unanswered() {
      return [...unanswered.values()];
    },
    tap(message) {
      if (message.length <= MAX_REQUEST_BYTES && isJoinRequest(message)) arrived.push(message);
    },
    ask(user) {
      const id = String(++lastId);
      const message = arrived.shift();
      if (open.peek().length >= MAX_REQUESTS) return Promise.resolve(undefined);
      if (message !== undefined) unanswered.set(id, message);
      remember();
      return new Promise((resolve) => {
        const decide = (isAccepted: boolean): void => {
          clearTimeout(timer);
          unanswered.delete(id);
          open.value = open.peek().filter((request) => request.id !== id);
          remember();
          resolve(isAccepted ? { workspace } : undefined);
        };
        const timer = setTimeout(() => decide(false), DECISION_MS);
        const request = { id, ...describeUser(user), decide };
        open.value = [...open.peek(), request];
      });
    },
  };
}

const JOIN_METHOD = "peer/join";

/** The method's name may also be the name of a guest: only then is the message decoded in vain. */
function isJoinRequest(message: Uint8Array): boolean {
  if (!new TextDecoder("latin1").decode(message).includes(JOIN_METHOD)) return false;
  try {
    const decoded: unknown = Encoding.decode(message);
    return (
      RequestMessage.is(decoded) && decoded.origin === "" && decoded.content.method === JOIN_METHOD
    );
  } catch {
    return false;
  }
}

function describeUser({ name, email, authProvider }: User) {
  const short = (text: string): string => text.slice(0, 100);
  return {
    name: short(String(name)),
    email: email === undefined || email === "" ? undefined : short(String(email)),
    signedInBy: authProvider === undefined ? undefined : short(String(authProvider)),
  };
}
