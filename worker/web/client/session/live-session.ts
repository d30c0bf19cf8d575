/**
 * What a guest's and a host's session have in common: people, documents, chat, following, and the state of the connection.
 * guest-session.ts and host-session.ts build on it.
 */
import { effect, type ReadonlySignal, signal } from "@preact/signals";
import type { Peer } from "open-collaboration-protocol";
import { createSharedDocuments, type SharedDocuments } from "../documents/shared-documents.ts";
import { createTabList, type Opener, type TabList } from "../documents/tab-list.ts";
import type { Connection, EndReason, Notice, Session } from "../model/session.ts";
import type { Channel } from "./channel.ts";
import { createChat } from "./chat.ts";
import type { Keys } from "./keys.ts";
import { createPeople } from "./people.ts";
import type { TransportNames, TransportStatus } from "./transport.ts";

/** What happens outside the session. */
export interface SessionEnvironment {
  /** Updates of the documents that were kept in the browser. */
  readonly kept: readonly Uint8Array[];
  /** `encode`: all of the documents, as one update. */
  readonly keep: (update: Uint8Array, encode: () => Uint8Array) => void;
  /** The people or the settings of the session have changed: to be kept for a reload. */
  readonly remember: () => void;
  readonly onEnded: (reason: EndReason) => void;
}

/** A session that this page enters, as a guest or as its host. */
export interface SessionOptions {
  readonly baseUrl: string;
  readonly roomId: string;
  readonly invitation: string;
  readonly meetingUrl: string | undefined;
  readonly keys: Keys;
  readonly transports: TransportNames;
  readonly onReady: () => void;
}

/** What the page's owner does with its session, beside what its panels do. */
export interface OwnSession extends Session {
  /** With no file open: goes to where the host is, or opens what explains the workspace. */
  begin(): void;
  /** Ends it here, and leaves the place to another tab. */
  moveAway(): void;
}

/** What a host decides about its documents; a guest accepts what the others send. */
export type DocumentRules = Pick<
  Parameters<typeof createSharedDocuments>[0],
  "isPrivate" | "mayChange"
>;

export type LiveSession = ReturnType<typeof createLiveSession>;

/** As long as the server keeps the place of a peer that is away. */
const AWAY_MS = 30_000;

function away(): Connection {
  return { state: "reconnecting", untilMs: performance.now() + AWAY_MS };
}

export function createLiveSession(
  environment: SessionEnvironment,
  rules: (isReadOnly: ReadonlySignal<boolean>) => DocumentRules,
) {
  const isReadOnly = signal(false);
  const isReadOnlyHinted = signal(false);
  const people = createPeople();
  const { personOf } = people;
  const documents: SharedDocuments = createSharedDocuments({
    ...rules(isReadOnly),
    personOf,
    kept: environment.kept,
    keep: (update) => environment.keep(update, () => documents.encode()),
  });
  const chat = createChat(personOf);
  const connection = signal<Connection>(away());
  const notices = signal<readonly Notice[]>([]);
  const following = signal<string | undefined>(undefined);
  let lastNotice = 0;
  let tabs: Pick<TabList, "show"> | undefined;
  let stopTabs = (): void => {};
  let channel: Channel | undefined;
  let stopStatus = (): void => {};
  /** Why the server is about to end the session for this person. */
  let serverSays: string | undefined;

  function goToFollowed(): void {
    const followed = following.peek();
    if (followed === undefined) return;
    const path = documents.presence.pathOf(followed);
    if (path !== undefined) tabs?.show(path);
  }

  function follow(personId: string | undefined): void {
    following.value = personId;
    goToFollowed();
  }

  const stopPresence = documents.presence.onChange(() => {
    people.setPaths((id) => documents.presence.pathOf(id));
    goToFollowed();
  });

  function onStatus(status: TransportStatus, current: Channel, onRefused: () => void): void {
    switch (status) {
      case "connecting":
        return;
      case "open":
        connection.value = { state: "live" };
        chat.setLive(current.connection);
        documents.resync();
        return;
      case "interrupted":
        chat.setAway(false);
        connection.value = away();
        return;
      case "refused":
        chat.setAway(true);
        onRefused();
        return;
    }
  }

  function dropChannel(): void {
    stopStatus();
    chat.setAway(false);
    documents.attach(undefined);
    channel?.close();
    channel = undefined;
  }

  function notify(kind: Notice["kind"], text: string): void {
    notices.value = [...notices.peek(), { id: ++lastNotice, kind, text }];
  }

  return {
    people,
    documents,
    chat,
    connection,
    isReadOnly,
    /** The server's policy suggests it. */
    isReadOnlyHinted,
    notices,
    following,
    follow,
    notify,
    dismiss: (notice: Notice): void => {
      notices.value = notices.peek().filter(({ id }) => id !== notice.id);
    },
    setSelf(peer: Peer): void {
      people.setSelf(peer);
      documents.setSelf(peer.id);
    },
    /** A peer has left. */
    removePeer(id: string): void {
      const gone = people.remove(id);
      documents.removePeer(id);
      if (gone !== undefined) notify("info", `${gone.name} has left`);
    },
    /** The open tabs, which follow people into their files. */
    openTabs(opener: Opener, isTextReadOnly: ReadonlySignal<boolean>): TabList {
      const onChosen = (): void => follow(undefined);
      const list = createTabList({ opener, isReadOnly: isTextReadOnly, onChosen });
      tabs = list;
      stopTabs = effect(() => people.setOwnPath(list.active.value?.path));
      return list;
    },
    /** Uses `channel` from now on, and the one before no more. */
    use(next: Channel, onRefused: () => void): void {
      dropChannel();
      channel = next;
      next.connection.onError((text) => {
        serverSays = text;
      });
      documents.attach(next.connection);
      chat.attach(next.connection);
      stopStatus = effect(() => {
        const status = next.transport.status.value;
        // Reads no other signal, so that nothing else runs this again.
        queueMicrotask(() => {
          if (channel === next) onStatus(status, next, onRefused);
        });
      });
    },
    end(given: EndReason): void {
      if (connection.peek().state === "ended") return;
      const isByServer = given === "closed" || given === "lost";
      const reason = isByServer && serverSays !== undefined ? { serverSays } : given;
      dropChannel();
      stopPresence();
      stopTabs();
      connection.value = { state: "ended", reason };
      environment.onEnded(reason);
    },
  };
}

/** What the page sees of a guest's and of a host's session alike. */
export function pagePart(
  { people, documents, chat, ...live }: LiveSession,
  { roomId, invitation, meetingUrl }: SessionOptions,
) {
  return {
    roomId,
    invitation,
    meetingUrl,
    connection: live.connection,
    self: people.self,
    people: people.others,
    isReadOnly: live.isReadOnly,
    isReadOnlyHinted: live.isReadOnlyHinted,
    chat: chat.lines,
    writing: chat.writing,
    say: chat.say,
    noteWriting: chat.noteWriting,
    following: live.following,
    follow: live.follow,
    notices: live.notices,
    dismiss: live.dismiss,
    texts: () => documents.all(),
  } satisfies Partial<Session>;
}
