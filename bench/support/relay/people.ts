/**
 * People in sessions of a real OCT server: signed in, in their session by the HTTP API, and connected by socket.io over a
 * WebSocket, made by hand because a client package would need several times the server's CPU time.
 */
import { connect, type Socket } from "node:net";
import {
  BroadcastMessage,
  Encoding,
  Encryption,
  NotificationMessage,
  VERSION,
} from "open-collaboration-protocol";
import { Agent, request } from "undici";
import {
  eventFrames,
  type FrameHandler,
  markIn,
  type ReadyFrame,
  readyFrame,
  ServerFrames,
  textFrame,
} from "./frames.ts";
import { type OpenSessions, PONG } from "./parts.ts";

export interface Person {
  readonly id: string;
  readonly socket: Socket;
  /** What it sends, ready-made. */
  readonly frame: ReadyFrame;
}

/** What the load does with what arrives; `person` is an index of the people. */
export interface Listener {
  /** `bytes` have a mark at `markAt`, and are valid until the call returns. */
  onMessage(person: number, bytes: Buffer, markAt: number): void;
  /** False: it has not answered, and the client does. */
  onPing(person: number): boolean;
  onLost(why: string): void;
}

const AT_ONCE = 4;
/** engine.io's packet type. */
const PING = 0x32;
/** Of all reads of all connections, one after the other. */
const READ_BUFFER = Buffer.allocUnsafeSlow(262_144);

/** Opens the sessions; the people of each stand side by side. */
export async function openSessions(options: OpenSessions, listener: Listener): Promise<Person[]> {
  const proxies = options.ports.map((port) => ({
    port,
    api: createApi(`http://127.0.0.1:${port}`),
  }));
  const people: Person[][] = [];
  let next = 0;
  const openNext = async (): Promise<void> => {
    while (next < options.sessions) {
      const session = next++;
      const proxy = proxies[session % proxies.length] as Proxy;
      people[session] = await openSession(proxy, options, session * options.people, listener);
    }
  };
  try {
    for (const { api } of proxies) await api.signIn();
    await Promise.all(Array.from({ length: AT_ONCE }, openNext));
  } finally {
    for (const { api } of proxies) await api.close();
  }
  return people.flat();
}

interface Proxy {
  readonly port: number;
  readonly api: Api;
}

async function openSession(
  { port, api }: Proxy,
  options: OpenSessions,
  first: number,
  listener: Listener,
): Promise<Person[]> {
  const created = await api.create();
  const entered: Client[] = [];
  const enter = async (roomToken: string): Promise<void> => {
    const client = new Client(first + entered.length, listener);
    await client.enter(port, { roomToken, publicKey: options.publicKey });
    entered.push(client);
  };
  await enter(created.roomToken);
  while (entered.length < options.people) await enter(await api.join(created.roomId));
  return await Promise.all(
    entered.map(async ({ id, socket }, seat) => {
      const others = entered.map((other) => other.id).filter((other) => other !== id);
      // In pairs: 0 and 1, 2 and 3, and so on.
      const partner = entered[seat ^ 1]?.id ?? "";
      const isBroadcast = options.frames === "broadcast";
      const message = isBroadcast
        ? BroadcastMessage.create("edit", "", [])
        : NotificationMessage.create("edit", "", partner, []);
      const symmetricKey = { symmetricKey: await Encryption.generateSymKey(), cache: {} };
      const targets = isBroadcast ? others : [partner];
      const frame = await readyFrame(message, {
        targets,
        publicKey: options.publicKey,
        symmetricKey,
      });
      return { id, socket, frame };
    }),
  );
}

// --- the HTTP API ---

interface Api {
  signIn(): Promise<void>;
  create(): Promise<{ roomId: string; roomToken: string }>;
  /** Resolves with the room token when the host has agreed. */
  join(roomId: string): Promise<string>;
  close(): Promise<void>;
}

function createApi(url: string): Api {
  const agent = new Agent();
  let jwt: string | undefined;

  async function post<T>(path: string, form?: unknown): Promise<T> {
    const response = await request(url + path, {
      method: "POST",
      dispatcher: agent,
      headers: {
        ...(jwt !== undefined && { "x-oct-jwt": jwt }),
        ...(form !== undefined && { "content-type": "application/json" }),
      },
      ...(form !== undefined && { body: JSON.stringify(form) }),
    });
    const text = await response.body.text();
    if (response.statusCode > 204) throw new Error(`${path}: ${response.statusCode} ${text}`);
    return (text.startsWith("{") ? JSON.parse(text) : text) as T;
  }

  return {
    async signIn() {
      const { pollToken } = await post<{ pollToken: string }>("/api/login/initial");
      await post("/api/login/simple", { token: pollToken, user: "Bench" });
      const { loginToken } = await post<{ loginToken: string }>(`/api/login/poll/${pollToken}`);
      jwt = loginToken;
    },
    create: () => post("/api/session/create"),
    async join(roomId) {
      const { pollToken } = await post<{ pollToken: string }>(`/api/session/join/${roomId}`);
      for (;;) {
        // Until then each poll reports that the host was asked.
        const { roomToken } = await post<{ roomToken?: string }>(`/api/session/poll/${pollToken}`);
        if (roomToken !== undefined) return roomToken;
      }
    },
    close: () => agent.close(),
  };
}

