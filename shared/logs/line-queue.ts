/**
 * Lines that wait to be written to a file, and are taken in batches. They are kept as bytes: the garbage collector would move
 * the text of thousands of waiting lines from one place to another.
 */

/** Most UTF-8 bytes per UTF-16 unit. */
const MAX_BYTES_PER_CHAR = 3;
const MIN_BUFFER_BYTES = 16_384;
/** A buffer that a burst has made larger is not kept. */
const MAX_KEPT_BYTES = 1024 * 1024;

const LF = 0x0a;
const NOTHING: Buffer = Buffer.alloc(0);

export class LineQueue {
  /** A failed write may have left a partial line, so the next batch starts with a line feed. */
  isTorn = false;
  /** One byte is kept free in front, for that line feed. */
  #buffer: Buffer = NOTHING;
  #end = 1;
  /** Where each line ends. */
  #ends: number[] = [];
  /** The buffer of the batch before, which is written by now. */
  #spare: Buffer = NOTHING;

  get lines(): number {
    return this.#ends.length;
  }

  get bytes(): number {
    return this.#end - 1;
  }

  get firstBytes(): number {
    return (this.#ends[0] ?? 1) - 1;
  }

  push(line: string): void {
    const needed = this.#end + line.length * MAX_BYTES_PER_CHAR;
    if (needed > this.#buffer.length) this.#grow(needed);
    this.#end += this.#buffer.write(line, this.#end);
    this.#ends.push(this.#end);
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(
      Math.max(MIN_BUFFER_BYTES, this.#buffer.length * 2, needed),
    );
    this.#buffer.copy(larger, 0, 0, this.#end);
    this.#buffer = larger;
  }

  clear(): void {
    this.#end = 1;
    this.#ends = [];
  }

  /**
   * Removes the next lines: as many as fit into `maxBytes`, but at least one. The bytes are valid until lines are pushed
   * after the next call: one batch is written at a time.
   */
  takeBatch(maxBytes: number): { readonly bytes: Buffer; readonly lines: number } {
    const first = this.isTorn ? 0 : 1;
    const lines = this.#countFitting(maxBytes, first);
    const end = this.#ends[lines - 1] ?? 1;
    const bytes = this.#buffer.subarray(first, end);
    if (first === 0) bytes[0] = LF;
    this.isTorn = false;
    this.#keepFrom(end, lines);
    return { bytes, lines };
  }

  #countFitting(maxBytes: number, first: number): number {
    if (this.#end - first <= maxBytes) return this.#ends.length;
    let lines = 1;
    while ((this.#ends[lines] ?? Number.POSITIVE_INFINITY) - first <= maxBytes) lines++;
    return lines;
  }

  /** Moves what is left into the other buffer. */
  #keepFrom(end: number, lines: number): void {
    const taken = this.#buffer;
    const left = this.#end - end;
    this.#buffer = this.#spare;
    this.#spare = taken.length > MAX_KEPT_BYTES ? NOTHING : taken;
    this.#ends = this.#ends.slice(lines).map((at) => at - end + 1);
    this.#end = 1;
    if (1 + left > this.#buffer.length) this.#grow(1 + left);
    if (left > 0) taken.copy(this.#buffer, 1, end, end + left);
    this.#end = 1 + left;
  }
}
