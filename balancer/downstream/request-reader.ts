/**
 * Parses the requests of one client's connection: a head, its body, the next head; and buffers what comes while a request
 * is served (pipelining).
 */
import { BodyReader } from "../http1/framing.ts";
import type { RequestHead } from "../http1/head.ts";
import { HeadCollector } from "../http1/head-collector.ts";
import { isForwardableTrailer } from "../http1/headers.ts";
import type { HttpLimits } from "../http1/limits.ts";
import { parseRequestHead } from "../http1/request-head.ts";
import type { Connection, Piece } from "../transport/transport.ts";

export class RequestReader {
  readonly #limits: HttpLimits;
  readonly #secure: boolean;
  readonly #collector: HeadCollector;
  #head: RequestHead | undefined;
  #body: BodyReader | undefined;

  constructor(limits: HttpLimits, secure: boolean) {
    this.#limits = limits;
    this.#secure = secure;
    this.#collector = new HeadCollector("downstream", limits);
  }

  /** Whether bytes of an incomplete head have come. */
  get isInHead(): boolean {
    return this.#collector.started;
  }

  /** Of the present request; undefined before the first one and when it could not be parsed. */
  get head(): RequestHead | undefined {
    return this.#head;
  }

  /** Whether the present request has a body. */
  get hasBody(): boolean {
    return this.#body !== undefined;
  }

  get isBodyComplete(): boolean {
    return this.#body === undefined || this.#body.done;
  }

  /** Returns where the head ends, which is `head` then, or -1 when more must come. Throws `HttpSyntaxError`. */
  readHead(bytes: Buffer, at: number): number {
    const end = this.#collector.push(bytes, at);
    if (end < 0) return end;
    const collector = this.#collector;
    const head = parseRequestHead(
      collector.take(),
      this.#limits,
      this.#secure,
      bytes,
      collector.textStart,
    );
    this.#head = head;
    this.#body = head.framing.kind === "none" ? undefined : this.#bodyReader(head);
    return end;
  }

  /** Appends parts of the body to `chunks`; returns where it ends or all was read. Throws `HttpSyntaxError`. */
  readBody(bytes: Buffer, at: number, chunks: Piece[]): number {
    return this.#body?.read(bytes, at, chunks) ?? bytes.length;
  }

  /** Both the request and its response are complete. */
  endRequest(): void {
    this.#body = undefined;
  }

  /** The head of a request cannot be read. Returns its first line as far as it came, for the log. */
  refuseHead(): string {
    this.#head = undefined;
    return this.#collector.firstLine();
  }

  /** No request follows. */
  forgetHead(): void {
    this.#head = undefined;
  }

  #bodyReader(head: RequestHead): BodyReader {
    return new BodyReader(head.framing, {
      sender: "downstream",
      keepChunks: true,
      mayPass: isForwardableTrailer,
      limits: this.#limits,
    });
  }
}

/** Bytes of the next requests that are buffered while one is served. */
const MAX_BUFFERED_BYTES = 65_536;

/** Bytes that came before their turn. */
export class PipelinedBytes {
  readonly #connection: Connection;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  get isFull(): boolean {
    return this.#length >= MAX_BUFFERED_BYTES;
  }

  /** Copies them. Pauses the connection only when there is much: a paused connection does not notice an abort. */
  push(bytes: Buffer): void {
    this.#chunks.push(Buffer.from(bytes));
    this.#length += bytes.length;
    if (this.isFull) this.#connection.pause();
  }

  /** All of them; nothing is left. */
  take(): Buffer {
    const chunks = this.#chunks;
    const [first] = chunks;
    this.#chunks = [];
    this.#length = 0;
    return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
  }
}
