/**
 * The body of a request as far as it has come: the replay buffer from which the request is sent, and sent again.
 */
import type { Piece } from "../transport/transport.ts";

/** Longest body that is kept once it has been sent. */
const MAX_REPLAY_BYTES = 65_536;

const NOTHING: Buffer = Buffer.alloc(0);

export class RequestBody {
  /** All of it in one buffer, whatever chunks it came in: a chunk of a few bytes would cost a hundred. */
  #bytes: Buffer = NOTHING;
  #length = 0;
  #isReplayable = true;
  /** Whether all of it has come. */
  isComplete: boolean;

  /** That of all requests without a body. */
  static readonly NONE = new RequestBody(true);

  constructor(isComplete = false) {
    this.isComplete = isComplete;
  }

  /** Whether all that has come is still here; false for good once too much was sent. */
  get isReplayable(): boolean {
    return this.#isReplayable;
  }

  get isTooLong(): boolean {
    return this.#length > MAX_REPLAY_BYTES;
  }

  /** What has come so far; stays as it is when more comes. */
  get bytes(): Buffer {
    return this.#length === 0 ? NOTHING : this.#bytes.subarray(0, this.#length);
  }

  /** Copies the chunks. `isSent`: they are sent at the same time, and need not stay when they are too many. */
  append(chunks: readonly Piece[], isSent: boolean): void {
    if (!this.#isReplayable) return;
    let end = this.#length;
    for (const chunk of chunks) end += chunk.length;
    if (isSent && end > MAX_REPLAY_BYTES) {
      this.#drop();
      return;
    }
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    for (const chunk of chunks) {
      if (typeof chunk === "string") this.#bytes.write(chunk, this.#length, "latin1");
      else chunk.copy(this.#bytes, this.#length);
      this.#length += chunk.length;
    }
  }

  /** `bytes` have been sent to a worker. */
  onSent(): void {
    if (this.isTooLong) this.#drop();
  }

  #drop(): void {
    this.#isReplayable = false;
    this.#bytes = NOTHING;
    this.#length = 0;
  }
}
