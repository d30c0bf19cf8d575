/**
 * A stream of a link as the socket that the HTTP server takes for a client's connection.
 */
import { Duplex } from "node:stream";
import { type LinkStream, MAX_QUEUED_BYTES, type StreamHandler } from "../../shared/link/stream.ts";

/** Both ends of the link's own connection, as `node:net` writes them. */
export interface Ends {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}

type Callback = (error?: Error | null) => void;

interface Waiting {
  readonly chunk: Buffer | string;
  readonly encoding: BufferEncoding;
}

export class LinkSocket extends Duplex implements StreamHandler {
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  readonly #stream: LinkStream;
  /** Of the present write. */
  #written: Callback | undefined;
  /** What the stream has not taken of it. */
  #unsent: readonly (Buffer | string)[] = [];

  constructor(stream: LinkStream, ends: Ends) {
    super({ decodeStrings: false });
    this.remoteAddress = ends.remoteAddress;
    this.remotePort = ends.remotePort;
    this.localAddress = ends.localAddress;
    this.localPort = ends.localPort;
    this.#stream = stream;
    stream.handler = this;
  }

  /**
   * Begins a write of `size` bytes that leaves at once, behind all earlier ones: they go to `out` at the index that this
   * returns. -1: it cannot leave now; write it as usual.
   */
  reserve(size: number): number {
    if (this.writableLength > 0 || this.writableEnded || this.destroyed) return -1;
    return this.#stream.reserve(size);
  }

  /** Bytes written that would be lost with this process. */
  get unsentBytes(): number {
    return this.writableLength + this.#stream.unsentBytes;
  }

  get out(): Buffer {
    return this.#stream.out;
  }

  // --- Duplex ---

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: Callback): void {
    this.#send([asChunk({ chunk, encoding })], callback);
  }

  override _writev(waiting: Waiting[], callback: Callback): void {
    this.#send(waiting.map(asChunk), callback);
  }

  #send(chunks: readonly (Buffer | string)[], callback: Callback): void {
    this.#written = callback;
    this.#unsent = chunks;
    this.#sendMore();
  }

  /**
   * The stream copies what cannot leave at once, so it gets no more than it may queue: receivers of a message share a large
   * content until it leaves.
   */
  #sendMore(): void {
    for (let next = this.#takeUnsent(); next !== undefined; next = this.#takeUnsent()) {
      // `onDrain` follows.
      if (!this.#stream.write(next)) return;
    }
    this.#finishWrite();
  }

  /** The next chunks to send, `MAX_QUEUED_BYTES` at most; undefined: all are sent. */
  #takeUnsent(): readonly (Buffer | string)[] | undefined {
    const chunks = this.#unsent;
    const [first] = chunks;
    if (first === undefined) return undefined;
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    if (bytes <= MAX_QUEUED_BYTES) {
      this.#unsent = [];
      return chunks;
    }
    const rest = first.slice(MAX_QUEUED_BYTES);
    this.#unsent = rest.length > 0 ? [rest, ...chunks.slice(1)] : chunks.slice(1);
    return [first.slice(0, MAX_QUEUED_BYTES)];
  }

  #finishWrite(error?: Error): void {
    const callback = this.#written;
    this.#written = undefined;
    this.#unsent = [];
    callback?.(error);
  }

  override _final(callback: Callback): void {
    this.#stream.end();
    // Afterwards this socket may be destroyed, and what is queued with it.
    this.#stream.whenSent(callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (error === null) this.#stream.destroy();
    else this.#stream.reset();
    if (this.#written !== undefined) this.#finishWrite(error ?? new Error("the socket is closed"));
    callback(error);
  }

  // --- StreamHandler ---

  onData(bytes: Buffer): void {
    // Not copied: a worker's links are read by `node:net`, into buffers that nothing overwrites.
    if (!this.push(bytes)) this.#stream.pause();
  }

  onEnd(): void {
    this.push(null);
  }

  onDrain(): void {
    this.#sendMore();
  }

  onClose(error: Error | undefined): void {
    // As with a connection: what came before an orderly end is read first.
    if (error === undefined && this.readableLength > 0) this.once("end", () => this.destroy());
    else this.destroy(error);
  }
}

/** Latin1 text stays text: it is copied into the link's buffer either way. */
function asChunk({ chunk, encoding }: Waiting): Buffer | string {
  if (typeof chunk !== "string") return chunk;
  return encoding === "latin1" || encoding === "binary" ? chunk : Buffer.from(chunk, encoding);
}
