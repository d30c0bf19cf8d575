/**
 * The buffers that sockets are read into. Reading into one buffer repeatedly saves an allocation; a large read
 * goes on to another socket without a copy, and its buffer is used again when the last write of it is done.
 */

/**
 * Shared by all sockets: the next read of any of them overwrites it, so whatever is kept of it is copied. Reads that do not
 * fill it are small, and copying them costs less than retaining their buffer.
 */
const SHARED = Buffer.allocUnsafeSlow(65_536);

/** Its first bytes, by their number: most reads are of few sizes, and a view costs as much as reading a line of a head. */
const BEGINNINGS: (Buffer | undefined)[] = new Array<Buffer | undefined>(2048).fill(undefined);

/** Of a pooled buffer. Twice as much as one read of Node's own: half the system calls for a large body. */
const POOLED_BYTES = 131_072;
/** A read of at least this many bytes is retained; the copy of a smaller one is cheaper than a buffer held for it. */
const MIN_RETAINED_BYTES = 16_384;
/**
 * Buffers that sockets and unfinished writes may hold at one time (32 MiB). Beyond that, because hundreds of readers are
 * slow, reads are copied: then memory grows with what is unsent, and not with buffers that are filled in part.
 */
const MAX_HELD = 256;
/** Unused buffers that are kept (4 MiB). */
const MAX_FREE = 32;

class PooledBuffer {
  readonly bytes = Buffer.allocUnsafeSlow(POOLED_BYTES);
  /** The socket that reads into it, and the unfinished writes of its bytes. */
  holders = 0;
  /** For the callback of a write. */
  readonly release = (): void => {
    if (--this.holders > 0) return;
    held--;
    if (free.length < MAX_FREE) free.push(this);
  };
}

const free: PooledBuffer[] = [];
let held = 0;

/** The pooled buffer whose bytes are being delivered now: only what is written until that returns can be retained. */
let delivering: PooledBuffer | undefined;

function takeBuffer(): PooledBuffer | undefined {
  if (held >= MAX_HELD) return undefined;
  const buffer = free.pop() ?? new PooledBuffer();
  buffer.holders = 1;
  held++;
  return buffer;
}

/** A chunk that a write may keep; `release` is to be called when the write is over, whether it succeeded or not. */
export interface Retained {
  readonly chunk: Buffer;
  /** Undefined: nothing has to be given back. */
  readonly release: (() => void) | undefined;
}

/**
 * What a write may keep of `chunk`: the chunk itself where its buffer is not read into before the write is over, else a copy.
 */
export function retain(chunk: Buffer): Retained {
  const { buffer } = chunk;
  if (delivering !== undefined && buffer === delivering.bytes.buffer) {
    if (chunk.length >= MIN_RETAINED_BYTES) {
      delivering.holders++;
      return { chunk, release: delivering.release };
    }
    return { chunk: Buffer.from(chunk), release: undefined };
  }
  return { chunk: buffer === SHARED.buffer ? Buffer.from(chunk) : chunk, release: undefined };
}

/** Buffers held by sockets and writes, and unused ones: for tests. */
export function bufferUse(): { readonly held: number; readonly free: number } {
  return { held, free: free.length };
}

function beginningOfShared(length: number): Buffer {
  const cached = BEGINNINGS[length];
  if (cached !== undefined) return cached;
  const bytes = SHARED.subarray(0, length);
  if (length < BEGINNINGS.length) BEGINNINGS[length] = bytes;
  return bytes;
}

/** The reads of one socket. It begins with the shared buffer and gets its own while its reads are large. */
export class SocketReads {
  #own: PooledBuffer | undefined;

  /** Where the next read goes. */
  get buffer(): Buffer {
    return this.#own?.bytes ?? SHARED;
  }

  /** The first `length` bytes of the buffer, to be delivered now; `end` follows. */
  begin(length: number): Buffer {
    const own = this.#own;
    delivering = own;
    return own === undefined ? beginningOfShared(length) : own.bytes.subarray(0, length);
  }

  /**
   * The delivery of `length` bytes is over: decides where the next read goes. `isPaused`: it may be long until then, so no
   * buffer is taken for it.
   */
  end(length: number, isPaused: boolean): void {
    const own = this.#own;
    delivering = undefined;
    if (own === undefined) {
      if (length === SHARED.length && !isPaused) this.#own = takeBuffer();
      return;
    }
    const needsBuffer = length >= MIN_RETAINED_BYTES && !isPaused;
    // No write holds it.
    if (needsBuffer && own.holders === 1) return;
    own.release();
    this.#own = needsBuffer ? takeBuffer() : undefined;
  }

  /** The socket is closed: nothing is read any more. */
  close(): void {
    this.#own?.release();
    this.#own = undefined;
  }
}
