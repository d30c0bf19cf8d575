/** Token buckets by address: each may use `perMinute` tokens at once, and gets as many back in a minute. Bounded memory. */
import { BoundedMap } from "../../shared/base/bounded.ts";
import { copyOf } from "../../shared/base/ids.ts";

interface Bucket {
  tokens: number;
  atMs: number;
}

export class TokenBuckets {
  readonly #perMinute: number;
  /** The address that came first is first. An address that has all its tokens needs no entry. */
  readonly #buckets: BoundedMap<string, Bucket>;

  constructor(perMinute: number, maxAddresses: number) {
    this.#perMinute = perMinute;
    this.#buckets = new BoundedMap(maxAddresses);
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes a token of `address`. Returns 0, or, when it has none, the time until it has one, in ms. */
  take(address: string, nowMs: number): number {
    const bucket = this.#buckets.get(address) ?? this.#add(address, nowMs);
    const perMs = this.#perMinute / 60_000;
    const gained = (nowMs - bucket.atMs) * perMs;
    bucket.tokens = Math.min(this.#perMinute, bucket.tokens + gained);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return (1 - bucket.tokens) / perMs;
    bucket.tokens--;
    return 0;
  }

  #add(address: string, nowMs: number): Bucket {
    const bucket = { tokens: this.#perMinute, atMs: nowMs };
    this.#buckets.set(copyOf(address), bucket);
    return bucket;
  }

  /** Forgets the addresses that have got all their tokens back. */
  prune(nowMs: number): void {
    const perMs = this.#perMinute / 60_000;
    for (const [address, { tokens, atMs }] of this.#buckets) {
      if (tokens + (nowMs - atMs) * perMs >= this.#perMinute) this.#buckets.delete(address);
    }
  }
}
