/**
 * Unmodified clients: the npm packages `open-collaboration-protocol` and `open-collaboration-yjs`, used through their public
 * API in the way of the IDE plugins (sign in with the form that the server offers, the host initializes guests, documents
 * synchronize again after each reconnect).
 *
 * The package decrypts concurrently, so handlers may see messages in another order than the wire.
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
  disposeConnection,
  type ProtocolPackage,
  type ProtocolPackageName,
  protocolPackage,
} from "./protocols.ts";
import { initializeProtocolWithPooledKeys } from "./rsa-keys.ts";
import { until } from "./until.ts";
import { recordWire, type WireLog } from "./wire.ts";

initializeProtocolWithPooledKeys();

export interface ClientOptions {
  /** URL of the edge; may have a path, as in `http://127.0.0.1:1080/k/KEY`. */
  readonly baseUrl: string;
  readonly name: string;
  /** What it calls itself; default: `ct-edge-test@1.0.0`. */
  readonly client?: string;
  /** The published protocol package; default: the newest. */
  readonly protocol?: ProtocolPackageName;
  /** Sent with each request and handshake, in addition to the package's own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How long to retry requests without a response or with 503; default 0, no retries, as in the IDEs. */
  readonly retryRequestsMs?: number;
  /** Awaited before the sign-in form is sent, to simulate a person who types slowly. */
  readonly beforeSignIn?: () => Promise<void>;
  /** Signs in at the first identity provider instead, in a browser that opens this URL. */
  readonly signInAt?: (url: string) => Promise<void>;
}

export type Approval = "approve" | "reject" | "never answer";

/** A chat message to all peers (`direct: false`) or to one. */
export interface Said {
  readonly from: string;
  readonly text: string;
  readonly direct: boolean;
}

const WORKSPACE: Workspace = { name: "demo", folders: ["src", "test"] };
/** As in VS Code, IntelliJ and Eclipse. */
const RESYNC_MS = 10_000;
/**
 * As in the IDEs: time between the leave message and closing the connection. If both arrive in one chunk, socket.io drops the
 * message, because its sender is gone.
 */
const LEAVE_GRACE_MS = 100;

/** One client, in at most one session, as host or as guest. Must be closed. */
export class Client {
  readonly name: string;
  readonly document = new Y.Doc();
  decide: (user: User) => Approval | Promise<Approval> = () => "approve";
  /** Users of the join requests that the host received. */
  readonly joinRequests: User[] = [];
  /** Peers in the order in which they were announced; never the client itself. */
  readonly joined: Peer[] = [];
  readonly left: Peer[] = [];
  readonly said: Said[] = [];
  /** Received `peer/info` messages: one, even after reconnects. */
  readonly infos: Peer[] = [];
  readonly inits: InitData[] = [];
  closedCount = 0;
  /** What the server has told the person, as editors show it. */
  readonly notices: string[] = [];
  reconnectCount = 0;
  /**
   * Each time at which a worker admitted the client to its session, on `performance.now()`. The package reports a reconnect
   * earlier, when there is a connection, which may still wait for a worker.
   */
  readonly servedMs: number[] = [];
  /** Each time at which the client lost its connection, on the same clock. */
  readonly lostMs: number[] = [];
  isServed = false;
  /** Its broadcasts, in order. */
  readonly spoken: string[] = [];
  /** When each was said, on the same clock. */
  readonly spokenMs: number[] = [];
  disconnected = false;
  /** Failures that the package does not handle: document updates for a peer that has just left. */
  readonly syncFailures: unknown[] = [];

