/**
 * People with unmodified clients: the npm packages `open-collaboration-protocol` and `open-collaboration-yjs`, driven
 * through their public API only, in the way the IDE plugins do it (log in by the form that the server offers, host
 * initializes who joined, documents are synchronized again after each reconnect).
 *
 * The package decrypts concurrently, so handlers see messages in another order than the wire: nothing here promises one.
 */
import { setTimeout as delay } from "node:timers/promises";
import type {
  AuthMetadata,
  ConnectionProvider,
  ConnectionProviderOptions,
  FetchRequestOptions,
  FetchResponse,
  InitData,
  MessageTransport,
  MessageTransportProvider,
  Peer,
  ProtocolBroadcastConnection,
  User,
  Workspace,
} from "open-collaboration-protocol";
import { OpenCollaborationYjsProvider } from "open-collaboration-yjs";
import type { Socket } from "socket.io-client";
import { Agent, fetch } from "undici";
import { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import {
  chatOf,
  type ProtocolPackage,
  type ProtocolPackageName,
  protocolPackage,
} from "./protocols.ts";
import { initializeProtocolWithPooledKeys } from "./rsa-keys.ts";
import { until } from "./until.ts";
import { recordWire, type WireLog } from "./wire.ts";

initializeProtocolWithPooledKeys();

export interface ClientOptions {
  /** Where the edge is; may have a path, as in `http://127.0.0.1:1080/k/KEY`. */
  readonly baseUrl: string;
  readonly name: string;
  /** Which published protocol package it has; default: the newest. */
  readonly protocol?: ProtocolPackageName;
  /** Sent with each request and handshake beside the package's own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Asks again for so long when there is no answer, or 503; 0 (default, as the IDEs do) gives up at once. */
  readonly retryRequestsMs?: number;
  /** Awaited before the sign-in form is sent, like a person who types slowly. */
  readonly beforeSignIn?: () => Promise<void>;
}

/** What a host does with somebody who wants to join. */
export type Approval = "approve" | "reject" | "never answer";

/** Something that was said to everybody (`direct: false`) or to one peer only. */
export interface Said {
  readonly from: string;
  readonly text: string;
  readonly direct: boolean;
}

const WORKSPACE: Workspace = { name: "demo", folders: ["src", "test"] };
/** As in VS Code, IntelliJ and Eclipse. */
const RESYNC_MS = 10_000;
/**
 * As in the IDEs: time for the good-bye to be sent before the connection is closed. When both arrive in one piece,
 * socket.io drops the message, because its sender is gone.
 */
const LEAVE_GRACE_MS = 100;

/** One person: signed in, then in at most one session, as host or as guest. Close it at the end. */
export class Client {
  readonly name: string;
  readonly document = new Y.Doc();
  /** What the host answers to a join request. */
  decide: (user: User) => Approval | Promise<Approval> = () => "approve";
  /** Everybody who asked to join, as the host was told. */
  readonly joinRequests: User[] = [];
  /** Peers that came, in the order in which they were announced; also oneself for nobody. */
  readonly joined: Peer[] = [];
  readonly left: Peer[] = [];
  readonly said: Said[] = [];
  /** How often `peer/info` came: once, also over reconnects. */
  readonly infos: Peer[] = [];
  readonly inits: InitData[] = [];
  /** How often the session was reported closed. */
  closedCount = 0;
  reconnectCount = 0;
  /**
   * When a worker has let it into its session, each time, on `performance.now()`. The package reports a reconnect earlier,
   * when there is a connection again: whoever waits then for a worker is not back yet.
   */
  readonly servedMs: number[] = [];
  /** When it was cut off from its session, each time, on the same clock. */
  readonly lostMs: number[] = [];
  /** Whether it is in its session now. */
  isServed = false;
  /** What it said to everybody, in order. */
  readonly spoken: string[] = [];
  /** The connection was given up for good. */
  disconnected = false;
  /** Failures that the package let go: a document update for somebody who has just left. */
  readonly syncFailures: unknown[] = [];

  readonly #options: ClientOptions;
  readonly #agent = new Agent();
  readonly #protocol: ProtocolPackage;
  readonly #provider: ConnectionProvider;
  readonly #peers = new Map<string, Peer>();
  readonly #awareness = new Awareness(this.document);
  #connection: ProtocolBroadcastConnection | undefined;
  #wire: WireLog | undefined;
  #yjs: OpenCollaborationYjsProvider | undefined;

  constructor(options: ClientOptions) {
    this.name = options.name;
    this.#options = options;
    this.#protocol = protocolPackage(options.protocol);
    this.#provider = new this.#protocol.ConnectionProvider({
      url: options.baseUrl,
      client: "ct-edge-test@1.0.0",
      fetch: (url, request) => this.#fetch(url, request),
      authenticationHandler: (token, metadata) => this.#signIn(token, metadata),
      transports: [
        withHeaders(this.#protocol.SocketIoTransportProvider, options.headers ?? {}, (transport) =>
          this.#watch(transport),
        ),
      ],
    } satisfies ConnectionProviderOptions);
  }

  /** The package's own object, for what only one test needs. */
  get provider(): ConnectionProvider {
    return this.#provider;
  }

  /** The connection to the session; throws before `host` or `join`. */
  get connection(): ProtocolBroadcastConnection {
    if (this.#connection === undefined) throw new Error(`${this.name} is in no session`);
    return this.#connection;
  }

  /** What it sends and receives, message by message; throws before `host` or `join`. */
  get wire(): WireLog {
    if (this.#wire === undefined) throw new Error(`${this.name} is in no session`);
    return this.#wire;
  }

  /** The own peer id; throws before the server has told it. */
  get id(): string {
    const info = this.infos[0];
    if (info === undefined) throw new Error(`${this.name} was not told its peer id`);
    return info.id;
  }

  /** The text that everybody edits. */
  get text(): string {
    return this.document.getText("src/main.ts").toJSON();
  }

  /** Signs in with the name; the token stays inside. */
  async login(): Promise<void> {
    await this.#provider.login({});
  }

  /** Creates a session (and signs in first when needed); resolves with its id when the server has accepted the host. */
  async host(): Promise<string> {
    if (this.#provider.authToken === undefined) await this.login();
    const { roomId, roomToken } = await this.#provider.createRoom({});
    await this.enterAsHost(roomToken);
    return roomId;
  }

  /** Enters a session that was created, as its host. */
  async enterAsHost(roomToken: string): Promise<void> {
    this.#enter(await this.#provider.connect(roomToken), "host");
    await until(`${this.name} is told its peer id`, () => this.infos.length > 0);
  }

  /** Asks for a session and enters it once the host has approved; resolves when the host's `peer/init` came. */
  async join(sessionId: string, abortSignal?: AbortSignal): Promise<void> {
    if (this.#provider.authToken === undefined) await this.login();
    const { roomToken, host } = await this.#provider.joinRoom({
      roomId: sessionId,
      ...(abortSignal && { abortSignal }),
    });
    await this.enter(roomToken, host);
  }

  /** Enters a session with a room token, as a guest. */
  async enter(roomToken: string, host: Peer): Promise<void> {
    this.#peers.set(host.id, host);
    this.#enter(await this.#provider.connect(roomToken, host), "guest");
    await until(`${this.name} is told its peer id`, () => this.infos.length > 0);
    await until(`${this.name} is initialized by the host`, () => this.inits.length > 0);
  }

  /** Says something to everybody in the session (an encrypted broadcast). */
  async say(text: string): Promise<void> {
    this.spoken.push(text);
    await chatOf(this.connection).sendMessage(text);
  }

  /** Says something to one peer (an encrypted notification). */
  async tell(peerId: string, text: string): Promise<void> {
    await chatOf(this.connection).sendDirectMessage(peerId, text);
  }

  /** Asks a peer for a file (an encrypted request); every client answers with its name and the path. */
  async read(peerId: string, path: string): Promise<string> {
    const file = await this.connection.fs.readFile(peerId, path);
    return new TextDecoder().decode(file.content);
  }

  /** Adds a line to the text that everybody edits. */
  write(line: string): void {
    const text = this.document.getText("src/main.ts");
    text.insert(text.length, `${line}\n`);
  }

  /** Leaves the session; a host that leaves ends it. The client stays signed in. */
  /** How long it was cut off each time since `sinceMs`, in ms; of the last time only when it is back. */
  pausesSince(sinceMs: number): number[] {
    return this.lostMs
      .filter((lost) => lost >= sinceMs)
      .flatMap((lost) => {
        const back = this.servedMs.find((served) => served > lost);
        return back === undefined ? [] : [back - lost];
      });
  }

  async leave(): Promise<void> {
    await this.connection.room.leave();
    await delay(LEAVE_GRACE_MS);
    this.#connection?.dispose();
  }

  /** Ends everything, in a session or not, as when the IDE is closed without a good-bye. */
  async close(): Promise<void> {
    this.#connection?.dispose();
    this.document.destroy();
    await this.#agent.destroy();
  }

  #watch(transport: MessageTransport): void {
    // The package keeps it to itself.
    const socket = Reflect.get(transport, "socket") as Socket;
    this.#wire = recordWire(socket);
    socket.on("connect", () => {
      this.isServed = true;
      this.servedMs.push(performance.now());
    });
    socket.on("disconnect", () => {
      this.isServed = false;
      this.lostMs.push(performance.now());
    });
  }

  // --- what the IDE does ---

  #enter(connection: ProtocolBroadcastConnection, role: "host" | "guest"): void {
    this.#connection = connection;
    this.#listen(connection);
    if (role === "host") this.#listenAsHost(connection);
    else this.#listenAsGuest(connection);
    this.#yjs = new OpenCollaborationYjsProvider(
      catchingSync(connection, (failure) => this.syncFailures.push(failure)),
      this.document,
      this.#awareness,
      { resyncTimer: RESYNC_MS },
    );
    this.#yjs.connect();
    connection.onReconnect(() => {
      this.reconnectCount++;
      this.#yjs?.connect();
    });
    connection.onDisconnect(() => {
      this.disconnected = true;
    });
  }

  #listen(connection: ProtocolBroadcastConnection): void {
    connection.peer.onInfo((_, peer) => {
      this.infos.push(peer);
      this.#awareness.setLocalStateField("peer", peer.id);
    });
    connection.room.onLeave((_, peer) => {
      this.#peers.delete(peer.id);
      this.left.push(peer);
    });
    connection.room.onClose(() => {
      this.closedCount++;
    });
    chatOf(connection).onMessage((from, text, direct) => {
      this.said.push({ from, text, direct });
    });
    connection.fs.onReadFile((_, path) => ({
      content: new TextEncoder().encode(`${this.name}:${path}`),
    }));
    // What is still being decrypted when the connection is closed has no handler any more; the package would complain.
    connection.onBroadcast(() => {});
    connection.onNotification(() => {});
  }

  #listenAsHost(connection: ProtocolBroadcastConnection): void {
    connection.peer.onJoinRequest(async (_, user) => {
      this.joinRequests.push(user);
      const approval = await this.decide(user);
      if (approval === "never answer") return new Promise(() => {});
      return approval === "approve" ? { workspace: WORKSPACE } : undefined;
    });
    connection.room.onJoin(async (_, peer) => {
      this.joined.push(peer);
      const guests = [...this.#peers.values()].filter((known) => known.id !== peer.id);
      this.#peers.set(peer.id, peer);
      await connection.peer.init(peer.id, {
        protocol: this.#protocol.VERSION,
        host: await until("the host knows itself", () => this.infos[0]),
        guests,
        permissions: { readonly: false },
        capabilities: {},
        workspace: WORKSPACE,
      });
    });
  }

  #listenAsGuest(connection: ProtocolBroadcastConnection): void {
    connection.room.onJoin((_, peer) => {
      this.#peers.set(peer.id, peer);
      this.joined.push(peer);
    });
    connection.peer.onInit((_, data) => {
      for (const peer of [data.host, ...data.guests]) this.#peers.set(peer.id, peer);
      this.inits.push(data);
    });
  }

  /** Fills in the first form that asks for a user name, and sends it where the server says. */
  async #signIn(token: string, metadata: AuthMetadata): Promise<boolean> {
    const form = metadata.providers.find(
      (provider) =>
        provider.type === "form" && provider.fields.some((field) => field.name === "user"),
    );
    if (form === undefined) return false;
    await this.#options.beforeSignIn?.();
    const base = this.#options.baseUrl.replace(/\/$/, "");
    const answer = await this.#fetch(base + form.endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, user: this.name }),
    });
    return answer.ok;
  }

  async #fetch(url: string, request: FetchRequestOptions = {}): Promise<FetchResponse> {
    const headers = { ...request.headers, ...this.#options.headers };
    const send = () => fetch(url, { ...request, headers, dispatcher: this.#agent });
    const retryMs = this.#options.retryRequestsMs ?? 0;
    if (retryMs === 0) return send();
    return until(
      `an answer to ${url}`,
      async () => {
        const answer = await send();
        return answer.status === 503 ? undefined : answer;
      },
      retryMs,
    );
  }
}

/**
 * The connection as the document provider sees it. The provider awaits none of its calls, so a failed one would be an
 * unhandled rejection, which IDEs write to a log and which ends a test run; here it goes to `report`.
 */
function catchingSync(
  connection: ProtocolBroadcastConnection,
  report: (failure: unknown) => void,
): ProtocolBroadcastConnection {
  const sync = new Proxy(connection.sync, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => Promise.resolve(value.apply(target, args)).catch(report);
    },
  });
  return Object.create(connection, { sync: { value: sync } }) as ProtocolBroadcastConnection;
}

/** The package's own transport, with more headers: clients that let people configure some do the same. */
function withHeaders(
  transport: MessageTransportProvider,
  headers: Readonly<Record<string, string>>,
  onTransport: (transport: MessageTransport) => void,
): MessageTransportProvider {
  return {
    id: transport.id,
    createTransport(url, own) {
      const made = transport.createTransport(url, { ...own, ...headers });
      onTransport(made);
      return made;
    },
  };
}
