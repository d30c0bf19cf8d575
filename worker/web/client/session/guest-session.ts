/**
 * A guest's session. A guest that was away too long, so that the server gave its place up, asks the host again by itself; its
 * documents stay, and what was typed meanwhile is merged.
 */
import { signal } from "@preact/signals";
import type { InitData, JoinRoomResponse, Peer } from "open-collaboration-protocol";
import { fieldsOf } from "../../../../shared/base/json.ts";
import { createGuestOpener } from "../documents/guest-opener.ts";
import { createRemoteFiles } from "../files/remote-files.ts";
import type { EndReason } from "../model/session.ts";
import { type Channel, type KnownPeers, openChannel } from "./channel.ts";
import { createCurrentFiles } from "./current-files.ts";
import { JoinError } from "./entry.ts";
import { followFiles } from "./file-changes.ts";
import {
  createLiveSession,
  type LiveSession,
  type OwnSession,
  pagePart,
  type SessionEnvironment,
  type SessionOptions,
} from "./live-session.ts";
import { sleep } from "./timing.ts";

export interface GuestEntry {
  readonly roomToken: string;
  readonly host: Peer;
  readonly workspace: JoinRoomResponse["workspace"];
}

/** What a guest needs after a reload. */
export interface GuestState {
  readonly entry: GuestEntry;
  readonly known: KnownPeers;
}

export interface GuestSession extends OwnSession {
  /** Whether a reload brings the same person back, with what was typed. */
  readonly isRemembered: boolean;
  /** Undefined until the host has sent the workspace. */
  readonly state: GuestState | undefined;
}

/** Of asking the host again: the first one is immediate. */
const RETRY_MS = [0, 1000, 2000, 5000] as const;

interface GuestOptions extends SessionEnvironment, SessionOptions {
  readonly entry: GuestEntry;
  /** After a reload. */
  readonly restored: KnownPeers | undefined;
  readonly isRemembered: boolean;
  /** Asks the host again. Rejects with `JoinError`. */
  readonly askAgain: (signal: AbortSignal) => Promise<GuestEntry>;
}

export function startGuestSession(options: GuestOptions): GuestSession {
  const live = createLiveSession(options, () => ({
    isPrivate: () => false,
    mayChange: () => true,
  }));
  const { people, documents } = live;
  const left = new AbortController();
  const workspace = signal(options.entry.workspace);
  let { entry } = options;
  let init: InitData | undefined;
  let channel: Channel;
  let isReadOnlyByHost = options.restored?.init?.permissions.readonly === true;

  const files = createCurrentFiles();
  const opener = createGuestOpener({
    documents,
    files,
    askHost: (path) => {
      channel.connection.editor.open(entry.host.id, path).catch(() => {});
    },
  });
  const tabs = live.openTabs(opener, live.isReadOnly);
  const stopFiles = followFiles(files, tabs);

  function enter(restored: KnownPeers | undefined): void {
    const { roomToken, host } = entry;
    channel = openChannel({ ...options, roomToken, host, hostId: () => host.id });
    const { connection } = channel;
    connection.peer.onInfo((_origin, peer) => live.setSelf(peer));
    connection.peer.onInit((_origin, data) => setInit(data));
    connection.room.onJoin((_origin, peer) => {
      if (people.add(peer)) live.notify("info", `${people.personOf(peer.id)?.name} has joined`);
      options.remember();
    });
    connection.room.onLeave((_origin, peer) => {
      live.removePeer(peer.id);
      options.remember();
    });
    connection.room.onPermissions((_origin, permissions) => {
      setReadOnlyByHost(permissions.readonly === true);
      options.remember();
    });
    connection.room.onClose(() => close(left.signal.aborted ? "left" : "closed"));
    files.use(createRemoteFiles(connection, entry.host.id));
    live.use(channel, () => void rejoin());
    void askHint(roomToken);
    if (restored === undefined) return;
    live.setSelf(restored.self);
    channel.restore(restored);
  }

  async function askHint(roomToken: string): Promise<void> {
    live.isReadOnlyHinted.value = await suggestsReadOnly(options.baseUrl, roomToken);
    showReadOnly();
  }

  function setReadOnlyByHost(isReadOnly: boolean): void {
    isReadOnlyByHost = isReadOnly;
    showReadOnly();
  }

  function showReadOnly(): void {
    live.isReadOnly.value = isReadOnlyByHost || live.isReadOnlyHinted.value;
  }

  function setInit(data: InitData): void {
    init = data;
    people.replace([data.host, ...data.guests]);
    workspace.value = data.workspace;
    setReadOnlyByHost(data.permissions.readonly === true);
    documents.resync();
    options.remember();
    options.onReady();
  }

  /** The server has given this guest's place up. */
  async function rejoin(): Promise<void> {
    const refusal = await askUntilAdmitted({
      left: left.signal,
      show: (isWaitingForHost) => {
        live.connection.value = { state: "rejoining", isWaitingForHost };
      },
      async ask() {
        entry = await options.askAgain(left.signal);
        if (!left.signal.aborted) enter(undefined);
      },
    });
    if (refusal !== undefined) close(refusal);
  }

  async function leave(): Promise<void> {
    left.abort();
    await channel.leave();
    close("left");
  }

  function close(reason: EndReason): void {
    left.abort();
    stopFiles();
    live.end(reason);
  }

  enter(options.restored);
  return {
    ...pagePart(live, options),
    isHost: false,
    isRemembered: options.isRemembered,
    workspace,
    joinRequests: signal([]),
    files,
    tabs,
    async setReadOnly() {},
    leave,
    get state() {
      const self = people.ownPeer;
      if (self === undefined || init === undefined) return undefined;
      const sent = presentInit(init, live, isReadOnlyByHost);
      return { entry, known: { self, others: [], init: sent, unanswered: [] } };
    },
    begin: () => live.follow(entry.host.id),
    moveAway: () => close("moved"),
  };
}

/** What the host would send now. */
function presentInit(init: InitData, { people }: LiveSession, isReadOnly: boolean): InitData {
  const guests = people.otherPeers.filter(({ host }) => !host);
  return { ...init, guests, permissions: { ...init.permissions, readonly: isReadOnly } };
}

/** Resolves when `ask` has succeeded or the guest has left; else with why it cannot return. */
async function askUntilAdmitted(options: {
  readonly left: AbortSignal;
  readonly show: (isWaitingForHost: boolean) => void;
  readonly ask: () => Promise<void>;
}): Promise<"closed" | "rejected" | undefined> {
  const { left, show, ask } = options;
  if (left.aborted) return undefined;
  show(false);
  for (let attempt = 0; !left.aborted; attempt++) {
    await sleep(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] ?? 0);
    try {
      show(true);
      await ask();
      return undefined;
    } catch (error) {
      if (left.aborted) return undefined;
      const reason = error instanceof JoinError ? error.reason : "unreachable";
      if (reason === "not-found") return "closed";
      if (reason === "rejected" || reason === "forbidden") return "rejected";
      show(false);
    }
  }
  return undefined;
}

/** Whether the server's policy suggests, to this page only, to open the session read-only. False when it does not say. */
async function suggestsReadOnly(baseUrl: string, roomToken: string): Promise<boolean> {
  try {
    const response = await fetch(`${baseUrl}/api/session/hints`, {
      headers: { "x-oct-jwt": roomToken },
      credentials: "omit",
    });
    return response.ok && fieldsOf(await response.json())["readOnly"] === true;
  } catch {
    return false;
  }
}