  readonly #options: ClientOptions;
  #failSignIn: (why: unknown) => void = () => {};
  #socket: Socket | undefined;
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
      client: options.client ?? "ct-edge-test@1.0.0",
      fetch: (url, request) => this.#fetch(url, request),
      authenticationHandler: (token, metadata) => this.#signIn(token, metadata),
      transports: [
        withHeaders(this.#protocol.SocketIoTransportProvider, options.headers ?? {}, (transport) =>
          this.#watch(transport),
        ),
      ],
    } satisfies ConnectionProviderOptions);
  }

  get provider(): ConnectionProvider {
    return this.#provider;
  }

  /** The connection to the session; throws before `host` or `join`. */
  get connection(): ProtocolBroadcastConnection {
    if (this.#connection === undefined) throw new Error(`${this.name} is not in a session`);
    return this.#connection;
  }

  /** Its messages on the wire; throws before `host` or `join`. */
  get wire(): WireLog {
    if (this.#wire === undefined) throw new Error(`${this.name} is not in a session`);
    return this.#wire;
  }

  /** The own peer id; throws before the server has sent it. */
  get id(): string {
    const info = this.infos[0];
    if (info === undefined) throw new Error(`${this.name} has not received its peer id`);
    return info.id;
  }

  get text(): string {
    return this.document.getText("src/main.ts").toJSON();
  }

  async login(): Promise<void> {
    const failure = new Promise<never>((_resolve, reject) => {
      this.#failSignIn = reject;
    });
    await Promise.race([this.#provider.login({}), failure]);
  }

  /** Creates a session, after signing in if necessary; resolves with its id when the host is in it. */
  async host(): Promise<string> {
    if (this.#provider.authToken === undefined) await this.login();
    const { roomId, roomToken } = await this.#provider.createRoom({});
    await this.enterAsHost(roomToken);
    return roomId;
  }

  /** Connects to an existing session as its host. */
  async enterAsHost(roomToken: string): Promise<void> {
    this.#enter(await this.#provider.connect(roomToken), "host");
    await until(`${this.name} receives its peer id`, () => this.infos.length > 0);
  }

  /** Joins a session after the host's approval; resolves when the host's `peer/init` has arrived. */
  async join(sessionId: string, abortSignal?: AbortSignal): Promise<void> {
    if (this.#provider.authToken === undefined) await this.login();
    const { roomToken, host } = await this.#provider.joinRoom({
      roomId: sessionId,
      ...(abortSignal && { abortSignal }),
    });
    await this.enter(roomToken, host);
  }

  /** Connects to a session as a guest, with a room token. */
  async enter(roomToken: string, host: Peer): Promise<void> {
    this.#peers.set(host.id, host);
    this.#enter(await this.#provider.connect(roomToken, host), "guest");
    await until(`${this.name} receives its peer id`, () => this.infos.length > 0);
    await until(`${this.name} is initialized by the host`, () => this.inits.length > 0);
  }

  /** Sends a chat message to all peers (an encrypted broadcast). */
  async say(text: string): Promise<void> {
    this.spoken.push(text);
    this.spokenMs.push(performance.now());
    await chatOf(this.connection).sendMessage(text);
  }

  /** Sends a chat message to one peer (an encrypted notification). */
  async tell(peerId: string, text: string): Promise<void> {
    await chatOf(this.connection).sendDirectMessage(peerId, text);
  }

  /** Requests a file from a peer (an encrypted request); each client responds with its name and the path. */
  async read(peerId: string, path: string): Promise<string> {
    const file = await this.connection.fs.readFile(peerId, path);
    return new TextDecoder().decode(file.content);
  }

  write(line: string): void {
    const text = this.document.getText("src/main.ts");
    text.insert(text.length, `${line}\n`);
  }

  /** The durations, in ms, for which the client was disconnected since `sinceMs`; a disconnection that lasts is left out. */
  pausesSince(sinceMs: number): number[] {
    return this.lostMs
      .filter((lost) => lost >= sinceMs)
      .flatMap((lost) => {
        const back = this.servedMs.find((served) => served > lost);
        return back === undefined ? [] : [back - lost];
      });
  }

  /** Leaves the session; a host that leaves ends it. The client stays signed in. */
  async leave(): Promise<void> {
    await this.connection.room.leave();
    await delay(LEAVE_GRACE_MS);
    if (this.#connection) disposeConnection(this.#connection);
  }

  /** Closes all connections without leaving the session, like an IDE that is killed. */
  async close(): Promise<void> {
    if (this.#connection) disposeConnection(this.#connection);
    this.document.destroy();
    await this.#agent.destroy();
  }

  /** Whether it has changed from polling to a WebSocket, which stays open when its session moves. */
  get isOnWebSocket(): boolean {
    return this.#socket?.io.engine?.transport.name === "websocket";
  }

  #watch(transport: MessageTransport): void {
    // The field is private in the package.
    const socket = Reflect.get(transport, "socket") as Socket;
    // The package rejects this promise also when nothing waits for it, half a minute after a client was closed.
    const ignoreFailure = (): void => {
      const ready = Reflect.get(transport, "ready") as { readonly promise: Promise<void> };
      ready.promise.catch(() => {});
    };
    ignoreFailure();
    socket.on("disconnect", ignoreFailure);
    this.#wire = recordWire(socket);
    this.#socket = socket;
    socket.on("connect", () => {
      this.isServed = true;
      this.servedMs.push(performance.now());
    });
    socket.on("disconnect", () => {
      this.isServed = false;
      this.lostMs.push(performance.now());
    });
  }

  // --- behavior of the IDE ---

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
    connection.onError((message) => this.notices.push(message));
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
    // Messages decrypted after the connection was closed have no other handler, and the package would log errors.
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
      const guests = [...this.#peers.values()].filter(({ id }) => id !== peer.id);
      this.#peers.set(peer.id, peer);
      const data: InitData = {
        protocol: this.#protocol.VERSION,
        host: await until("the host has its peer id", () => this.infos[0]),
        guests,
        permissions: { readonly: false },
        capabilities: {},
        workspace: WORKSPACE,
      };
      // Nobody awaits this handler; it fails when the connection is lost meanwhile.
      await connection.peer.init(peer.id, data).catch((failure: unknown) => {
        this.syncFailures.push(failure);
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

  /** Submits the first form with a user name to the endpoint that the server names. */
  async #signIn(token: string, metadata: AuthMetadata): Promise<boolean> {
    const { signInAt } = this.#options;
    if (signInAt !== undefined) {
      const web = metadata.providers.find(({ type }) => type === "web");
      if (web === undefined) return false;
      // As IDEs do: the browser opens, and the client polls meanwhile.
      signInAt(`${this.#options.baseUrl}${web.endpoint}?token=${token}`).catch(this.#failSignIn);
      return true;
    }
    const form = metadata.providers.find(
      (provider) =>
        provider.type === "form" && provider.fields.some((field) => field.name === "user"),
    );
    if (form === undefined) return false;
    await this.#options.beforeSignIn?.();
    const base = this.#options.baseUrl.replace(/\/$/, "");
    const response = await this.#fetch(base + form.endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, user: this.name }),
    });
    return response.ok;
  }

  async #fetch(url: string, request: FetchRequestOptions = {}): Promise<FetchResponse> {
    const headers = { ...request.headers, ...this.#options.headers };
    const send = () => fetch(url, { ...request, headers, dispatcher: this.#agent });
    const retryMs = this.#options.retryRequestsMs ?? 0;
    if (retryMs === 0) return send();
    return until(
      `a response from ${url}`,
      async () => {
        const response = await send();
        return response.status === 503 ? undefined : response;
      },
      retryMs,
    );
  }
}

/**
 * Wraps the connection for the document provider. The provider does not await its calls, so a failure would be an unhandled
 * rejection, which IDEs log but which ends a test run; here it is passed to `report`.
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

/** The package's own transport with additional headers, as in clients with configurable headers. */
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
