/**
 * The body of a request as far as it came, so that it can be sent again. In one piece, whatever pieces it came in: one of
 * a few bytes would cost a hundred.
 */
import type { Piece } from "../transport/transport.ts";

export class ReplayBuffer {
  #bytes: Buffer = NOTHING;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Copies them. */
  append(pieces: readonly Piece[]): void {
    let end = this.#length;
    for (const piece of pieces) end += piece.length;
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    for (const piece of pieces) {
      if (typeof piece === "string") this.#bytes.write(piece, this.#length, "latin1");
      else piece.copy(this.#bytes, this.#length);
      this.#length += piece.length;
    }
  }

  /** All of it; stays as it is when more comes. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}

const NOTHING = Buffer.alloc(0);
