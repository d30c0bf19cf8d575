/**
 * Counts different people by their hashes (people.ts), in a text that can be stored: exactly up to a number, and from then on by a
 * HyperLogLog, whose standard error is 1.6 %. Two of them can be merged, and a hash that comes twice counts once, so it does not
 * matter who counts a person, and how often. Pure.
 *
 * The estimate is that of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { HASH_CHARS } from "../../shared/cluster/sums.ts";

const INDEX_BITS = 12;
const REGISTERS = 1 << INDEX_BITS;
/** Of the 64 bits of a hash, those that are not the index. */
const RANK_BITS = 64 - INDEX_BITS;
const MAX_EXACT = 200;

/** As it is stored: less than 3,000 characters. */
export interface StoredPeople {
  /** All hashes, one behind the other. */
  readonly exact?: string | undefined;
  /** The registers, one byte each, compressed, in base64url. */
  readonly sketch?: string | undefined;
}

export class UniquePeople {
  readonly #maxExact: number;
  #hashes: Set<string> | undefined = new Set();
  readonly #registers = new Uint8Array(REGISTERS);

  /** `maxExact`: as many are counted exactly. */
  constructor(maxExact = MAX_EXACT) {
    this.#maxExact = maxExact;
  }

  add(hash: string): void {
    const bytes = Buffer.from(hash, "base64url");
    if (bytes.length < 8) return;
    const high = bytes.readUInt32BE(0);
    const index = high >>> (32 - INDEX_BITS);
    const middle = (high << INDEX_BITS) >>> 0;
    const zeros =
      middle === 0 ? 32 - INDEX_BITS + Math.clz32(bytes.readUInt32BE(4)) : Math.clz32(middle);
    this.#raise(index, zeros + 1);
    if (this.#hashes === undefined) return;
    this.#hashes.add(hash);
    if (this.#hashes.size > this.#maxExact) this.#hashes = undefined;
  }

  addAll(hashes: Iterable<string>): void {
    for (const hash of hashes) this.add(hash);
  }

  addPeople(others: UniquePeople): void {
    if (others.#hashes !== undefined) this.addAll(others.#hashes);
    else this.#addRegisters(others.#registers);
  }

  /** Adds people that were stored. False: the text is damaged. */
  merge({ exact, sketch }: StoredPeople): boolean {
    if (exact !== undefined) this.addAll(exact.match(HASHES) ?? []);
    if (sketch === undefined) return true;
    const registers = inflate(sketch);
    if (registers?.length !== REGISTERS) return false;
    this.#addRegisters(registers);
    return true;
  }

  get count(): number {
    return this.#hashes?.size ?? Math.round(estimate(this.#registers));
  }

  store(): StoredPeople {
    if (this.#hashes !== undefined) return { exact: [...this.#hashes].join("") };
    return { sketch: deflateRawSync(this.#registers).toString("base64url") };
  }

  #addRegisters(registers: Uint8Array): void {
    this.#hashes = undefined;
    for (const [index, rank] of registers.entries()) {
      this.#raise(index, Math.min(rank, RANK_BITS + 1));
    }
  }

  #raise(index: number, rank: number): void {
    this.#registers[index] = Math.max(this.#registers[index] ?? 0, rank);
  }
}

const HASHES = new RegExp(`.{${HASH_CHARS}}`, "g");

function inflate(text: string): Uint8Array | undefined {
  try {
    return inflateRawSync(Buffer.from(text, "base64url"), { maxOutputLength: REGISTERS });
  } catch {
    return undefined;
  }
}

function estimate(registers: Uint8Array): number {
  const counts = new Array<number>(RANK_BITS + 2).fill(0);
  for (const rank of registers) counts[rank] = (counts[rank] ?? 0) + 1;
  const share = (rank: number): number => (counts[rank] ?? 0) / REGISTERS;
  let z = REGISTERS * tau(1 - share(RANK_BITS + 1));
  for (let rank = RANK_BITS; rank >= 1; rank--) z = (z + (counts[rank] ?? 0)) / 2;
  z += REGISTERS * sigma(share(0));
  return REGISTERS ** 2 / (2 * Math.LN2 * z);
}

function sigma(share: number): number {
  if (share === 1) return Number.POSITIVE_INFINITY;
  let [x, y, z, before] = [share, 1, share, Number.NaN];
  while (z !== before) {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  }
  return z;
}

function tau(share: number): number {
  if (share === 0 || share === 1) return 0;
  let [x, y, z, before] = [share, 1, 1 - share, Number.NaN];
  while (z !== before) {
    x = Math.sqrt(x);
    before = z;
    y /= 2;
    z -= (1 - x) ** 2 * y;
  }
  return z / 3;
}
