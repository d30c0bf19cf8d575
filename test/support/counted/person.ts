/**
 * A person in a session whose messages are counted: socket.io's own client, and the protocol's messages made by hand, because
 * the client package decrypts concurrently and so changes the order. Runs in Node and, bundled, in a browser's page.
 */
import { decode, encode } from "@msgpack/msgpack";
import { io, type Socket } from "socket.io-client";
import { numberedContent, readNumbered } from "./numbered-content.ts";
import { Tally } from "./tally.ts";

export type Transports = readonly ("polling" | "websocket")[];

export interface PersonOptions {
  /** Of the edge, without a path. */
  readonly url: string;
  readonly roomId: string;
  readonly roomToken: string;
  readonly publicKey: string;
  readonly transports: Transports;
  /** A browser adds no headers to a WebSocket, so the credentials are also in the CONNECT. */
  readonly isBrowser: boolean;
}

export interface Arrival {
  readonly atMs: number;
  readonly sentMs: number;
}

export class Person {
  /** Of all people. */
  readonly index: number;
  readonly session: number;
  readonly isPolling: boolean;
  /** When each of its messages was sent, by its number. */
  readonly sentMs: number[] = [];
  /** By the sender's index. */
  readonly tallies = new Map<number, Tally>();
  arrivals: Arrival[] = [];
  disconnects = 0;
  damaged = 0;
  /** Messages of the server itself. */
  announcements = 0;
  /** In its session. */
  others: readonly Person[] = [];
  id = "";
  readonly #socket: Socket;
  readonly #people: readonly Person[];
  #onEntered = (): void => {};

  /** `people`: all, by their indexes. */
  constructor(index: number, session: number, people: readonly Person[], options: PersonOptions) {
    this.index = index;
    this.session = session;
    this.isPolling = !options.transports.includes("websocket");
    this.#people = people;
    this.#socket = connect(options);
    this.#socket.on("disconnect", () => this.disconnects++);
    this.#socket.on("message", (data: ArrayBuffer | Uint8Array) => {
      this.#receive(decode(new Uint8Array(data)) as Message);
    });
  }

  /** Messages that the others have sent to it so far. */
  get expected(): number {
    return this.others.reduce((sum, { sentMs }) => sum + sentMs.length, 0);
  }

  /** Those of them that have not arrived. */
  get missing(): number {
    return this.others.reduce(
      (sum, { index, sentMs }) =>
        sum + (this.tallies.get(index)?.missingOf(sentMs.length) ?? sentMs.length),
      0,
    );
  }

  get isConnected(): boolean {
    return this.#socket.connected;
  }

  get isOnWebSocket(): boolean {
    return this.isConnected && this.#socket.io.engine.transport.name === "websocket";
  }

  /** Resolves when the server has sent its peer info. */
  async entered(): Promise<void> {
    if (this.id !== "") return;
    await new Promise<void>((resolve) => {
      this.#onEntered = resolve;
    });
  }

  /** Sends the next message to the others of the session. */
  say(): void {
    const number = this.sentMs.length;
    this.sentMs.push(performance.now());
    const keys = this.others.map(({ id }) => ({ target: id, key: WRAPPED_KEY, iv: "iv" }));
    this.#send({
      kind: "broadcast",
      origin: "",
      metadata: { encryption: { keys }, compression: { algorithm: "none" } },
      content: numberedContent(this.index, number),
    });
  }

  close(): void {
    this.#socket.close();
  }

  #receive({ kind, id, origin, content }: Message): void {
    if (content instanceof Uint8Array) {
      this.#count(content, origin);
      return;
    }
    this.announcements++;
    if (content.method === "peer/info") {
      this.id = content.params?.[0]?.id ?? "";
      this.#onEntered();
    } else if (kind === "request" && content.method === "peer/join") {
      const response = { workspace: { name: "counted", folders: ["src"] } };
      this.#send({ kind: "response", id, metadata: PLAIN, content: { response } });
    }
  }

  #count(content: Uint8Array, origin: string | undefined): void {
    const { sender, number, isIntact } = readNumbered(content);
    const from = this.#people[sender];
    const sentMs = from?.sentMs[number];
    if (from === undefined || sentMs === undefined || from.id !== origin || !isIntact) {
      this.damaged++;
      return;
    }
    const tally = this.tallies.get(sender) ?? new Tally();
    this.tallies.set(sender, tally);
    tally.add(number);
    this.arrivals.push({ atMs: performance.now(), sentMs });
  }

  #send(message: Readonly<Record<string, unknown>>): void {
    this.#socket.send(encode({ version: "0.3.1", ...message }));
  }
}

/** As long as a content's key that is encrypted for one receiver. */
const WRAPPED_KEY = "k".repeat(344);
const PLAIN = { encryption: { keys: [] }, compression: { algorithm: "none" } };

interface Message {
  readonly kind: string;
  readonly id?: number | string;
  readonly origin?: string;
  readonly content:
    | Uint8Array
    | { readonly method?: string; readonly params?: readonly { readonly id?: string }[] };
}

function connect(options: PersonOptions): Socket {
  const { url, roomId, transports, isBrowser } = options;
  const credentials = {
    "x-oct-jwt": options.roomToken,
    "x-oct-public-key": options.publicKey,
    "x-oct-client": "counted@1.0.0",
    "x-oct-compression": "gzip",
  };
  // The path names the session for the balancer where no header does.
  const isRouted = !isBrowser || transports.includes("polling");
  return io(url, {
    path: isRouted ? "/socket.io" : `/k/${roomId}/socket.io`,
    transports: [...transports],
    extraHeaders: credentials,
    ...(isBrowser && { auth: credentials }),
    forceNew: true,
  });
}
