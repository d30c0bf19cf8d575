/**
 * A participant that speaks the protocol by hand over a real socket.io client: for what unmodified clients never do
 * (garbage, false claims, floods), and for checking messages as they are on the wire. Contents are made-up bytes: a worker
 * cannot tell them from encrypted ones.
 */
import { generateKeyPairSync } from "node:crypto";
import { decode, encode } from "@msgpack/msgpack";
import { io, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client";
import { until } from "../../support/until.ts";

/** Any of the protocol's messages, decoded. */
export interface WireMessage {
  readonly kind: string;
  readonly version: string;
  readonly id?: number | string;
  readonly origin?: string;
  readonly target?: string;
  readonly metadata: {
    readonly encryption: { readonly keys: readonly { target: string; key: string; iv: string }[] };
    readonly compression: { readonly algorithm: string };
  };
  readonly content: unknown;
}

export interface RawPeerOptions {
  /** Where the worker or edge is; may have a path. */
  readonly url: string;
  readonly roomToken: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent in the CONNECT instead of the token and the other headers of the handshake, as by a browser's WebSocket. */
  readonly payload?: Readonly<Record<string, unknown>>;
  readonly transports?: readonly ("polling" | "websocket")[];
  readonly options?: Partial<ManagerOptions & SocketOptions>;
}

let publicKey: string | undefined;

/** A valid public key, base64 SPKI; the same for all raw peers. */
export function rawPublicKey(): string {
  publicKey ??= generateKeyPairSync("rsa", { modulusLength: 2048 })
    .publicKey.export({ format: "der", type: "spki" })
    .toString("base64");
  return publicKey;
}

export class RawPeer {
  readonly socket: Socket;
  /** Every message, in the order of arrival. */
  readonly received: WireMessage[] = [];
  /** Why the connection ended, each time. */
  readonly disconnects: string[] = [];
  connects = 0;

  constructor({ url, roomToken, headers, payload, transports, options }: RawPeerOptions) {
    const base = new URL(url);
    const path = `${base.pathname.replace(/\/$/, "")}/socket.io`;
    const introduction = {
      "x-oct-jwt": roomToken,
      "x-oct-public-key": rawPublicKey(),
      "x-oct-client": "raw@1.0.0",
      "x-oct-compression": "gzip",
    };
    this.socket = io(url, {
      path,
      forceNew: true,
      ...(payload === undefined
        ? { extraHeaders: { ...introduction, ...headers } }
        : { auth: { ...introduction, ...payload }, extraHeaders: { ...headers } }),
      ...(transports && { transports: [...transports] }),
      ...options,
    });
    this.socket.on("connect", () => this.connects++);
    this.socket.on("disconnect", (reason) => this.disconnects.push(reason));
    this.socket.on("message", (bytes: Uint8Array) => {
      this.received.push(decode(bytes) as WireMessage);
    });
  }

  /** Its own peer id, from the worker's peer info. */
  get id(): string {
    const [peer] = this.plain("peer/info")[0] as [{ id: string }];
    return peer.id;
  }

  /** Resolves when the peer has its peer info. */
  async ready(): Promise<this> {
    await until("the raw peer gets its peer info", () => this.plain("peer/info").length > 0);
    return this;
  }

  /** Params of the plain messages with this method, in order. */
  plain(method: string): unknown[][] {
    return this.received.flatMap(({ content }) => {
      const { method: found, params } = (content ?? {}) as { method?: string; params?: unknown[] };
      return found === method ? [params ?? []] : [];
    });
  }

  /** Messages of this kind with made-up encrypted contents, as text. */
  contents(kind: string): string[] {
    return this.received.flatMap((message) =>
      message.kind === kind && message.content instanceof Uint8Array
        ? [Buffer.from(message.content).toString()]
        : [],
    );
  }

  /** Sends any message; missing fields get valid values. */
  send(message: Record<string, unknown>): void {
    this.sendBytes(
      encode({
        version: "0.3.1",
        metadata: { encryption: { keys: [] }, compression: { algorithm: "none" } },
        ...message,
      }),
    );
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.send(Buffer.from(bytes));
  }

  broadcast(text: string, targets: readonly string[]): void {
    this.send({ kind: "broadcast", origin: "", ...sealed(text, targets) });
  }

  notify(target: string, text: string): void {
    this.send({ kind: "notification", origin: "", target, ...sealed(text, [target]) });
  }

  request(target: string, id: number | string, text: string): void {
    this.send({ kind: "request", id, origin: "", target, ...sealed(text, [target]) });
  }

  /** Responds to a request. */
  respond(request: WireMessage, text: string): void {
    this.send({ kind: "response", id: request.id, ...sealed(text, [request.origin ?? ""]) });
  }

  /** As a host: accepts or rejects the guest of `request`. */
  decide(request: WireMessage, accept: boolean): void {
    const response = accept ? { workspace: { name: "demo", folders: ["src"] } } : null;
    this.send({ kind: "response", id: request.id, content: { response } });
  }

  leave(): void {
    this.send({ kind: "notification", origin: "", target: "", content: { method: "room/leave" } });
  }

  close(): void {
    this.socket.close();
  }
}

/** Content as bytes, and a made-up wrapped key for each receiver. */
export function sealed(text: string, targets: readonly string[]): Record<string, unknown> {
  const keys = targets.map((target) => ({ target, key: `key for ${target}`, iv: "iv" }));
  return {
    metadata: { encryption: { keys }, compression: { algorithm: "gzip" } },
    content: Buffer.from(text),
  };
}
