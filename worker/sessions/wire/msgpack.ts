/**
 * MessagePack as bytes: finds where values begin and end without decoding them, and writes the few headers needed to
 * splice values into a new message. A relayed message is mostly keys and contents that a worker cannot read, so they are
 * never decoded, and whatever a client's library has put into them stays as it is.
 *
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md
 */

/** The bytes are not MessagePack, end too early, or hold what a message never needs. */
export class MalformedError extends Error {}

/** A value's range in the bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/**
 * Nested deeper than this is refused: messages nest 4 deep, and a receiver's recursive decoder must not be made to
 * overflow its stack.
 */
const MAX_DEPTH = 32;
/** Extension types that are allowed: `undefined` as msgpackr writes it, and the format's own timestamp. */
const UNDEFINED_EXTENSION = 0;
const TIMESTAMP_EXTENSION = -1;

/** Reads `bytes` from the front. Every method throws `MalformedError` when the next value is of another type. */
export class Cursor {
  readonly bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Reads the header of a map: its number of entries. */
  mapSize(): number {
    const type = this.#byte();
    if (type >= 0x80 && type <= 0x8f) return type & 0x0f;
    if (type === 0xde) return this.#uint16();
    if (type === 0xdf) return this.#uint32();
    throw new MalformedError("not a map");
  }

  /** Reads the header of an array: its number of items. */
  arraySize(): number {
    const type = this.#byte();
    if (type >= 0x90 && type <= 0x9f) return type & 0x0f;
    if (type === 0xdc) return this.#uint16();
    if (type === 0xdd) return this.#uint32();
    throw new MalformedError("not an array");
  }

  /** Reads a string of at most `maxBytes`, byte for byte (latin1): for names and ids, which are ASCII. */
  text(maxBytes: number): string {
    const size = this.#textSize();
    if (size > maxBytes) throw new MalformedError("a string that is too long");
    const start = this.at;
    this.#pass(size);
    return this.bytes.toString("latin1", start, this.at);
  }

  /** Whether the next value is a string. */
  isText(): boolean {
    const type = this.#peek();
    return (type >= 0xa0 && type <= 0xbf) || (type >= 0xd9 && type <= 0xdb);
  }

  /** Whether the next value is bytes. */
  isBinary(): boolean {
    const type = this.#peek();
    return type >= 0xc4 && type <= 0xc6;
  }

  /** Whether the next value is a number. */
  isNumber(): boolean {
    const type = this.#peek();
    return type <= 0x7f || type >= 0xe0 || (type >= 0xca && type <= 0xd3);
  }

  /** Skips the next value and returns its range. */
  skip(): Span {
    const start = this.at;
    this.#skip(0);
    return { start, end: this.at };
  }

  #skip(depth: number): void {
    if (depth > MAX_DEPTH) throw new MalformedError("nested too deep");
    const type = this.#byte();
    if (type <= 0x7f || type >= 0xe0) return;
    if (type <= 0x8f) this.#skipItems((type & 0x0f) * 2, depth);
    else if (type <= 0x9f) this.#skipItems(type & 0x0f, depth);
    else if (type <= 0xbf) this.#pass(type & 0x1f);
    else this.#skipLayout(LAYOUTS.get(type), depth);
  }

  #skipLayout(layout: Layout | undefined, depth: number): void {
    if (layout === undefined) throw new MalformedError("not a MessagePack type");
    switch (layout.of) {
      case "fixed":
        this.#pass(layout.size);
        break;
      case "bytes":
        this.#pass(this.#uint(layout.sizeBytes));
        break;
      case "items":
        this.#skipItems(this.#uint(layout.sizeBytes) * layout.each, depth);
        break;
      case "extension":
        this.#skipExtension(layout.size ?? this.#uint(layout.sizeBytes));
        break;
    }
  }

  #skipItems(count: number, depth: number): void {
    // Each item has at least one byte, so a false count ends with the bytes.
    for (let i = 0; i < count; i++) this.#skip(depth + 1);
  }

  /** Some of msgpackr's extension types (records) change how it reads what follows: no peer may send those to another. */
  #skipExtension(size: number): void {
    const type = (this.#byte() << 24) >> 24;
    if (type !== UNDEFINED_EXTENSION && type !== TIMESTAMP_EXTENSION) {
      throw new MalformedError("an extension type that is not allowed");
    }
    this.#pass(size);
  }

  #textSize(): number {
    const type = this.#byte();
    if (type >= 0xa0 && type <= 0xbf) return type & 0x1f;
    if (type === 0xd9) return this.#byte();
    if (type === 0xda) return this.#uint16();
    if (type === 0xdb) return this.#uint32();
    throw new MalformedError("not a string");
  }

  #peek(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw new MalformedError("ends too early");
    return byte;
  }

  #byte(): number {
    const byte = this.#peek();
    this.at++;
    return byte;
  }

  #uint16(): number {
    const start = this.at;
    this.#pass(2);
    return this.bytes.readUInt16BE(start);
  }

  #uint32(): number {
    const start = this.at;
    this.#pass(4);
    return this.bytes.readUInt32BE(start);
  }

  #uint(size: 1 | 2 | 4): number {
    if (size === 1) return this.#byte();
    return size === 2 ? this.#uint16() : this.#uint32();
  }

  #pass(count: number): void {
    this.at += count;
    if (this.at > this.bytes.length) throw new MalformedError("ends too early");
  }
}