// --- socket.io over a WebSocket ---

const UPGRADE = [
  "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
  "Host: bench.example.com",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

class Client implements FrameHandler {
  readonly #person: number;
  readonly #listener: Listener;
  #socket: Socket | undefined;
  #id = "";
  #onEntered = (): void => {};

  constructor(person: number, listener: Listener) {
    this.#person = person;
    this.#listener = listener;
  }

  get id(): string {
    return this.#id;
  }

  get socket(): Socket {
    if (this.#socket === undefined) throw new Error("not connected");
    return this.#socket;
  }

  /** Resolves when the server has told it who it is. */
  async enter(port: number, own: { roomToken: string; publicKey: string }): Promise<void> {
    const fields = [
      `x-oct-jwt: ${own.roomToken}`,
      `x-oct-public-key: ${own.publicKey}`,
      "x-oct-client: bench@1.0.0",
      "x-oct-compression: gzip",
    ];
    const entered = new Promise<void>((resolve) => {
      this.#onEntered = resolve;
    });
    this.#socket = openWebSocket(port, this, {
      fields,
      onLost: (why) => this.#listener.onLost(why),
    });
    await entered;
  }

  onText(text: Buffer): void {
    const [type, kind] = text.toString("latin1", 0, 2);
    if (type === "0") this.socket.write(textFrame("40"));
    else if (type === "2" && !this.#listener.onPing(this.#person)) this.socket.write(PONG);
    else if (type === "4" && (kind === "1" || kind === "4")) {
      this.#listener.onLost(`the server has refused: ${text.toString()}`);
    }
  }

  onBinary(bytes: Buffer): void {
    const markAt = markIn(bytes);
    if (markAt >= 0) this.#listener.onMessage(this.#person, bytes, markAt);
    else this.#onPlain(Encoding.decode(bytes) as unknown as PlainMessage);
  }

  #onPlain({ kind, id, content }: PlainMessage): void {
    if (content.method === "peer/info") {
      this.#id = content.params?.[0]?.id ?? "";
      this.#onEntered();
    } else if (kind === "request" && content.method === "peer/join") {
      this.socket.write(eventFrames(Encoding.encode(agreementTo(id) as never)));
    }
  }
}

/** A message of the server itself. */
interface PlainMessage {
  readonly kind: string;
  readonly id?: string;
  readonly content: { readonly method?: string; readonly params?: readonly { id?: string }[] };
}

/** The host's response to the request of a guest to join. */
function agreementTo(id: string | undefined) {
  return {
    version: VERSION,
    kind: "response",
    id,
    metadata: { encryption: { keys: [] }, compression: { algorithm: "none" } },
    content: { response: { workspace: { name: "bench", folders: ["src"] } } },
  };
}

/** Opens engine.io connections without a person: the first frame of each has arrived. */
export async function openIdle(
  port: number,
  count: number,
  onLost: (why: string) => void,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  const openNext = async (): Promise<void> => {
    await new Promise<void>((resolve) => {
      const socket = openWebSocket(
        port,
        {
          onText: (text) => {
            if (text[0] === PING) socket.write(PONG);
            else resolve();
          },
          onBinary() {},
        },
        { fields: [], onLost },
      );
      sockets.push(socket);
    });
    if (sockets.length < count) await openNext();
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, openNext));
  return sockets;
}

/** Calls `handler` for all frames that follow the server's agreement to the upgrade. */
function openWebSocket(
  port: number,
  handler: FrameHandler,
  { fields, onLost }: { fields: readonly string[]; onLost: (why: string) => void },
): Socket {
  const frames = new ServerFrames(handler);
  let head: string | undefined = "";
  const read = (bytes: Buffer): void => {
    if (head === undefined) {
      frames.push(bytes);
      return;
    }
    head += bytes.toString("latin1");
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    if (!head.startsWith("HTTP/1.1 101 ")) onLost(`no upgrade: ${head.slice(0, 200)}`);
    const rest = Buffer.from(head.slice(end + 4), "latin1");
    head = undefined;
    frames.push(rest);
  };
  const socket = connect({
    port,
    host: "127.0.0.1",
    noDelay: true,
    onread: {
      buffer: READ_BUFFER,
      callback: (size) => {
        read(READ_BUFFER.subarray(0, size));
        return true;
      },
    },
  });
  socket.on("error", ({ message }) => onLost(message));
  socket.on("close", () => onLost("a connection was closed"));
  socket.write(`${[...UPGRADE, ...fields].join("\r\n")}\r\n\r\n`);
  return socket;
}
