/** Raw TCP and TLS peers: they send what no HTTP client would, and record what came and how the connection ended. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { connect, type NetConnectOpts, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { atEnd } from "./at-end.ts";

/** Far more than anything here takes, also on a loaded machine. */
const WAIT_MS = 15_000;

/** A socket that records what came, as latin1 text, and how it ended. */
export class RawSocket {
  readonly socket: Socket;
  text = "";
  ended = false;
  closed = false;
  error: string | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => {
      this.text += bytes.toString("latin1");
      this.#changed();
    });
    socket.on("end", () => {
      this.ended = true;
      this.#changed();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? error.message;
    });
    socket.on("close", () => {
      this.closed = true;
      this.#changed();
    });
  }

  write(text: string | Buffer): void {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
  }

  /** Takes one head out of the text, without its blank line; undefined when none is complete. */
  takeHead(): string | undefined {
    const end = this.text.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const head = this.text.slice(0, end);
    this.text = this.text.slice(end + 4);
    return head;
  }

  async head(): Promise<string> {
    await this.#until("a head", () => this.text.includes("\r\n\r\n"));
    return this.takeHead() ?? "";
  }

  /** Waits until the text has `part`. */
  async has(part: string): Promise<void> {
    await this.#until(`text ${JSON.stringify(part)}`, () => this.text.includes(part));
  }

  async end(): Promise<void> {
    await this.#until("the end of a connection", () => this.ended || this.closed);
  }

  async close(): Promise<void> {
    await this.#until("the close of a connection", () => this.closed);
  }

  /** All that came, when the connection has closed. */
  async all(): Promise<string> {
    await this.close();
    return this.text;
  }

  /** Checks `holds` after each event of the socket. */
  async #until(what: string, holds: () => boolean): Promise<void> {
    if (holds()) return;
    await new Promise<void>((resolve, reject) => {
      const settle = (act: () => void): void => {
        this.#waiting.delete(check);
        clearTimeout(timer);
        act();
      };
      const check = (): void => {
        if (holds()) settle(resolve);
      };
      const late = (): Error => new Error(`${what} did not come: ${this.text.slice(0, 500)}`);
      const timer = setTimeout(() => settle(() => reject(late())), WAIT_MS);
      this.#waiting.add(check);
    });
  }

  #changed(): void {
    for (const check of this.#waiting) check();
  }
}

/** A port of 127.0.0.1 unless another host is named; with `tls` over TLS, where any certificate will do. */
export type RawTarget =
  | number
  | {
      readonly port?: number | undefined;
      readonly host?: string;
      /** Of a Unix socket, instead of a port. */
      readonly path?: string;
      readonly localAddress?: string | undefined;
      readonly localPort?: number | undefined;
      readonly allowHalfOpen?: boolean;
      readonly tls?: ConnectionOptions | undefined;
    };

/** A connected socket that reads nothing yet and is closed at the end. */
export async function connectSocket(target: RawTarget): Promise<Socket> {
  const { tls, ...at } = typeof target === "number" ? { port: target, tls: undefined } : target;
  const tcp = connect({ host: "127.0.0.1", ...at } as NetConnectOpts);
  const socket =
    tls === undefined ? tcp : connectTls({ rejectUnauthorized: false, ...tls, socket: tcp });
  socket.on("error", () => {});
  atEnd(() => void socket.destroy());
  await once(socket, tls === undefined ? "connect" : "secureConnect");
  return socket;
}

export async function connectRaw(target: RawTarget): Promise<RawSocket> {
  return new RawSocket(await connectSocket(target));
}

/** Counts the connections that this process begins from now on, whether or not they are accepted. */
export function watchConnects(): { readonly count: number } {
  const seen = { count: 0 };
  const onSocket = (): void => void seen.count++;
  subscribe("net.client.socket", onSocket);
  atEnd(() => unsubscribe("net.client.socket", onSocket));
  return seen;
}

/** Sends `bytes` on a new connection, and resolves with all that came until its close. */
export async function exchange(target: RawTarget, bytes: string | Buffer): Promise<string> {
  const raw = await connectRaw(target);
  raw.write(bytes);
  return raw.all();
}