// --- layouts: what follows a type byte that does not contain the size ---

type Layout =
  | { readonly of: "fixed"; readonly size: number }
  | { readonly of: "bytes"; readonly sizeBytes: 1 | 2 | 4 }
  /** `each`: values per item, two in a map. */
  | { readonly of: "items"; readonly sizeBytes: 2 | 4; readonly each: 1 | 2 }
  | { readonly of: "extension"; readonly size: number }
  | { readonly of: "extension"; readonly size?: never; readonly sizeBytes: 1 | 2 | 4 };

const LAYOUTS: ReadonlyMap<number, Layout> = new Map<number, Layout>([
  [0xc0, { of: "fixed", size: 0 }], // nil
  [0xc2, { of: "fixed", size: 0 }], // false
  [0xc3, { of: "fixed", size: 0 }], // true
  [0xc4, { of: "bytes", sizeBytes: 1 }], // bin
  [0xc5, { of: "bytes", sizeBytes: 2 }],
  [0xc6, { of: "bytes", sizeBytes: 4 }],
  [0xc7, { of: "extension", sizeBytes: 1 }],
  [0xc8, { of: "extension", sizeBytes: 2 }],
  [0xc9, { of: "extension", sizeBytes: 4 }],
  [0xca, { of: "fixed", size: 4 }], // float
  [0xcb, { of: "fixed", size: 8 }],
  [0xcc, { of: "fixed", size: 1 }], // uint
  [0xcd, { of: "fixed", size: 2 }],
  [0xce, { of: "fixed", size: 4 }],
  [0xcf, { of: "fixed", size: 8 }],
  [0xd0, { of: "fixed", size: 1 }], // int
  [0xd1, { of: "fixed", size: 2 }],
  [0xd2, { of: "fixed", size: 4 }],
  [0xd3, { of: "fixed", size: 8 }],
  [0xd4, { of: "extension", size: 1 }],
  [0xd5, { of: "extension", size: 2 }],
  [0xd6, { of: "extension", size: 4 }],
  [0xd7, { of: "extension", size: 8 }],
  [0xd8, { of: "extension", size: 16 }],
  [0xd9, { of: "bytes", sizeBytes: 1 }], // str
  [0xda, { of: "bytes", sizeBytes: 2 }],
  [0xdb, { of: "bytes", sizeBytes: 4 }],
  [0xdc, { of: "items", sizeBytes: 2, each: 1 }], // array
  [0xdd, { of: "items", sizeBytes: 4, each: 1 }],
  [0xde, { of: "items", sizeBytes: 2, each: 2 }], // map
  [0xdf, { of: "items", sizeBytes: 4, each: 2 }],
]);

// --- writing ---

/** The header of a map of `size` entries, at most 65,535. */
export function mapHeader(size: number): Buffer {
  return size < 16 ? Buffer.from([0x80 | size]) : Buffer.from([0xde, size >> 8, size & 0xff]);
}

/** `text` as a string value. */
export function textValue(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length < 32) return Buffer.concat([Buffer.from([0xa0 | bytes.length]), bytes]);
  if (bytes.length < 256) return Buffer.concat([Buffer.from([0xd9, bytes.length]), bytes]);
  const header = Buffer.from([0xda, 0, 0]);
  header.writeUInt16BE(bytes.length, 1);
  return Buffer.concat([header, bytes]);
}
